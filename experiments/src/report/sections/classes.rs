//! Accuracy of each class.

use std::collections::BTreeMap;

use mr2_metrics::ClassReport;

use super::{figure, means, over_seeds, spread};
use crate::report::comparison::Method;
use crate::report::document::{Block, Section};
use crate::report::files::slug;
use crate::report::plots::{AccuracySeries, Marked, Scene, class_accuracy};
use crate::report::tables;

/// Accuracy of each class, the reference beside each other method.
pub fn classes(
    methods: &[Method<'_>],
    report: &ClassReport,
    names: &[String],
    plots: &mut BTreeMap<String, Scene>,
) -> Section {
    let accuracies: Vec<Vec<Option<Marked>>> = methods
        .iter()
        .map(|method| accuracy_of(method, names.len()))
        .collect();
    let series = |i: usize| AccuracySeries {
        name: methods[i].name,
        accuracy: &accuracies[i],
    };
    let reference = methods[0].name;
    let mut blocks = Vec::new();
    if methods.len() == 1 {
        let over = over_seeds([methods[0].runs.len()]);
        let scene = class_accuracy(names, &series(0), None, &spread(over.as_ref()));
        let caption = format!(
            "Test accuracy of each class under {reference}, hardest first{}",
            means(over.as_ref())
        );
        blocks.push(figure("accuracy", &caption, scene, plots));
    }
    for (i, method) in methods.iter().enumerate().skip(1) {
        let over = over_seeds([methods[0].runs.len(), method.runs.len()]);
        let note = spread(over.as_ref());
        let scene = class_accuracy(names, &series(0), Some(&series(i)), &note);
        let caption = format!(
            "Test accuracy of each class under {reference} and {}, hardest first as {reference} sees it{}",
            method.name,
            means(over.as_ref())
        );
        let name = format!("accuracy-{}", slug(method.name));
        blocks.push(figure(&name, &caption, scene, plots));
    }
    blocks.push(Block::Table(tables::class_table(report, names)));
    Section {
        title: "Classes".into(),
        blocks,
    }
}

/// Mean and spread over the method's seeds, class by class.
fn accuracy_of(method: &Method<'_>, classes: usize) -> Vec<Option<Marked>> {
    let of_class = |class: usize| {
        let known: Vec<f64> = method
            .runs
            .iter()
            .filter_map(|run| run.result.test.class_accuracy.get(class).copied().flatten())
            .collect();
        Marked::over_seeds(&known)
    };
    (0..classes).map(of_class).collect()
}
