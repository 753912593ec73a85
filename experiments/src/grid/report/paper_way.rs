//! The same runs judged the paper's way: classes chosen by the same run, the best epoch on the test part.

use mr2_metrics::{ClassGroup, ClassReport, MeanSd, Metric, PhantomGain, best_on_test, mean_sd};

use super::accuracy::{rows, summary};
use super::collected::{CollectedArm, CollectedBlock, CollectedRun};
use crate::grid::plan::Row;
use crate::report::document::{Column, Table};
use crate::report::{Cell, Scale};

/// The paper's way: classes chosen by the same run, the best epoch on the test part.
pub fn paper_way_table(block: &CollectedBlock<'_>, report: &ClassReport) -> Table {
    let title = "The same runs judged the paper's way (optimistic), in %";
    let metrics = [
        Metric::EasySameRun,
        Metric::HardSameRun,
        Metric::WorstClassSameRun,
    ];
    let mut table = rows(block, report, title, &metrics, |row, metric| {
        Cell::measure(summary(row, metric), Scale::Percent)
    });
    table
        .columns
        .push(Column::numbers("overall, best epoch on test"));
    for (cells, arm) in table.rows.iter_mut().zip(&block.arms) {
        cells.push(match arm.row {
            Row::Unknown => Cell::text("unknown"),
            Row::SameAsReference => Cell::text(format!("= {}", report.reference)),
            Row::Trained => Cell::measure(best_epoch(arm), Scale::Percent),
        });
    }
    table.notes.push(format!(
        "Same run: the classes are those of the {0} run with the same seed, so that its bad luck counts as the other's gain. \
         Best epoch on test: chosen by the very images that it is measured on, as the official CIFAR script reports.",
        report.reference
    ));
    let unmatched = |arm: &&CollectedArm<'_>| {
        let row = report.row(&arm.arm.name);
        row.is_some_and(|row| row.cell(Metric::HardSameRun).is_none())
    };
    let unmatched: Vec<&str> = block
        .trained()
        .filter(unmatched)
        .map(|arm| arm.arm.name.as_str())
        .collect();
    if !unmatched.is_empty() {
        table.notes.push(format!(
            "No number of the same run for {}, which has a seed that {} lacks.",
            unmatched.join(", "),
            report.reference
        ));
    }
    for (group, words) in [
        (ClassGroup::Hard, "the hard third"),
        (ClassGroup::Easy, "the easy third"),
    ] {
        if let Some(gain) = report.phantom_gains.get(&group) {
            table.notes.push(phantom(gain, words, &report.reference));
        }
    }
    table
}

fn phantom(gain: &PhantomGain, group: &str, reference: &str) -> String {
    let interval = gain.interval.as_ref().map_or(String::new(), |interval| {
        let ends = [interval.low, interval.high].map(|end| Scale::Percent.signed(end));
        format!(" [{}, {}]", ends[0], ends[1])
    });
    format!(
        "Phantom gain of {group}: {}{interval} points is what the other {reference} runs differ by from the one that chose it (mean \
         over {} runs); a method judged this way has that from nothing.",
        Scale::Percent.signed(gain.mean),
        gain.n
    )
}

/// The highest overall test accuracy over the epochs, where they were recorded.
fn best_epoch(arm: &CollectedArm<'_>) -> Option<MeanSd> {
    let of_run = |run: &CollectedRun| {
        let epochs = run.result.curves.iter();
        let overall: Vec<Option<f64>> = epochs
            .map(|epoch| epoch.test_classes.as_ref()?.overall())
            .collect();
        Some(best_on_test(&overall).ok()??.accuracy)
    };
    let best: Option<Vec<f64>> = arm.runs.iter().map(of_run).collect();
    mean_sd(&best?).ok()
}
