//! What a figure shows beside the accuracies: classes, head norms, a sweep.

use std::collections::BTreeMap;

use anyhow::Result;
use mr2_metrics::{ClassReport, Metric, hardest_first, mean_sd};
use mr2_train::RunResult;

use super::claims::{means, of};
use super::collected::{CollectedArm, CollectedBlock};
use super::correlations::correlations;
use super::over_seeds::over_seeds;
use crate::grid::table_file::Quantity;
use crate::report::document::{Block, Column, Figure, Table};
use crate::report::files::slug;
use crate::report::plots::{Marked, Scene, SweepSeries, class_quantity, sweep as sweep_plot};
use crate::report::{Cell, Scale};

type Plots = BTreeMap<String, Scene>;

/// Names are cut, and blocks of a setting may share one: a later plot must not replace an earlier one.
fn figure(name: String, caption: String, scene: Scene, plots: &mut Plots) -> Block {
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    let mut names = std::iter::once(name.clone()).chain(numbered);
    let name = names.find(|name| !plots.contains_key(name)).unwrap_or(name);
    plots.insert(name.clone(), scene);
    Block::Figure(Figure { name, caption })
}

/// Accuracy, m, v, m + v and v / m of each class under the reference, hardest first.
///
/// # Errors
/// When a correlation can't be computed.
pub fn class_spread(block: &CollectedBlock<'_>, plots: &mut Plots) -> Result<Vec<Block>> {
    let quantities = [
        (Quantity::SecondMoment, "m + v"),
        (Quantity::Spread, "v"),
        (Quantity::RelativeSpread, "v / m"),
    ];
    class_table(
        block,
        "Accuracy and spread of each class, hardest first",
        &quantities,
        plots,
    )
}

/// The norm of each class's row of the head under the reference, hardest first.
///
/// # Errors
/// When a correlation can't be computed.
pub fn head_norms(block: &CollectedBlock<'_>, plots: &mut Plots) -> Result<Vec<Block>> {
    let quantities = [(Quantity::HeadNorm, "‖w_k‖")];
    let mut blocks = class_table(
        block,
        "Head norm of each class, hardest first",
        &quantities,
        plots,
    )?;
    let ratios: Vec<f64> = block.arms[0]
        .runs
        .iter()
        .filter_map(|run| ratio(&run.result))
        .collect();
    if let Ok(ratio) = mean_sd(&ratios) {
        let spread = ratio.sd.map_or(String::new(), |sd| format!(" ± {sd:.2}"));
        blocks.push(Block::text(format!(
            "The largest norm is {:.2}{spread} times the smallest (mean over {} runs).",
            ratio.mean, ratio.n
        )));
    }
    Ok(blocks)
}

fn ratio(result: &RunResult) -> Option<f64> {
    let norms: Vec<f64> = result.classes.head_norm.iter().copied().flatten().collect();
    let least = norms.iter().copied().min_by(f64::total_cmp)?;
    let most = norms.iter().copied().max_by(f64::total_cmp)?;
    (least > 0.0).then(|| most / least)
}

fn class_table(
    block: &CollectedBlock<'_>,
    title: &str,
    quantities: &[(Quantity, &str)],
    plots: &mut Plots,
) -> Result<Vec<Block>> {
    let reference = &block.arms[0];
    let results: Vec<&RunResult> = reference.runs.iter().map(|run| &run.result).collect();
    let Some(first) = results.first() else {
        return Ok(Vec::new());
    };
    let names = &first.class_names;
    let accuracy = means(
        names.len(),
        results.iter().map(|r| r.test.class_accuracy.clone()),
    );
    let mut columns = vec![Column::words("class"), Column::numbers("accuracy in %")];
    columns.extend(quantities.iter().map(|(_, name)| Column::numbers(*name)));
    let mut table = Table::new(title, columns);
    for class in hardest_first(&accuracy).unwrap_or_default() {
        let accuracies = results.iter().map(|r| r.test.class_accuracy[class]);
        let mut cells = vec![
            Cell::text(&names[class]),
            over_seeds(accuracies, Scale::Percent),
        ];
        for (quantity, _) in quantities {
            let values = results.iter().map(|r| of(*quantity, r)[class]);
            cells.push(over_seeds(values, Scale::Plain { decimals: 3 }));
        }
        table.rows.push(cells);
    }
    table.notes.push(format!(
        "Mean ± standard deviation over seeds of {} (number of seeds).",
        reference.arm.name
    ));
    let correlations = correlations(&results, quantities)?;
    let mut blocks = vec![Block::Table(table), Block::Table(correlations)];
    for (quantity, name) in quantities {
        let values = means(names.len(), results.iter().map(|r| of(*quantity, r)));
        let points: Vec<Option<(f64, f64)>> = accuracy
            .iter()
            .zip(&values)
            .map(|(a, q)| (*a).zip(*q))
            .collect();
        let key = serde_json::to_string(quantity).unwrap_or_default();
        let file = slug(&format!("{} {key}", block.setting.name));
        let title = format!("{name} of each class and its accuracy");
        let caption = format!(
            "{name} against test accuracy of each class; means over the seeds of {}.",
            reference.arm.name
        );
        let scene = class_quantity(&title, name, names, &points);
        blocks.push(figure(file, caption, scene, plots));
    }
    Ok(blocks)
}

/// Overall and hard accuracy over the arms' `at`.
pub fn sweep(block: &CollectedBlock<'_>, report: &ClassReport, plots: &mut Plots) -> Vec<Block> {
    let series = |metric: Metric| {
        let at = |arm: &CollectedArm<'_>| {
            let cell = report.row(&arm.arm.name)?.cell(metric)?;
            Some((arm.arm.at?, Marked::over_seeds(&cell.per_seed)?))
        };
        let mut points: Vec<(f64, Marked)> = block.trained().filter_map(at).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let reference = report.rows.first().and_then(|row| row.cell(metric));
        SweepSeries {
            name: metric.title().to_string(),
            points,
            reference: reference.map(|cell| cell.mean),
        }
    };
    let series = [Metric::Overall, Metric::Hard].map(series);
    if series.iter().all(|one| one.points.len() < 2) {
        return Vec::new();
    }
    let setting = block.arms.iter().find(|arm| arm.arm.at.is_some());
    let setting = setting
        .and_then(|arm| arm.arm.name.split(" = ").next())
        .unwrap_or("setting");
    let title = format!("Accuracy over {setting}");
    let spread = "± 1 standard deviation over seeds";
    let scene = sweep_plot(&title, &series, setting, spread);
    let caption = format!(
        "Overall accuracy and that of the hard third over {setting}; dashed: {}. Means, ± 1 standard deviation over seeds.",
        report.reference
    );
    let file = slug(&format!("{} {}", block.setting.name, block.block.name));
    vec![figure(file, caption, scene, plots)]
}
