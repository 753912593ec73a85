//! The class-wise tables of a block: accuracies, and differences with Holm's p.

use anyhow::{Context, Result};
use mr2_metrics::{ClassReport, MeanSd, MethodRow, MethodRuns, Metric, ReportConfig, SeedRun};

use super::collected::{CollectedBlock, CollectedRun};
use crate::grid::plan::Row;
use crate::report::document::{Column, Table};
use crate::report::tables::{chosen_on, differences_with_p};
use crate::report::{Cell, Scale};

const MAIN: [Metric; 9] = [
    Metric::Overall,
    Metric::Easy,
    Metric::Medium,
    Metric::Hard,
    Metric::WorstClass,
    Metric::WorstDecile,
    Metric::OwnMinimum,
    Metric::Gap,
    Metric::Ece,
];
const COMPARED: [Metric; 6] = [
    Metric::Overall,
    Metric::Easy,
    Metric::Medium,
    Metric::Hard,
    Metric::WorstClass,
    Metric::Gap,
];

/// The block's numbers, from per-class counts alone.
///
/// # Errors
/// Runs that can't stand in one table.
pub fn class_report(block: &CollectedBlock<'_>) -> Result<ClassReport> {
    let methods: Vec<MethodRuns<'_>> = block
        .trained()
        .map(|arm| {
            let runs = arm.runs.iter().map(seed_run).collect::<Result<_>>()?;
            Ok(MethodRuns {
                name: arm.arm.name.clone(),
                runs,
            })
        })
        .collect::<Result<_>>()?;
    let (reference, others) = methods.split_first().context("no finished run")?;
    let classes = block.arms[0].runs[0].result.class_names.len();
    Ok(ClassReport::new(
        reference,
        others,
        classes,
        &ReportConfig::standard(),
    )?)
}

fn seed_run(run: &CollectedRun) -> Result<SeedRun<'static>> {
    let test = &run.result.test;
    let mut counted = SeedRun::from_counts(run.seed, test.per_class.clone());
    counted.macro_f1 = test.macro_f1;
    counted.top5 = test.top5;
    counted.ece = Some(test.ece);
    Ok(counted)
}

/// Overall, thirds, worst class and decile, own minimum, gap and calibration of every arm.
pub fn main_table(block: &CollectedBlock<'_>, report: &ClassReport) -> Table {
    let one_in_ten = report.splits.iter().all(|s| s.worst_decile.len() == 1);
    let metrics: Vec<Metric> = MAIN
        .into_iter()
        .filter(|m| !(one_in_ten && *m == Metric::WorstDecile))
        .collect();
    let mut table = rows(block, report, "Accuracy in %", &metrics, |row, metric| {
        Cell::measure(summary(row, metric), Scale::Percent)
    });
    table.notes.push(
        "Mean ± standard deviation over seeds (number of seeds), of the weights after the last epoch.".into(),
    );
    table.notes.push(chosen_on(report));
    table
        .notes
        .push("Own minimum: the lowest accuracy of a class in the run itself. ECE and gap: lower is better.".into());
    table.notes.extend(notes(block));
    table
}

/// A row for every arm: its cells, "= ERM" or "unknown".
pub(super) fn rows(
    block: &CollectedBlock<'_>,
    report: &ClassReport,
    title: &str,
    metrics: &[Metric],
    cell: impl Fn(&MethodRow, Metric) -> Cell,
) -> Table {
    let mut columns = vec![Column::words("method")];
    columns.extend(metrics.iter().map(|metric| Column::numbers(metric.title())));
    let mut table = Table::new(title, columns);
    for arm in &block.arms {
        let row = report.row(&arm.arm.name);
        let mut cells = vec![Cell::text(&arm.arm.name)];
        cells.extend(metrics.iter().map(|&metric| match (arm.row, row) {
            (Row::Unknown, _) => Cell::text("unknown"),
            (Row::SameAsReference, _) => Cell::text(format!("= {}", report.reference)),
            (Row::Trained, Some(row)) => cell(row, metric),
            (Row::Trained, None) => Cell::Absent,
        }));
        table.rows.push(cells);
    }
    table
}

pub(super) fn summary(row: &MethodRow, metric: Metric) -> Option<MeanSd> {
    row.cell(metric).map(|c| MeanSd {
        mean: c.mean,
        sd: c.sd,
        n: c.n,
    })
}

fn notes(block: &CollectedBlock<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    let reference = &block.arms[0].arm.name;
    let mut said = Vec::new();
    for arm in &block.arms {
        let name = &arm.arm.name;
        if let Some(unknown) = &arm.arm.unknown {
            notes.push(format!("{name}: {unknown}"));
        }
        if let Some(note) = &arm.arm.note {
            said.push((note, name));
        }
        if !arm.missing.is_empty() && arm.row == Row::Trained {
            let seeds: Vec<String> = arm.missing.iter().map(u64::to_string).collect();
            let word = if seeds.len() == 1 { "seed" } else { "seeds" };
            notes.push(format!("{name}: no result of {word} {}.", seeds.join(", ")));
        }
    }
    let same: Vec<&str> = block
        .arms
        .iter()
        .filter(|arm| arm.row == Row::SameAsReference)
        .map(|arm| arm.arm.name.as_str())
        .collect();
    if !same.is_empty() {
        notes.push(format!(
            "= {reference}: on these data the objective is {reference}'s, so nothing was trained ({}).",
            same.join(", ")
        ));
    }
    while let Some((note, _)) = said.first().cloned() {
        let (of_it, rest): (Vec<_>, Vec<_>) =
            said.into_iter().partition(|(other, _)| *other == note);
        let names: Vec<&str> = of_it.iter().map(|(_, name)| name.as_str()).collect();
        notes.push(format!("{}: {note}", names.join(", ")));
        said = rest;
    }
    notes
}

/// Differences to the reference: mean, interval, and Holm's p over the arms of the block.
pub fn difference_table(report: &ClassReport) -> Option<Table> {
    if report.rows.len() < 2 {
        return None;
    }
    let title = format!("Difference to {} in percentage points", report.reference);
    let mut table = differences_with_p(title, report, &COMPARED);
    table.notes.push(format!(
        "Mean of the paired differences over seeds [Student's t interval at {:.0} %]; p of the paired t test, adjusted by Holm \
         for the arms of this table. The intervals are not adjusted. One seed has neither, nor has a difference that is the same in every seed.",
        report.config.level * 100.0
    ));
    table.notes.push(chosen_on(report));
    Some(table)
}
