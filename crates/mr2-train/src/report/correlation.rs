//! How class accuracy goes with what is known of each class.

use mr2_metrics::PremiseTest;
use serde::{Deserialize, Serialize};

use super::ClassSeries;
use crate::error::Result;

/// Permutations of the premise's p where there are too many orders to list.
const PERMUTATIONS: usize = 10_000;

/// The accuracy that a correlation was taken with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MeasuredOn {
    /// The validation part.
    Validation,
    /// The batches of the epoch as they were trained on; there is no validation part.
    RunningTraining,
    /// The test part; only after training.
    Test,
}

/// Spearman's ρ of class accuracy with each quantity, over the classes that have both.
///
/// `None` where fewer than two classes do, or one side is constant, such as γ of plain
/// cross-entropy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Correlations {
    /// Where the accuracy comes from.
    pub measured_on: MeasuredOn,
    /// With m, the squared norm of the class mean.
    pub m: Option<f64>,
    /// With v, the spread about the class mean.
    pub v: Option<f64>,
    /// With m + v.
    pub second_moment: Option<f64>,
    /// With v / m.
    pub relative_spread: Option<f64>,
    /// With the logit margin γ.
    pub gamma: Option<f64>,
    /// With the norm of the class's weights in the head.
    pub head_norm: Option<f64>,
}

impl Correlations {
    /// None of them, until they are taken.
    pub(crate) fn unknown() -> Self {
        Self {
            measured_on: MeasuredOn::RunningTraining,
            m: None,
            v: None,
            second_moment: None,
            relative_spread: None,
            gamma: None,
            head_norm: None,
        }
    }

    /// All of them for one set of class accuracies.
    pub(crate) fn new(
        measured_on: MeasuredOn,
        accuracies: &[Option<f64>],
        classes: &ClassSeries,
    ) -> Result<Self> {
        let with = |values: &[Option<f64>]| spearman(accuracies, values);
        Ok(Self {
            measured_on,
            m: with(&classes.m)?,
            v: with(&classes.v)?,
            second_moment: with(&classes.second_moment)?,
            relative_spread: with(&classes.relative_spread())?,
            gamma: with(&classes.gamma)?,
            head_norm: with(&classes.head_norm)?,
        })
    }
}

/// Whether the classes with the larger `quantity` are the harder ones, by `accuracies`.
pub(crate) fn premise(
    accuracies: &[Option<f64>],
    quantity: &[Option<f64>],
    seed: u64,
) -> Result<PremiseTest> {
    Ok(mr2_metrics::premise(
        accuracies,
        quantity,
        PERMUTATIONS,
        seed,
    )?)
}

/// The pairs in which both sides are known.
pub(crate) fn both_known(x: &[Option<f64>], y: &[Option<f64>]) -> (Vec<f64>, Vec<f64>) {
    x.iter()
        .zip(y)
        .filter_map(|(x, y)| Some(((*x)?, (*y)?)))
        .unzip()
}

fn spearman(x: &[Option<f64>], y: &[Option<f64>]) -> Result<Option<f64>> {
    let (x, y) = both_known(x, y);
    if x.len() < 2 {
        return Ok(None);
    }
    Ok(mr2_metrics::spearman(&x, &y)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// One value for each of five classes.
    fn known(values: [f64; 5]) -> Vec<Option<f64>> {
        values.map(Some).to_vec()
    }

    #[test]
    fn each_correlation_is_spearmans_with_its_own_quantity() {
        // ρ = 1 − 6 Σ d² / (5 · 24); each quantity has its own Σ d².
        let classes = ClassSeries {
            m: known([1.0, 2.0, 3.0, 5.0, 4.0]),             // Σ d² = 2
            v: known([2.0, 1.0, 3.0, 5.0, 4.0]),             // 4
            second_moment: known([5.0, 4.0, 3.0, 2.0, 1.0]), // 40
            gamma: known([1.0, 4.0, 3.0, 2.0, 5.0]),         // 8
            head_norm: known([3.0, 2.0, 1.0, 5.0, 4.0]),     // 10
        };
        // v / m is 2, 1/2, 1, 1, 1, whose ranks are 5, 1, 3, 3, 3: Pearson's of those and 1 … 5.
        let accuracies = known([0.1, 0.2, 0.3, 0.4, 0.5]);
        let on = MeasuredOn::Validation;
        let found = Correlations::new(on, &accuracies, &classes).unwrap();
        assert_eq!(found.measured_on, on);
        for (name, rho, expected) in [
            ("m", found.m, 0.9),
            ("v", found.v, 0.8),
            ("second moment", found.second_moment, -1.0),
            (
                "relative spread",
                found.relative_spread,
                -2.0 / 80f64.sqrt(),
            ),
            ("gamma", found.gamma, 0.6),
            ("head norm", found.head_norm, 0.5),
        ] {
            let rho = rho.unwrap();
            assert!((rho - expected).abs() < 1e-12, "{name}: {rho}");
        }
    }

    #[test]
    fn classes_without_a_value_are_left_out_of_a_correlation() {
        let mut classes = ClassSeries {
            m: known([1.0, 9.0, 2.0, 3.0, 4.0]),
            v: known([1.0; 5]),
            second_moment: known([1.0, 2.0, 3.0, 4.0, 5.0]),
            gamma: known([1.0; 5]),
            head_norm: known([5.0, 4.0, 3.0, 2.0, 1.0]),
        };
        classes.m[1] = None;
        let accuracies = known([0.1, 0.2, 0.3, 0.4, 0.5]);
        let found = Correlations::new(MeasuredOn::Test, &accuracies, &classes).unwrap();
        assert_eq!((found.m, found.gamma), (Some(1.0), None));
    }
}
