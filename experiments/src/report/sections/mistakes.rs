//! Which classes are taken for which.

use std::collections::BTreeMap;

use anyhow::Result;
use mr2_metrics::{Confusion, ConfusionCell};

use super::{figure, means, over_seeds, spread};
use crate::report::comparison::Method;
use crate::report::document::{Block, Column, Section, Table};
use crate::report::plots::{ConfusionPair, Marked, Scene, confusion_pairs};
use crate::report::{Cell, Scale, tables};

/// Pairs of classes in the table and plot.
const MISTAKES: usize = 12;
/// Methods in the plot; the table has all.
const BARS: usize = 3;

/// A run's mistakes, with the number of images of each class.
struct Counted {
    confusion: Confusion,
    images: Vec<u64>,
}

/// Which classes the reference takes for which, and how often the others do.
pub fn mistakes(
    methods: &[Method<'_>],
    names: &[String],
    plots: &mut BTreeMap<String, Scene>,
) -> Result<Section> {
    let counted: Vec<Vec<Counted>> = methods
        .iter()
        .map(|method| count(method, names.len()))
        .collect::<Result<_>>()?;
    let top = most_frequent(&methods[0], names.len())?;
    let mut blocks = Vec::new();
    if !top.is_empty() {
        let shown = methods.len().min(BARS);
        let legend: Vec<&str> = methods[..shown].iter().map(|m| m.name).collect();
        let pair = |cell: &ConfusionCell| ConfusionPair {
            class: tables::name(names, cell.label as usize),
            taken_for: tables::name(names, cell.prediction as usize),
            shares: counted[..shown]
                .iter()
                .filter_map(|m| share(m, cell))
                .collect(),
        };
        let pairs: Vec<ConfusionPair> = top.iter().map(pair).collect();
        let over = over_seeds(methods[..shown].iter().map(|m| m.runs.len()));
        let mut caption = format!(
            "Most frequent mistakes of {}: share of the class's test images{}",
            legend[0],
            means(over.as_ref())
        );
        if shown < methods.len() {
            caption.push_str(&format!(
                " The first {shown} methods; the table has all {}.",
                methods.len()
            ));
        }
        let scene = confusion_pairs(&legend, &pairs, &spread(over.as_ref()));
        blocks.push(figure("mistakes", &caption, scene, plots));
        blocks.push(Block::Table(table(methods, &counted, &top, names)));
    }
    Ok(Section {
        title: "Mistakes".into(),
        blocks,
    })
}

fn count(method: &Method<'_>, classes: usize) -> Result<Vec<Counted>> {
    let count_run = |run: &&crate::report::run_folders::FinishedRun| {
        let (labels, predictions) = (&run.predictions.labels, &run.predictions.predictions);
        let mut images = vec![0; classes];
        labels.iter().for_each(|&label| images[label as usize] += 1);
        let confusion = Confusion::from_predictions(labels, predictions, classes)?;
        Ok(Counted { confusion, images })
    };
    method.runs.iter().map(count_run).collect()
}

/// The most frequent mistakes of all seeds together.
fn most_frequent(method: &Method<'_>, classes: usize) -> Result<Vec<ConfusionCell>> {
    let runs = || method.runs.iter().map(|run| &run.predictions);
    let labels: Vec<u32> = runs().flat_map(|p| p.labels.iter().copied()).collect();
    let predictions: Vec<u32> = runs().flat_map(|p| p.predictions.iter().copied()).collect();
    let confusion = Confusion::from_predictions(&labels, &predictions, classes)?;
    Ok(confusion.top_confusions(MISTAKES))
}

/// The share of the class's images, over the seeds.
fn share(runs: &[Counted], cell: &ConfusionCell) -> Option<Marked> {
    let shares: Vec<f64> = runs
        .iter()
        .map(|run| {
            let count = run.confusion.count(cell.label, cell.prediction);
            count as f64 / run.images[cell.label as usize].max(1) as f64
        })
        .collect();
    Marked::over_seeds(&shares)
}

fn table(
    methods: &[Method<'_>],
    counted: &[Vec<Counted>],
    top: &[ConfusionCell],
    names: &[String],
) -> Table {
    let mut columns = vec![Column::words("class"), Column::words("taken for")];
    columns.extend(methods.iter().map(|m| Column::numbers(m.name)));
    let title = "Most frequent mistakes, in % of the class's images";
    let mut table = Table::new(title, columns);
    for cell in top {
        let mut row = vec![
            Cell::text(tables::name(names, cell.label as usize)),
            Cell::text(tables::name(names, cell.prediction as usize)),
        ];
        row.extend(counted.iter().map(|runs| {
            let mean = share(runs, cell).map(|marked| marked.value);
            Cell::estimate(mean, None, Scale::Percent)
        }));
        table.rows.push(row);
    }
    table.notes.push(format!(
        "The {MISTAKES} most frequent of {}, all seeds together; means over seeds.",
        methods[0].name
    ));
    table
}
