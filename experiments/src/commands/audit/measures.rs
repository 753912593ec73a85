//! The numbers of an audit: what is measured, on which classes, with which interval.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use mr2_metrics::{
    BootstrapConfig, Calibration, ClassReport, Confusion, ConfusionCell, ECE_BINS, Interval,
    MethodRuns, Metric, PerClass, ReportConfig, SeedRun, SeedSplit, SplitSource, Thirds,
    bootstrap_sums, calibration, hardest_first, image_weights, top_k,
};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::class_rows::{ClassRow, class_rows, wilson};
use super::predictions::{Audited, Scores};

/// Mistakes kept in the report.
const MISTAKES: usize = 50;
/// Classes below which top-5 says nothing.
const TOP5_CLASSES: usize = 6;

/// What is measured, in the order of the table. The own minimum is the worst class: there is one run.
const MEASURES: [Metric; 12] = [
    Metric::Overall,
    Metric::MeanRecall,
    Metric::Easy,
    Metric::Medium,
    Metric::Hard,
    Metric::Gap,
    Metric::WorstClass,
    Metric::WorstDecile,
    Metric::Cvar,
    Metric::MacroF1,
    Metric::Top5,
    Metric::Ece,
];

/// A number with its interval over images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measure {
    /// Which; its key in JSON.
    #[serde(skip)]
    pub metric: Metric,
    /// What it is, in words.
    pub name: String,
    /// The number, a fraction of 1.
    pub value: f64,
    /// Bootstrap interval; `None` for measures that are no sum over images.
    pub interval: Option<Interval>,
}

/// Images of one class taken for another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mistake {
    /// Index of the true class.
    pub label: usize,
    /// Its name.
    pub label_name: String,
    /// Index of the predicted class.
    pub prediction: usize,
    /// Its name.
    pub prediction_name: String,
    /// How many images.
    pub images: u64,
    /// Their share of the true class's images.
    pub share: f64,
    /// Wilson's 95 % interval of the share.
    pub interval: Option<Interval>,
}

/// Everything that is measured; what `mr2 audit --json` prints. Shares and accuracies are fractions
/// of 1, classes are indices into `class_names`, and what isn't known is `None` (null).
#[derive(Clone, Debug, Serialize)]
pub struct Measures {
    /// The file.
    pub source: String,
    /// Number of images.
    pub images: usize,
    /// Names of the classes.
    pub class_names: Vec<String>,
    /// Whole-set numbers in the order of the table; an object in JSON, by [`Metric`].
    #[serde(serialize_with = "by_metric")]
    pub measures: Vec<Measure>,
    /// Thirds of the classes; `None` below three classes with images.
    pub thirds: Option<Thirds>,
    /// The class with the lowest accuracy.
    pub worst_class: usize,
    /// The tenth of the classes with the lowest accuracy.
    pub worst_decile: Vec<usize>,
    /// On which predictions thirds, worst class and worst decile were chosen: these very ones.
    pub chosen_on: SplitSource,
    /// Every class, worst first, classes without images last.
    pub classes: Vec<ClassRow>,
    /// The most frequent mistakes, at most 50.
    pub mistakes: Vec<Mistake>,
    /// What the scores were taken as, where there are any: `logits` or `probabilities`.
    pub scores: Option<&'static str>,
    /// Calibration, where there are scores.
    pub calibration: Option<Calibration>,
    /// How intervals were made.
    pub bootstrap: BootstrapConfig,
}

fn by_metric<S: Serializer>(measures: &[Measure], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(measures.len()))?;
    for measure in measures {
        map.serialize_entry(&measure.metric, measure)?;
    }
    map.end()
}

/// Measures the predictions.
///
/// # Errors
/// When a metric refuses them.
pub fn measure(audited: &Audited) -> Result<Measures> {
    let (labels, predictions) = (&audited.labels, &audited.predictions);
    let classes = audited.class_names.len();
    let per_class = PerClass::from_predictions(labels, predictions, classes)?;
    let confusion = Confusion::from_predictions(labels, predictions, classes)?;
    let (mut top5, mut calibrated) = (None, None);
    if let Some(Scores { probabilities, .. }) = &audited.scores {
        if classes >= TOP5_CLASSES {
            top5 = top_k(labels, probabilities, classes, 5)?.overall();
        }
        calibrated = Some(calibration(labels, probabilities, classes, ECE_BINS)?);
    }
    let run = SeedRun {
        top5,
        ece: calibrated.as_ref().map(|found| found.ece),
        ..SeedRun::new(0, labels, predictions, classes)?
    };
    let method = MethodRuns {
        name: audited.source.clone(),
        runs: vec![run],
    };
    let config = ReportConfig::standard();
    let report = ClassReport::new(&method, &[], classes, &config)?;
    let (row, split) = (&report.rows[0], &report.splits[0]);
    let bootstrap = config.bootstrap.context("a report has a bootstrap")?;
    let intervals = intervals(audited, &per_class.count, split, &bootstrap)?;
    let measure = |metric: Metric| {
        Some(Measure {
            metric,
            name: name(metric, audited, split),
            value: row.cell(metric)?.mean,
            interval: intervals.get(&metric).copied(),
        })
    };
    Ok(Measures {
        source: audited.source.clone(),
        images: labels.len(),
        measures: MEASURES.into_iter().filter_map(measure).collect(),
        classes: class_rows(
            audited,
            &per_class,
            &confusion,
            &hardest_first(&per_class.accuracies())?,
        ),
        thirds: split.thirds.clone(),
        worst_class: split.worst_class,
        worst_decile: split.worst_decile.clone(),
        chosen_on: split.source,
        mistakes: mistakes(audited, &per_class, &confusion),
        scores: audited.scores.as_ref().map(|scores| match scores.sums {
            Some(_) => "probabilities",
            None => "logits",
        }),
        calibration: calibrated,
        bootstrap,
        class_names: audited.class_names.clone(),
    })
}

fn mistakes(audited: &Audited, per_class: &PerClass, confusion: &Confusion) -> Vec<Mistake> {
    let name = |class: u32| audited.class_names[class as usize].clone();
    let mistake = |cell: ConfusionCell| {
        let of_class = per_class.count[cell.label as usize];
        Mistake {
            label: cell.label as usize,
            label_name: name(cell.label),
            prediction: cell.prediction as usize,
            prediction_name: name(cell.prediction),
            images: cell.count,
            share: cell.count as f64 / of_class.max(1) as f64,
            interval: wilson(cell.count, of_class),
        }
    };
    let most = confusion.top_confusions(MISTAKES);
    most.into_iter().map(mistake).collect()
}

/// Bootstrap intervals of the measures that are sums over images.
fn intervals(
    audited: &Audited,
    count: &[u64],
    split: &SeedSplit,
    bootstrap: &BootstrapConfig,
) -> Result<BTreeMap<Metric, Interval>> {
    let (labels, predictions) = (&audited.labels, &audited.predictions);
    let column = |weights: Vec<f64>| -> Vec<f64> {
        let adds = |(&label, &prediction): (&u32, &u32)| match label == prediction {
            true => weights[label as usize],
            false => 0.0,
        };
        labels.iter().zip(predictions).map(adds).collect()
    };
    let (metrics, columns): (Vec<Metric>, Vec<Vec<f64>>) = MEASURES
        .into_iter()
        .filter_map(|metric| Some((metric, column(image_weights(metric, count, split)?))))
        .unzip();
    let found = bootstrap_sums(labels, &columns, count.len(), bootstrap)?;
    let intervals = found.into_iter().map(|found| found.interval);
    Ok(metrics.into_iter().zip(intervals).collect())
}

/// What a measure is, in words.
fn name(metric: Metric, audited: &Audited, split: &SeedSplit) -> String {
    match metric {
        Metric::Overall => "overall accuracy".into(),
        Metric::Easy => "easy third".into(),
        Metric::Medium => "medium third".into(),
        Metric::Hard => "hard third".into(),
        Metric::WorstClass => format!("worst class: {}", audited.class_names[split.worst_class]),
        Metric::WorstDecile => {
            format!("worst tenth of the classes ({})", split.worst_decile.len())
        }
        Metric::Cvar => "CVaR, worst 10 % of classes".into(),
        Metric::Top5 => "top-5 accuracy".into(),
        Metric::Ece => "ECE (calibration error)".into(),
        other => other.title().into(),
    }
}
