//! The parts of a comparison that come with plots: classes, mistakes, training; and the list of runs.

use std::collections::BTreeMap;

use anyhow::Result;
use mr2_metrics::{ClassReport, Confusion, Metric};

use super::comparison::Method;
use super::document::{Block, Column, Figure, Section, Table};
use super::files::slug;
use super::plots::{
    AccuracySeries, ClassCurves, ConfusionPair, Scene, class_accuracy, class_curves,
    confusion_pairs,
};
use super::run_folders::{FinishedRun, Found};
use super::{Cell, Scale, tables};

/// Pairs of classes in the table and plot of mistakes.
const MISTAKES: usize = 12;
/// Methods in the plot of mistakes; the table has all.
const MISTAKE_BARS: usize = 3;

/// Accuracy of each class, the reference beside each other method.
pub(super) fn classes(
    report: &ClassReport,
    names: &[String],
    plots: &mut BTreeMap<String, Scene>,
) -> Section {
    let series = |row: &'_ mr2_metrics::MethodRow| (row.name.clone(), row.class_accuracy.clone());
    let (first_name, first) = series(&report.rows[0]);
    let first = AccuracySeries {
        name: &first_name,
        accuracy: &first,
    };
    let mut blocks = Vec::new();
    if report.rows.len() == 1 {
        let scene = class_accuracy(names, &first, None);
        let caption = format!("Test accuracy of each class under {first_name}, hardest first.");
        blocks.push(figure("accuracy", &caption, scene, plots));
    }
    for row in report.rows.iter().skip(1) {
        let (name, accuracy) = series(row);
        let second = AccuracySeries {
            name: &name,
            accuracy: &accuracy,
        };
        let caption = format!(
            "Test accuracy of each class under {first_name} and {name}, hardest first as {first_name} sees it; \
             means over seeds."
        );
        let scene = class_accuracy(names, &first, Some(&second));
        blocks.push(figure(
            &format!("accuracy-{}", slug(&name)),
            &caption,
            scene,
            plots,
        ));
    }
    blocks.push(Block::Table(tables::class_table(report, names)));
    Section {
        title: "Classes".into(),
        blocks,
    }
}

/// Adds a plot under a free name and returns its place in the document.
fn figure(name: &str, caption: &str, scene: Scene, plots: &mut BTreeMap<String, Scene>) -> Block {
    let mut free = name.to_string();
    let mut number = 2;
    while plots.contains_key(&free) {
        free = format!("{name}-{number}");
        number += 1;
    }
    plots.insert(free.clone(), scene);
    Block::Figure(Figure {
        name: free,
        caption: caption.to_string(),
    })
}

/// Share of each class's images that a method takes for each other class, all seeds together.
fn mistakes_of(method: &Method<'_>, classes: usize) -> Result<(Confusion, Vec<u64>)> {
    let join = |part: fn(&FinishedRun) -> &[u32]| -> Vec<u32> {
        method
            .runs
            .iter()
            .flat_map(|run| part(run).iter().copied())
            .collect()
    };
    let labels = join(|run| &run.predictions.labels);
    let predictions = join(|run| &run.predictions.predictions);
    let mut counts = vec![0; classes];
    labels.iter().for_each(|&label| counts[label as usize] += 1);
    Ok((
        Confusion::from_predictions(&labels, &predictions, classes)?,
        counts,
    ))
}

/// Which classes the reference takes for which, and how often the others do.
pub(super) fn mistakes(
    methods: &[Method<'_>],
    names: &[String],
    plots: &mut BTreeMap<String, Scene>,
) -> Result<Section> {
    let counted: Vec<(Confusion, Vec<u64>)> = methods
        .iter()
        .map(|m| mistakes_of(m, names.len()))
        .collect::<Result<_>>()?;
    let share = |method: usize, label: u32, prediction: u32| {
        let (confusion, counts) = &counted[method];
        confusion.count(label, prediction) as f64 / counts[label as usize].max(1) as f64
    };
    let top = counted[0].0.top_confusions(MISTAKES);
    let mut columns = vec![Column::words("class"), Column::words("taken for")];
    columns.extend(methods.iter().map(|m| Column::numbers(m.name)));
    let mut table = Table::new(
        "Most frequent mistakes, in % of the class's images",
        columns,
    );
    for cell in &top {
        let mut row = vec![
            Cell::text(tables::name(names, cell.label as usize)),
            Cell::text(tables::name(names, cell.prediction as usize)),
        ];
        row.extend((0..methods.len()).map(|m| {
            Cell::estimate(
                Some(share(m, cell.label, cell.prediction)),
                None,
                Scale::Percent,
            )
        }));
        table.rows.push(row);
    }
    table.notes.push(format!(
        "The {MISTAKES} most frequent of {}, all seeds together.",
        methods[0].name
    ));
    let mut blocks = Vec::new();
    if !top.is_empty() {
        let shown = 0..methods.len().min(MISTAKE_BARS);
        let pairs: Vec<ConfusionPair> = top
            .iter()
            .map(|cell| ConfusionPair {
                class: tables::name(names, cell.label as usize),
                taken_for: tables::name(names, cell.prediction as usize),
                shares: shown
                    .clone()
                    .map(|m| share(m, cell.label, cell.prediction))
                    .collect(),
            })
            .collect();
        let legend: Vec<&str> = shown.map(|m| methods[m].name).collect();
        let caption = format!(
            "Most frequent mistakes of {}: share of the class's test images.",
            legend[0]
        );
        blocks.push(figure(
            "mistakes",
            &caption,
            confusion_pairs(&legend, &pairs),
            plots,
        ));
        blocks.push(Block::Table(table));
    }
    Ok(Section {
        title: "Mistakes".into(),
        blocks,
    })
}

/// γ and v over training, of the first seed of each method.
pub(super) fn training(
    methods: &[Method<'_>],
    names: &[String],
    report: &ClassReport,
    plots: &mut BTreeMap<String, Scene>,
) -> Section {
    let mut blocks = Vec::new();
    for method in methods {
        let Some(run) = method.runs.iter().min_by_key(|run| run.result.seed) else {
            continue;
        };
        let accuracy = report
            .row(method.name)
            .map(|r| r.class_accuracy.clone())
            .unwrap_or_default();
        let curves = &run.result.curves;
        let epochs: Vec<u64> = curves.iter().map(|record| record.epoch).collect();
        let mut add = |key: &str, what: &str, values: Vec<Vec<Option<f64>>>| {
            if values.iter().flatten().all(Option::is_none) {
                return;
            }
            let title = format!("{what} of each class over training, {}", method.name);
            let plot = ClassCurves {
                title: &title,
                classes: names,
                epochs: &epochs,
                values: &values,
                accuracy: &accuracy,
            };
            let caption = format!(
                "{title} (seed {}); colours by the method's mean test accuracy of the class.",
                run.result.seed
            );
            let name = format!("{key}-{}", slug(method.name));
            blocks.push(figure(&name, &caption, class_curves(&plot), plots));
        };
        let gamma: Vec<_> = curves
            .iter()
            .map(|record| record.classes.gamma.clone())
            .collect();
        // One margin for all classes throughout (plain cross-entropy, a uniform γ): nothing to see.
        let mut known = gamma.iter().flatten().flatten();
        let first = known.next();
        if !known.all(|value| Some(value) == first) {
            add("gamma", "Margin γ", gamma);
        }
        add(
            "spread",
            "Spread v",
            curves.iter().map(|r| r.classes.v.clone()).collect(),
        );
    }
    Section {
        title: "Statistics over training".into(),
        blocks,
    }
}

/// Where everything comes from, and what training warned of.
pub(super) fn runs(found: &Found) -> Section {
    let columns = vec![
        Column::words("method"),
        Column::numbers("seed"),
        Column::numbers(Metric::Overall.title()),
        Column::numbers("minutes"),
        Column::words("folder"),
    ];
    let mut table = Table::new("Run folders", columns);
    let columns = vec![
        Column::words("method"),
        Column::numbers("seed"),
        Column::words("epochs"),
        Column::words("what was seen (last of them)"),
    ];
    let mut warnings = Table::new("Warnings during training", columns);
    for run in &found.runs {
        let result = &run.result;
        table.rows.push(vec![
            Cell::text(&run.method),
            Cell::Count { value: result.seed },
            Cell::estimate(result.test.overall, None, Scale::Percent),
            Cell::estimate(
                Some(result.timings.total_seconds / 60.0),
                None,
                Scale::Plain { decimals: 1 },
            ),
            Cell::text(run.folder.display().to_string()),
        ]);
        for warning in &result.warnings {
            warnings.rows.push(vec![
                Cell::text(&run.method),
                Cell::Count { value: result.seed },
                Cell::text(ranges(&warning.epochs)),
                Cell::text(&warning.message),
            ]);
        }
    }
    let mut blocks = vec![Block::Table(table)];
    if !warnings.rows.is_empty() {
        blocks.push(Block::Table(warnings));
    }
    Section {
        title: "Runs".into(),
        blocks,
    }
}

/// Ascending numbers with runs of neighbours joined: 1-3, 6.
fn ranges(numbers: &[u64]) -> String {
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for &number in numbers {
        match joined.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => joined.push((number, number)),
        }
    }
    let write = |&(first, last): &(u64, u64)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    };
    joined.iter().map(write).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::ranges;

    #[test]
    fn neighbouring_epochs_are_joined() {
        assert_eq!(ranges(&[1, 2, 3, 6, 8, 9]), "1-3, 6, 8-9");
        assert_eq!(ranges(&[]), "");
    }
}
