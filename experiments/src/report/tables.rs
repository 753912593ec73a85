//! A [`ClassReport`] laid out as tables, with what a reader must know below each.

use mr2_metrics::{ClassReport, MeanSd, MethodRow, Metric, SplitSource, Thirds, hardest_first};

use super::cell::Cell;
use super::document::{Column, Table};
use super::scale::Scale;

mod holm;

pub use holm::{differences_with_p, holm_table};

/// Up to this many classes the members of each third are listed.
const LISTED_CLASSES: usize = 40;

const MAIN: [Metric; 7] = [
    Metric::Overall,
    Metric::Easy,
    Metric::Medium,
    Metric::Hard,
    Metric::WorstClass,
    Metric::OwnMinimum,
    Metric::Gap,
];
const FURTHER: [Metric; 6] = [
    Metric::MeanRecall,
    Metric::WorstDecile,
    Metric::Cvar,
    Metric::MacroF1,
    Metric::Top5,
    Metric::Ece,
];

/// Overall, thirds, worst class, own minimum and gap of each method.
pub fn main_table(report: &ClassReport) -> Table {
    let mut table = metric_table("Accuracy in %", report, &MAIN);
    table.notes.push(MEAN_NOTE.into());
    table.notes.push(chosen_on(report));
    table.notes.push(OWN_NOTE.into());
    table
}

/// What a reader wants first: the main table, and the differences where there are any.
pub fn headline(report: &ClassReport) -> Vec<Table> {
    let mut tables = vec![main_table(report)];
    tables.extend(difference_table(report));
    tables
}

/// What doesn't fit beside it: recall, F1, top-5, calibration, and decile and CVaR where they say more.
pub fn further_table(report: &ClassReport) -> Table {
    let one_in_ten = report.splits.iter().all(|s| s.worst_decile.len() == 1);
    let repeated = |m: &Metric| one_in_ten && matches!(m, Metric::WorstDecile | Metric::Cvar);
    let metrics: Vec<Metric> = FURTHER.into_iter().filter(|m| !repeated(m)).collect();
    let mut table = metric_table("Further measures in %", report, &metrics);
    table.notes.push(MEAN_NOTE.into());
    if one_in_ten {
        table.notes.push(
            "With at most ten classes, worst decile and CVaR (the mean of a run's own worst tenth) are worst \
             class and own minimum, and so left out."
                .into(),
        );
    } else {
        table.notes.push(chosen_on(report));
        table.notes.push(format!(
            "CVaR: mean of the worst {:.0} % of a run's own classes, which lies low as the own minimum does.",
            report.config.cvar_alpha * 100.0
        ));
    }
    table.notes.push("ECE: lower is better.".into());
    table
}

const MEAN_NOTE: &str = "Mean ± standard deviation over seeds (number of seeds).";
const OWN_NOTE: &str = "Own minimum: the lowest accuracy of a class in the run itself. It is chosen on the very run that \
                        it describes, so it lies below what that class would have in a new run.";

fn metric_table(title: &str, report: &ClassReport, metrics: &[Metric]) -> Table {
    let known = |metric: &Metric| report.rows.iter().any(|row| row.cell(*metric).is_some());
    let metrics: Vec<Metric> = metrics.iter().copied().filter(known).collect();
    let mut columns = vec![Column::words("method")];
    columns.extend(metrics.iter().map(|m| Column::numbers(m.title())));
    let mut table = Table::new(title, columns);
    for row in &report.rows {
        let mut cells = vec![Cell::text(&row.name)];
        cells.extend(
            metrics
                .iter()
                .map(|&m| Cell::measure(summary(row, m), Scale::Percent)),
        );
        table.rows.push(cells);
    }
    table
}

fn summary(row: &MethodRow, metric: Metric) -> Option<MeanSd> {
    row.cell(metric).map(|c| MeanSd {
        mean: c.mean,
        sd: c.sd,
        n: c.n,
    })
}

/// Difference of each method to the reference, with the interval over seeds.
pub fn difference_table(report: &ClassReport) -> Option<Table> {
    let title = format!("Difference to {} in percentage points", report.reference);
    let mut table = comparison_table(title, report, |comparison| {
        Some(Cell::difference(Some(&comparison.paired), Scale::Percent))
    })?;
    table.notes.push(format!(
        "Mean of the paired differences over the seeds that both have [Student's t interval at {:.0} %]. One \
         seed has no interval, nor has a difference that is the same in every seed: there is no spread to \
         judge it by. Identical means exactly equal in every seed.",
        report.config.level * 100.0
    ));
    table.notes.push(chosen_on(report));
    Some(table)
}

/// The same differences with the interval over test images.
pub fn image_table(report: &ClassReport) -> Option<Table> {
    let bootstrap = report.config.bootstrap.as_ref()?;
    let title = format!(
        "Difference to {}: interval over test images",
        report.reference
    );
    let mut table = comparison_table(title, report, |comparison| {
        Some(Cell::Difference {
            mean: comparison.paired.mean,
            interval: Some(comparison.image_bootstrap.as_ref()?.interval),
            identical: comparison.paired.identical,
            n: comparison.paired.n,
            scale: Scale::Percent,
        })
    })?;
    table.notes.push(format!(
        "Bootstrap over test images at {:.0} % ({} resamples within classes, seed {}): how much the \
         difference owes to the choice of test images, with the trained networks as they are. It says \
         nothing about another training run; the interval over seeds does.",
        bootstrap.level * 100.0,
        bootstrap.resamples,
        bootstrap.seed
    ));
    table.notes.push(chosen_on(report));
    Some(table)
}

fn comparison_table(
    title: String,
    report: &ClassReport,
    cell: impl Fn(&mr2_metrics::Comparison) -> Option<Cell>,
) -> Option<Table> {
    let others: Vec<&MethodRow> = report
        .rows
        .iter()
        .filter(|row| row.name != report.reference)
        .collect();
    let compared = |row: &MethodRow, metric: Metric| {
        let comparison = row.cell(metric)?.against_reference.as_ref();
        comparison.and_then(&cell)
    };
    let known = |m: &Metric| others.iter().any(|row| compared(row, *m).is_some());
    let metrics: Vec<Metric> = MAIN.into_iter().filter(known).collect();
    if metrics.is_empty() {
        return None;
    }
    let mut columns = vec![Column::words("method")];
    columns.extend(metrics.iter().map(|m| Column::numbers(m.title())));
    let mut table = Table::new(title, columns);
    for row in others {
        let mut cells = vec![Cell::text(&row.name)];
        cells.extend(
            metrics
                .iter()
                .map(|&m| compared(row, m).unwrap_or(Cell::Absent)),
        );
        table.rows.push(cells);
    }
    Some(table)
}

/// How thirds, worst class and worst decile were chosen.
pub fn chosen_on(report: &ClassReport) -> String {
    let optimistic = report
        .rows
        .iter()
        .any(|r| r.split_source == SplitSource::SameRunOptimistic);
    if optimistic {
        format!(
            "Thirds, worst class and worst decile: {} (there is one seed of {}, which both chooses these \
             classes and is compared on them, so gains on hard classes are overstated).",
            SplitSource::SameRunOptimistic,
            report.reference
        )
    } else {
        format!(
            "Thirds, worst class and worst decile: {}. For each seed they are chosen by the mean per-class \
             test accuracy of the other seeds of {}.",
            SplitSource::CrossFitted,
            report.reference
        )
    }
}

/// The classes of the thirds and the worst class by name, one line for each different choice.
pub fn members(report: &ClassReport, names: &[String]) -> Vec<String> {
    if report.classes > LISTED_CLASSES {
        return vec!["The classes of each third, by seed, are in report.json.".into()];
    }
    let list = |group: &[usize]| {
        group
            .iter()
            .map(|&k| name(names, k))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let describe = |thirds: &Thirds, worst: usize| {
        format!(
            "Easy: {}. Medium: {}. Hard: {}. Worst: {}.",
            list(&thirds.easy),
            list(&thirds.medium),
            list(&thirds.hard),
            name(names, worst)
        )
    };
    let mut lines: Vec<(String, Vec<String>)> = Vec::new();
    for split in &report.splits {
        let text = match &split.thirds {
            Some(thirds) => describe(thirds, split.worst_class),
            None => format!(
                "Fewer than three classes: no thirds. Worst: {}.",
                name(names, split.worst_class)
            ),
        };
        match lines.iter_mut().find(|(known, _)| *known == text) {
            Some((_, seeds)) => seeds.push(split.seed.to_string()),
            None => lines.push((text, vec![split.seed.to_string()])),
        }
    }
    let label = |seeds: &[String]| match seeds {
        [one] => format!("Seed {one}"),
        several => format!("Seeds {}", several.join(", ")),
    };
    lines
        .iter()
        .map(|(text, seeds)| format!("{}: {text}", label(seeds)))
        .collect()
}

/// Accuracy of each class under each method, hardest first as the reference sees it.
pub fn class_table(report: &ClassReport, names: &[String]) -> Table {
    let mut columns = vec![Column::words("class"), Column::numbers("test images")];
    columns.extend(report.rows.iter().map(|row| Column::shares(&row.name)));
    let mut table = Table::new("Accuracy of each class in %, hardest first", columns);
    let Some(reference) = report.rows.first() else {
        return table;
    };
    let mut order = hardest_first(&reference.class_accuracy).unwrap_or_default();
    order.extend((0..report.classes).filter(|&k| reference.class_accuracy[k].is_none()));
    for class in order {
        let mut cells = vec![
            Cell::text(name(names, class)),
            Cell::Count {
                value: report.class_counts[class],
            },
        ];
        for row in &report.rows {
            cells.push(Cell::estimate(
                row.class_accuracy[class],
                None,
                Scale::Percent,
            ));
        }
        table.rows.push(cells);
    }
    table.notes.push(format!(
        "Mean over the seeds of each method. Sorted by {}.",
        reference.name
    ));
    table
}

/// A class's name, or its index where names are missing.
pub fn name(names: &[String], class: usize) -> String {
    names
        .get(class)
        .cloned()
        .unwrap_or_else(|| class.to_string())
}
