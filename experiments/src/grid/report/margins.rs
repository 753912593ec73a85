//! The margins at the end of training: how much they vary over classes, and how far their statistics lag.

use mr2_loss::{GammaConfig, GammaSource};
use mr2_metrics::mean_sd;
use mr2_train::report::ExactClasses;
use mr2_train::{ObjectiveConfig, RunResult};

use super::collected::CollectedBlock;
use super::over_seeds::over_seeds;
use crate::report::document::{Block, Column, Table};
use crate::report::{Cell, Scale};

type Measured = fn(&RunResult) -> Option<f64>;

/// A row for each arm with margins.
pub fn margins(block: &CollectedBlock<'_>) -> Vec<Block> {
    let measures: [(&str, Measured); 4] = [
        ("s.d. of γ over classes", |result| spread(result)),
        ("largest γ / smallest", |result| range(result)),
        ("change in the last epoch", |result| moved(result)),
        ("distance to the exact γ", |result| lag(result)),
    ];
    let mut columns = vec![Column::words("method")];
    columns.extend(measures.iter().map(|(title, _)| Column::numbers(*title)));
    let mut table = Table::new("Margins at the end of training", columns);
    for arm in block.trained().skip(1) {
        let mut cells = vec![Cell::text(&arm.arm.name)];
        for (_, measure) in measures {
            let values = arm.runs.iter().map(|run| measure(&run.result));
            cells.push(over_seeds(values, Scale::Plain { decimals: 3 }));
        }
        table.rows.push(cells);
    }
    table.notes.push(
        "Mean ± standard deviation over seeds (number of seeds). Change and distance: root mean square over the classes, of γ. \
         The exact γ is made of m and v of all training images, unaugmented, with the final weights in evaluation mode; so some \
         distance is left however fast the statistics forget."
            .into(),
    );
    match table.rows.is_empty() {
        true => Vec::new(),
        false => vec![Block::Table(table)],
    }
}

fn all(values: &[Option<f64>]) -> Option<Vec<f64>> {
    let known: Option<Vec<f64>> = values.iter().copied().collect();
    known.filter(|values| !values.is_empty())
}

fn spread(result: &RunResult) -> Option<f64> {
    mean_sd(&all(&result.classes.gamma)?).ok()?.sd
}

fn range(result: &RunResult) -> Option<f64> {
    let gamma = all(&result.classes.gamma)?;
    let least = gamma.iter().copied().min_by(f64::total_cmp)?;
    Some(gamma.iter().copied().max_by(f64::total_cmp)? / least)
}

fn moved(result: &RunResult) -> Option<f64> {
    let [.., before, last] = &result.curves[..] else {
        return None;
    };
    distance(&all(&before.classes.gamma)?, &all(&last.classes.gamma)?)
}

fn lag(result: &RunResult) -> Option<f64> {
    let ObjectiveConfig::Mr2(config) = &result.config.objective else {
        return None;
    };
    let exact = &result.curves.last()?.training_set.as_ref()?.classes;
    distance(
        &all(&result.classes.gamma)?,
        &exact_gamma(exact, &config.gamma)?,
    )
}

fn distance(a: &[f64], b: &[f64]) -> Option<f64> {
    let squares = a.iter().zip(b).map(|(a, b)| (a - b).powi(2));
    (a.len() == b.len()).then(|| (squares.sum::<f64>() / a.len() as f64).sqrt())
}

/// γ_k = c̄ K s_k^e / Σ s^e (arXiv 2602.00205, corollary 1) of known statistics.
fn exact_gamma(exact: &ExactClasses, config: &GammaConfig) -> Option<Vec<f64>> {
    let (m, v) = (all(&exact.m)?, all(&exact.v)?);
    let powers: Vec<f64> = m
        .iter()
        .zip(&v)
        .map(|(m, v)| match config.source {
            GammaSource::SecondMoment => m + v,
            GammaSource::Spread => *v,
            GammaSource::RelativeSpread => v / m,
            GammaSource::Uniform => 1.0,
        })
        .map(|statistic| statistic.powf(config.exponent))
        .collect();
    let mean = powers.iter().sum::<f64>() / powers.len() as f64;
    let known = mean.is_finite() && mean > 0.0;
    known.then(|| powers.iter().map(|p| config.budget * p / mean).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use mr2_loss::ClassCount;

    #[test]
    fn exact_margins_average_to_the_budget_and_follow_the_power() {
        let exact = ExactClasses {
            m: vec![Some(0.5), Some(4.0)],
            v: vec![Some(0.5), Some(4.0)],
        };
        let config = GammaConfig {
            source: GammaSource::SecondMoment,
            budget: 3.0,
            exponent: 1.0 / 3.0,
            classes: ClassCount::Data,
        };
        let gamma = exact_gamma(&exact, &config).unwrap();
        assert!((gamma[0] - 2.0).abs() < 1e-12 && (gamma[1] - 4.0).abs() < 1e-12);
    }
}
