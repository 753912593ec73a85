//! What a class's spread goes with: rank correlations over classes.

use anyhow::Result;
use mr2_metrics::{spearman, spearman_permutation_p};
use mr2_train::RunResult;
use mr2_train::report::ExactClasses;

use super::claims::means;
use super::collected::{CollectedArm, CollectedBlock};
use crate::report::document::{Block, Column, Table};
use crate::report::{Cell, Scale};

const PERMUTATIONS: usize = 10_000;

type OfClasses = fn(&RunResult) -> Option<Vec<Option<f64>>>;

/// What the final spread may go with.
const CAUSES: [(&str, OfClasses); 6] = [
    ("pixels: v", |result| {
        Some(result.diversity.as_ref()?.pixels.v.clone())
    }),
    ("pixels: v / m", |result| {
        Some(result.diversity.as_ref()?.pixels.relative_spread())
    }),
    ("features before training: v", |result| {
        Some(result.diversity.as_ref()?.initial_features.v.clone())
    }),
    ("features before training: v / m", |result| {
        Some(
            result
                .diversity
                .as_ref()?
                .initial_features
                .relative_spread(),
        )
    }),
    ("images of other classes taken for it", confusions),
    ("test error", |result| {
        let accuracy = result.test.class_accuracy.iter();
        Some(accuracy.map(|a| a.map(|a| 1.0 - a)).collect())
    }),
];

/// The final statistics over all training images.
const SPREADS: [(&str, OfClasses); 3] = [
    ("v", |result| Some(last(result)?.v.clone())),
    ("m + v", |result| {
        let exact = last(result)?;
        let both = exact.m.iter().zip(&exact.v);
        Some(both.map(|(m, v)| Some((*m)? + (*v)?)).collect())
    }),
    ("v / m", |result| Some(last(result)?.relative_spread())),
];

/// A table for each arm.
///
/// # Errors
/// When a correlation can't be computed.
pub fn spread_causes(block: &CollectedBlock<'_>) -> Result<Vec<Block>> {
    let mut blocks = Vec::new();
    for arm in block.trained() {
        if arm.runs.iter().all(|run| run.result.diversity.is_some()) {
            blocks.push(Block::Table(table(arm)?));
        }
    }
    Ok(blocks)
}

fn table(arm: &CollectedArm<'_>) -> Result<Table> {
    let mut columns = vec![Column::words("of the class")];
    for (spread, _) in SPREADS {
        columns.push(Column::numbers(format!("ρ with {spread}")));
        columns.push(Column::numbers("p"));
    }
    let title = format!(
        "What the spread of a class goes with under {}",
        arm.arm.name
    );
    let mut table = Table::new(title, columns);
    let classes = arm.runs[0].result.class_names.len();
    let over_seeds = |of: OfClasses| {
        let runs = arm.runs.iter();
        let values = runs.map(|run| of(&run.result).unwrap_or_else(|| vec![None; classes]));
        means(classes, values)
    };
    for (cause, of_cause) in CAUSES {
        let cause_values = over_seeds(of_cause);
        let mut cells = vec![Cell::text(cause)];
        for (_, of_spread) in SPREADS {
            let spread_values = over_seeds(of_spread);
            let pairs = cause_values.iter().zip(&spread_values);
            let (x, y): (Vec<f64>, Vec<f64>) =
                pairs.filter_map(|(a, b)| Some((*a)?).zip(*b)).unzip();
            cells.push(Cell::estimate(
                spearman(&x, &y)?,
                None,
                Scale::Plain { decimals: 2 },
            ));
            let p = spearman_permutation_p(&x, &y, PERMUTATIONS, 0)?;
            cells.push(Cell::estimate(p, None, Scale::Probability {}));
        }
        table.rows.push(cells);
    }
    table.notes.push(format!(
        "Spearman's ρ over the {classes} classes of means over {} seeds, with its permutation p, not adjusted. v, m + v and v / m: of \
         all training images, unaugmented, with the final weights in evaluation mode.",
        arm.runs.len()
    ));
    Ok(table)
}

fn last(result: &RunResult) -> Option<&ExactClasses> {
    Some(&result.curves.last()?.training_set.as_ref()?.classes)
}

/// Test images of other classes that were taken for the class, over all images of other classes.
fn confusions(result: &RunResult) -> Option<Vec<Option<f64>>> {
    let per_class = &result.test.per_class;
    let all: u64 = per_class.count.iter().sum();
    let predicted = result.test.predicted.as_ref()?.iter();
    let classes = predicted.zip(&per_class.correct).zip(&per_class.count);
    let share = |((predicted, correct), count): ((&u64, &u64), &u64)| {
        let others = all.checked_sub(*count).filter(|others| *others > 0)?;
        Some(predicted.checked_sub(*correct)? as f64 / others as f64)
    };
    Some(classes.map(share).collect())
}
