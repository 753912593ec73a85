//! Neural collapse and γ over the epochs.

use mr2_metrics::mean_sd;
use mr2_stats::NeuralCollapse;
use mr2_train::report::EpochRecord;

use super::collected::{CollectedArm, CollectedBlock};
use super::over_seeds::over_seeds;
use crate::report::document::{Block, Column, Table};
use crate::report::{Cell, Scale};

type OfEpoch = fn(&EpochRecord) -> Option<f64>;

/// What is shown of an epoch.
const MEASURES: [(&str, OfEpoch); 6] = [
    ("NC1", |epoch| of(epoch)?.nc1),
    ("NC2, norms", |epoch| of(epoch)?.nc2_norms),
    ("NC2, angles", |epoch| of(epoch)?.nc2_angles),
    ("NC3", |epoch| of(epoch)?.nc3),
    ("NC4", |epoch| Some(of(epoch)?.nc4)),
    ("s.d. of γ", |epoch| {
        let gamma: Option<Vec<f64>> = epoch.classes.gamma.iter().copied().collect();
        mean_sd(&gamma?).ok()?.sd
    }),
];

fn of(epoch: &EpochRecord) -> Option<&NeuralCollapse> {
    Some(&epoch.training_set.as_ref()?.collapse)
}

/// A table for each arm whose epochs were measured.
pub fn collapse(block: &CollectedBlock<'_>) -> Vec<Block> {
    let measured = |arm: &&CollectedArm<'_>| {
        let mut runs = arm.runs.iter();
        runs.all(|run| run.result.curves.iter().any(|e| e.training_set.is_some()))
    };
    let arms = block.trained().filter(measured);
    arms.map(|arm| Block::Table(table(arm))).collect()
}

fn table(arm: &CollectedArm<'_>) -> Table {
    let mut columns = vec![Column::numbers("epoch")];
    columns.extend(MEASURES.iter().map(|(title, _)| Column::numbers(*title)));
    let title = format!("Neural collapse under {}", arm.arm.name);
    let mut table = Table::new(title, columns);
    let epochs = arm.runs.iter().map(|run| run.result.curves.len()).min();
    for epoch in 0..epochs.unwrap_or(0) {
        let mut cells = vec![Cell::count(epoch + 1)];
        for (_, measure) in MEASURES {
            let runs = arm.runs.iter();
            let values = runs.map(|run| measure(&run.result.curves[epoch]));
            cells.push(over_seeds(values, Scale::Plain { decimals: 3 }));
        }
        table.rows.push(cells);
    }
    table.notes.push(
        "Mean ± standard deviation over seeds (number of seeds), on the training images. NC1: spread within classes against that of the \
         class means; NC2: how unequal the means' norms and angles are; NC3: distance of the head's rows from the means; NC4: share of \
         images that the nearest mean classifies otherwise than the head (Papyan, Han and Donoho, PNAS 2020). All go to 0 in neural \
         collapse."
            .into(),
    );
    table
}
