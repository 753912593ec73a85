//! Accuracy on shifted test sets, corruption by corruption.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use mr2_metrics::{ClassReport, PerClass, group_accuracy, mean_sd, paired_interval};

use super::collected::{CollectedArm, CollectedBlock, CollectedRun};
use crate::report::document::{Block, Column, Table};
use crate::report::{Cell, Scale};

/// Accuracy of a run by corruption, averaged over severities.
#[derive(Clone, Copy)]
enum Measure {
    Overall,
    Hard,
}

/// One table for each arm but the reference, which it is compared with.
///
/// # Errors
/// When an interval can't be computed.
pub fn shifts(block: &CollectedBlock<'_>, report: &ClassReport) -> Result<Vec<Block>> {
    let reference = &block.arms[0];
    let kinds: BTreeSet<&str> = reference
        .runs
        .iter()
        .flat_map(|run| run.result.extra_tests.keys())
        .map(|name| kind(name))
        .collect();
    if kinds.is_empty() {
        return Ok(Vec::new());
    }
    let mut blocks = Vec::new();
    for arm in block.trained().skip(1) {
        blocks.push(Block::Table(table(reference, arm, &kinds, report)?));
    }
    Ok(blocks)
}

/// `fog` of `fog-3`.
fn kind(name: &str) -> &str {
    name.rsplit_once('-').map_or(name, |(kind, _)| kind)
}

fn table(
    reference: &CollectedArm<'_>,
    arm: &CollectedArm<'_>,
    kinds: &BTreeSet<&str>,
    report: &ClassReport,
) -> Result<Table> {
    let (base, own) = (&reference.arm.name, &arm.arm.name);
    let mut columns = vec![Column::words("corruption")];
    for measure in ["overall", "hard"] {
        columns.push(Column::numbers(format!("{base}, {measure}")));
        columns.push(Column::numbers(format!("{own}, {measure}")));
        columns.push(Column::numbers("difference"));
    }
    let mut table = Table::new("Accuracy on corrupted test images, in %", columns);
    let rows = kinds.iter().map(|kind| (*kind, Some(*kind)));
    for (title, kind) in rows.chain([("mean of all", None)]) {
        let mut cells = vec![Cell::text(title)];
        for measure in [Measure::Overall, Measure::Hard] {
            let of_arm = |arm: &CollectedArm<'_>| -> BTreeMap<u64, f64> {
                let runs = arm.runs.iter();
                runs.filter_map(|run| Some((run.seed, accuracy(run, kind, measure, report)?)))
                    .collect()
            };
            let (a, b) = (of_arm(reference), of_arm(arm));
            for values in [&a, &b] {
                let values: Vec<f64> = values.values().copied().collect();
                cells.push(Cell::measure(mean_sd(&values).ok(), Scale::Percent));
            }
            let pairs = b
                .iter()
                .filter_map(|(seed, own)| Some((*own, *a.get(seed)?)));
            let (own, base): (Vec<f64>, Vec<f64>) = pairs.unzip();
            let paired = match own.is_empty() {
                true => None,
                false => Some(paired_interval(&own, &base, report.config.level)?),
            };
            cells.push(Cell::difference(paired.as_ref(), Scale::Percent));
        }
        table.rows.push(cells);
    }
    table.notes.push(format!(
        "Mean over the severities, then ± standard deviation over seeds (number of seeds). Hard: the hard third of the table above. \
         Differences with their {:.0} % interval over seeds, not adjusted for their number.",
        report.config.level * 100.0
    ));
    Ok(table)
}

/// The mean over all sets of the kind, or over all sets.
fn accuracy(
    run: &CollectedRun,
    wanted: Option<&str>,
    measure: Measure,
    report: &ClassReport,
) -> Option<f64> {
    let hard = || Some(&report.split(run.seed)?.thirds.as_ref()?.hard);
    let of_set = |per_class: &PerClass| match measure {
        Measure::Overall => per_class.overall(),
        Measure::Hard => group_accuracy(&per_class.accuracies(), hard()?),
    };
    let sets = run.result.extra_tests.iter();
    let sets = sets.filter(|(name, _)| wanted.is_none_or(|wanted| kind(name) == wanted));
    let values: Option<Vec<f64>> = sets.map(|(_, per_class)| of_set(per_class)).collect();
    mean_sd(&values?).ok().map(|summary| summary.mean)
}
