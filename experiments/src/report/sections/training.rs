//! γ and v of each class over training.

use std::collections::BTreeMap;

use mr2_metrics::ClassReport;
use mr2_train::report::EpochRecord;

use super::figure;
use crate::report::comparison::Method;
use crate::report::document::Section;
use crate::report::files::slug;
use crate::report::plots::{ClassCurves, Marked, Scene, class_curves};

/// A statistic of each class that is plotted over training.
struct Quantity {
    /// In the file name.
    key: &'static str,
    /// In the title.
    title: &'static str,
    /// At the axis.
    axis: &'static str,
    /// Its values in an epoch.
    of: fn(&EpochRecord) -> &Vec<Option<f64>>,
}

const QUANTITIES: [Quantity; 2] = [
    Quantity {
        key: "gamma",
        title: "Margin γ",
        axis: "γ (its mean over the classes is the budget)",
        of: |record| &record.classes.gamma,
    },
    Quantity {
        key: "spread",
        title: "Spread v",
        axis: "v (mean squared distance of a feature from its class's mean)",
        of: |record| &record.classes.v,
    },
];

/// γ and v over training, means over the seeds of each method.
pub fn training(
    methods: &[Method<'_>],
    names: &[String],
    report: &ClassReport,
    plots: &mut BTreeMap<String, Scene>,
) -> Section {
    let mut blocks = Vec::new();
    for method in methods {
        let accuracy = report
            .row(method.name)
            .map(|row| row.class_accuracy.clone())
            .unwrap_or_default();
        for quantity in &QUANTITIES {
            let (epochs, values) = over_seeds(method, quantity, names.len());
            if !is_worth_a_plot(quantity, &values) {
                continue;
            }
            let title = format!(
                "{} of each class over training, {}",
                quantity.title, method.name
            );
            let plot = ClassCurves {
                title: &title,
                quantity: quantity.axis,
                seeds: method.runs.len(),
                classes: names,
                epochs: &epochs,
                values: &values,
                accuracy: &accuracy,
            };
            let caption = format!(
                "{title} ({}); colours by the method's mean test accuracy of the class.",
                seeds(method)
            );
            let name = format!("{}-{}", quantity.key, slug(method.name));
            blocks.push(figure(&name, &caption, class_curves(&plot), plots));
        }
    }
    Section {
        title: "Statistics over training".into(),
        blocks,
    }
}

fn seeds(method: &Method<'_>) -> String {
    let mut seeds: Vec<u64> = method.runs.iter().map(|run| run.result.seed).collect();
    seeds.sort_unstable();
    let list: Vec<String> = seeds.iter().map(u64::to_string).collect();
    match list.as_slice() {
        [one] => format!("seed {one}"),
        several => format!("means over seeds {}", several.join(", ")),
    }
}

/// The epochs that every seed has, and each class's values in them.
fn over_seeds(
    method: &Method<'_>,
    quantity: &Quantity,
    classes: usize,
) -> (Vec<u64>, Vec<Vec<Option<Marked>>>) {
    let mut by_epoch: BTreeMap<u64, Vec<&EpochRecord>> = BTreeMap::new();
    for record in method.runs.iter().flat_map(|run| &run.result.curves) {
        by_epoch.entry(record.epoch).or_default().push(record);
    }
    by_epoch.retain(|_, records| records.len() == method.runs.len());
    let of_class = |records: &[&EpochRecord], class: usize| {
        let known: Vec<f64> = records
            .iter()
            .filter_map(|record| (quantity.of)(record).get(class).copied().flatten())
            .collect();
        Marked::over_seeds(&known)
    };
    by_epoch
        .into_iter()
        .map(|(epoch, records)| (epoch, (0..classes).map(|k| of_class(&records, k)).collect()))
        .unzip()
}

/// Not without values, and not where all margins are one throughout (plain cross-entropy, a
/// uniform γ).
fn is_worth_a_plot(quantity: &Quantity, values: &[Vec<Option<Marked>>]) -> bool {
    let mut known = values.iter().flatten().flatten().map(|marked| marked.value);
    match known.next() {
        None => false,
        Some(first) => quantity.key != "gamma" || known.any(|value| value != first),
    }
}
