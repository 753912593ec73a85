//! The audit as a report: tables and plots.

use std::collections::BTreeMap;

use anyhow::Result;
use mr2_metrics::Metric;

use super::measures::{Measures, Mistake, measure};
use super::predictions::Audited;
use crate::report::document::{Block, Column, Document, Figure, Section, Table};
use crate::report::files::Report;
use crate::report::plots::{
    AccuracySeries, ConfusionPair, Marked, Scene, class_accuracy, confusion_pairs,
};
use crate::report::{Cell, Scale};

/// Rows of a table that the terminal shows.
const TERMINAL_ROWS: usize = 15;
/// Mistakes in the table and in the plot.
const MISTAKES: usize = 12;
/// What is drawn around the numbers of the plots.
const INTERVALS: &str = "95 % intervals (Wilson)";
/// Classes named in a note at most.
const NAMED: usize = 12;

/// Measures the predictions and lays them out.
///
/// # Errors
/// When a metric refuses them.
pub fn report(audited: &Audited) -> Result<Report<Measures>> {
    let measures = measure(audited)?;
    let (classes_plot, mistakes_plot) =
        (accuracy_plot(audited, &measures), mistakes_plot(&measures));
    let mut plots = BTreeMap::from([("accuracy".to_string(), classes_plot)]);
    let mut mistakes = Vec::new();
    if !measures.mistakes.is_empty() {
        plots.insert("mistakes".into(), mistakes_plot);
        let caption =
            format!("Most frequent mistakes: share of the class's images, with {INTERVALS}.");
        mistakes.push(Block::Figure(Figure {
            name: "mistakes".into(),
            caption,
        }));
        mistakes.push(Block::Table(mistakes_table(&measures)));
    }
    let caption = format!("Accuracy of each class, hardest first, with {INTERVALS}.");
    let accuracy = Block::Figure(Figure {
        name: "accuracy".into(),
        caption,
    });
    let sections = vec![
        Section {
            title: "Overview".into(),
            blocks: vec![Block::Table(overview(audited, &measures))],
        },
        Section {
            title: "Classes".into(),
            blocks: vec![accuracy, Block::Table(class_table(&measures))],
        },
        Section {
            title: "Mistakes".into(),
            blocks: mistakes,
        },
    ];
    let document = Document {
        title: format!("Class-wise audit of {}", audited.source),
        summary: vec![format!(
            "{} images, {} classes{}.",
            measures.images,
            measures.class_names.len(),
            absent(&measures)
        )],
        sections: sections
            .into_iter()
            .filter(|s| !s.blocks.is_empty())
            .collect(),
    };
    Ok(Report {
        document,
        data: measures,
        plots,
    })
}

fn absent(measures: &Measures) -> String {
    let absent = measures
        .classes
        .iter()
        .filter(|row| row.images == 0)
        .count();
    match absent {
        0 => String::new(),
        n => format!(", {n} of them without images (no accuracy, left out of every mean)"),
    }
}

fn overview(audited: &Audited, measures: &Measures) -> Table {
    let columns = vec![
        Column::words("measure"),
        Column::shares("%"),
        Column::numbers("95 % interval"),
    ];
    let mut table = Table::new("All images", columns);
    // Up to ten classes, worst tenth and CVaR are the worst class.
    let one_in_ten = measures.worst_decile.len() == 1;
    let repeated = |metric| one_in_ten && matches!(metric, Metric::WorstDecile | Metric::Cvar);
    for measure in measures.measures.iter().filter(|m| !repeated(m.metric)) {
        table.rows.push(vec![
            Cell::text(&measure.name),
            Cell::estimate(Some(measure.value), None, Scale::Percent),
            Cell::range(measure.interval, Scale::Percent),
        ]);
    }
    let bootstrap = &measures.bootstrap;
    table.notes.push(format!(
        "Intervals: bootstrap over images, {} resamples within classes, seed {}; the classes of a group stay as chosen.",
        bootstrap.resamples, bootstrap.seed
    ));
    table.notes.push(
        "Thirds, worst class, worst decile and CVaR: same run, optimistic. They are chosen on these very \
         predictions, so on new images the hard classes would look less hard, and a second model compared on \
         them would look better than it is."
            .into(),
    );
    if one_in_ten {
        let note =
            "With at most ten classes, the worst tenth of them and CVaR are the worst class.";
        table.notes.push(note.into());
    }
    if let Some(thirds) = &measures.thirds {
        let list = |group: &[usize]| names(measures, group);
        table.notes.push(format!(
            "Hard: {}. Easy: {}.",
            list(&thirds.hard),
            list(&thirds.easy)
        ));
    } else {
        table
            .notes
            .push("Thirds need at least three classes with images.".into());
    }
    if let Some(scores) = &audited.scores {
        table.notes.push(match scores.sums {
            None => "The scores were taken as logits (softmax for ECE).".into(),
            Some([least, most]) => format!(
                "The scores were taken as probabilities: those of an image sum to {least:.3} to {most:.3}, and \
                 were divided by their sum."
            ),
        });
    }
    table
}

fn names(measures: &Measures, group: &[usize]) -> String {
    let shown: Vec<&str> = group
        .iter()
        .take(NAMED)
        .map(|&k| measures.class_names[k].as_str())
        .collect();
    let more = group.len().saturating_sub(NAMED);
    if more > 0 {
        format!("{} and {more} more", shown.join(", "))
    } else {
        shown.join(", ")
    }
}

fn class_table(measures: &Measures) -> Table {
    let columns = vec![
        Column::words("class"),
        Column::numbers("images"),
        Column::shares("accuracy %"),
        Column::numbers("95 % interval"),
        Column::words("most often taken for"),
        Column::numbers("others taken for it"),
    ];
    let mut table = Table::new("Classes, worst first", columns);
    for row in &measures.classes {
        let taken = match &row.most_taken_for {
            Some(taken) => Cell::text(format!("{} ({})", taken.name, taken.images)),
            None => Cell::Absent,
        };
        table.rows.push(vec![
            Cell::text(&row.name),
            Cell::Count { value: row.images },
            Cell::estimate(row.accuracy, None, Scale::Percent),
            Cell::range(row.interval, Scale::Percent),
            taken,
            Cell::Count {
                value: row.wrongly_predicted,
            },
        ]);
    }
    table
        .notes
        .push("Intervals of single classes: Wilson's.".into());
    table
}

fn mistakes_table(measures: &Measures) -> Table {
    let columns = vec![
        Column::words("class"),
        Column::words("taken for"),
        Column::numbers("images"),
        Column::numbers("% of the class"),
    ];
    let mut table = Table::new("Most frequent mistakes", columns);
    for mistake in measures.mistakes.iter().take(MISTAKES) {
        table.rows.push(vec![
            Cell::text(&mistake.label_name),
            Cell::text(&mistake.prediction_name),
            Cell::Count {
                value: mistake.images,
            },
            Cell::estimate(Some(mistake.share), None, Scale::Percent),
        ]);
    }
    table
}

fn accuracy_plot(audited: &Audited, measures: &Measures) -> Scene {
    let mut accuracy = vec![None; measures.class_names.len()];
    for row in &measures.classes {
        let bar = row.interval;
        accuracy[row.class] = row.accuracy.map(|value| Marked { value, bar });
    }
    let file = std::path::Path::new(&audited.source)
        .file_name()
        .unwrap_or_default();
    let name = file.to_string_lossy();
    let series = AccuracySeries {
        name: &name,
        accuracy: &accuracy,
    };
    class_accuracy(&measures.class_names, &series, None, INTERVALS)
}

fn mistakes_plot(measures: &Measures) -> Scene {
    let pair = |mistake: &Mistake| ConfusionPair {
        class: mistake.label_name.clone(),
        taken_for: mistake.prediction_name.clone(),
        shares: vec![Marked {
            value: mistake.share,
            bar: mistake.interval,
        }],
    };
    let pairs: Vec<ConfusionPair> = measures.mistakes.iter().take(MISTAKES).map(pair).collect();
    confusion_pairs(&["share"], &pairs, INTERVALS)
}

/// The table as the terminal shows it: the first rows, how many more there are, and (`all`) what shows
/// them.
pub fn shortened(table: &Table, all: &str) -> Table {
    let mut short = table.clone();
    if table.rows.len() > TERMINAL_ROWS {
        short.rows.truncate(TERMINAL_ROWS);
        let more = table.rows.len() - TERMINAL_ROWS;
        short.notes.insert(0, format!("… and {more} more; {all}."));
    }
    short
}
