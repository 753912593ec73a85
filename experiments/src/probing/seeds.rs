//! Several seeds of the same methods: means, and differences seed by seed.

use anyhow::Result;
use mr2_metrics::{mean_sd, paired_interval};

use super::measure::MEASURES;
use super::report::{Probe, lead_cells, lead_columns};
use crate::report::document::{Column, Table};
use crate::report::{Cell, Scale};

/// Of the intervals.
const LEVEL: f64 = 0.95;

/// Means over seeds, and differences to the first method; without rows where every method has one seed.
///
/// # Errors
/// When a metric refuses a measure.
pub fn tables(probes: &[Probe]) -> Result<[Table; 2]> {
    let table = |title: &str, column: fn(&str) -> Column| {
        let mut columns = lead_columns();
        columns.extend(MEASURES.map(|metric| column(metric.title())));
        Table::new(title, columns)
    };
    let mut means = table(
        "Means over seeds ± standard deviation (seeds), %",
        |title| Column::shares(title),
    );
    let mut differences = table(
        "Differences to the first method, seed by seed, points",
        |title| Column::numbers(title),
    );
    for probe in probes {
        let methods = methods(probe);
        let Some((_, first)) = methods.first().filter(|(_, seeds)| seeds.len() > 1) else {
            continue;
        };
        for (place, (name, seeds)) in methods.iter().enumerate() {
            let (mut mean, mut difference) = (lead_cells(probe, name), lead_cells(probe, name));
            for measure in 0..MEASURES.len() {
                let values = |of: &[usize]| -> Option<Vec<f64>> {
                    let values = of.iter().map(|&at| probe.measures[at][measure].value);
                    values.collect()
                };
                let (own, other) = (values(seeds), values(first));
                let summary = own.as_deref().map(mean_sd).transpose()?;
                mean.push(Cell::measure(summary, Scale::Percent));
                let paired = match (&own, &other) {
                    (Some(own), Some(other)) => Some(paired_interval(own, other, LEVEL)?),
                    _ => None,
                };
                difference.push(Cell::difference(paired.as_ref(), Scale::Percent));
            }
            means.rows.push(mean);
            if place > 0 {
                differences.rows.push(difference);
            }
        }
    }
    let note = "Seeds are of initialisation and batches, on the same training images; 95 % intervals are \
                Student's t over seeds.";
    differences.notes.push(note.into());
    Ok([means, differences])
}

/// The places of each method's classifiers, in the order of the seeds.
fn methods(probe: &Probe) -> Vec<(&String, Vec<usize>)> {
    let mut methods: Vec<(&String, Vec<usize>)> = Vec::new();
    for (place, classifier) in probe.classifiers.iter().enumerate() {
        match methods
            .iter_mut()
            .find(|(name, _)| **name == classifier.method)
        {
            Some((_, seeds)) => seeds.push(place),
            None => methods.push((&classifier.method, vec![place])),
        }
    }
    methods
}
