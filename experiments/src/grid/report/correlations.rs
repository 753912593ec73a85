//! Rank correlations of class accuracy with a quantity, with their interval over seeds.

use anyhow::Result;
use mr2_metrics::{paired_interval, spearman};
use mr2_train::RunResult;

use super::claims::of;
use crate::grid::table_file::Quantity;
use crate::report::document::{Column, Table};
use crate::report::{Cell, Scale};

/// Confidence level of the intervals.
const LEVEL: f64 = 0.95;

/// A row for each quantity.
///
/// # Errors
/// When a correlation can't be computed.
pub fn correlations(results: &[&RunResult], quantities: &[(Quantity, &str)]) -> Result<Table> {
    let columns = vec![
        Column::words("of the class"),
        Column::numbers("ρ with accuracy"),
        Column::numbers("seeds"),
    ];
    let mut table = Table::new("Rank correlation of class accuracy", columns);
    for (quantity, name) in quantities {
        let mut of_seeds = Vec::new();
        for result in results {
            let accuracy = &result.test.class_accuracy;
            let pairs = accuracy.iter().zip(of(*quantity, result));
            let (x, y): (Vec<f64>, Vec<f64>) = pairs.filter_map(|(a, q)| (*a).zip(q)).unzip();
            of_seeds.extend(spearman(&x, &y)?);
        }
        let interval = match of_seeds.is_empty() {
            true => None,
            // Of the values themselves: paired with nothing.
            false => Some(paired_interval(
                &of_seeds,
                &vec![0.0; of_seeds.len()],
                LEVEL,
            )?),
        };
        table.rows.push(vec![
            Cell::text(*name),
            Cell::estimate(
                interval.as_ref().map(|found| found.mean),
                interval.as_ref().and_then(|found| found.interval),
                Scale::Plain { decimals: 2 },
            ),
            Cell::count(of_seeds.len()),
        ]);
    }
    table.notes.push(format!(
        "Spearman's ρ over the classes of each seed: mean over seeds [Student's t interval at {:.0} %]. It tells of other training runs, \
         not of other classes; for those see the permutation p of the claims.",
        LEVEL * 100.0
    ));
    Ok(table)
}
