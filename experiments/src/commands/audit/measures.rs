//! The numbers of an audit: what is measured, on which classes, with which interval.

use anyhow::Result;
use mr2_metrics::{
    BootstrapConfig, Calibration, Confusion, ConfusionCell, ECE_BINS, Interval, Metric, PerClass,
    ReportConfig, SplitSource, Thirds, bootstrap_sums, calibration, cvar, group_accuracy,
    hardest_first, thirds, top_k, worst_decile,
};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::class_rows::{ClassRow, class_rows, wilson};
use super::predictions::Audited;

/// Mistakes kept in the report.
const MISTAKES: usize = 50;
/// Classes below which top-5 says nothing.
const TOP5_CLASSES: usize = 6;

/// A number with its interval over images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measure {
    /// Which; its key in JSON.
    #[serde(skip)]
    pub metric: Metric,
    /// What it is, in words.
    pub name: String,
    /// The number, a fraction of 1; `None` where it isn't defined.
    pub value: Option<f64>,
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
    pub worst_class: Option<usize>,
    /// The tenth of the classes with the lowest accuracy.
    pub worst_decile: Vec<usize>,
    /// On which predictions thirds, worst class and worst decile were chosen: these very ones.
    pub chosen_on: SplitSource,
    /// Every class, worst first, classes without images last.
    pub classes: Vec<ClassRow>,
    /// The most frequent mistakes, at most 50.
    pub mistakes: Vec<Mistake>,
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
    let classes = audited.class_names.len();
    let per_class = PerClass::from_predictions(&audited.labels, &audited.predictions, classes)?;
    let confusion = Confusion::from_predictions(&audited.labels, &audited.predictions, classes)?;
    let accuracies = per_class.accuracies();
    let config = ReportConfig::standard();
    let bootstrap = config.bootstrap.unwrap_or(BootstrapConfig {
        resamples: 2000,
        level: 0.95,
        seed: 0,
    });
    let order = hardest_first(&accuracies)?;
    let groups = Groups {
        thirds: thirds(&accuracies)?,
        worst_class: order.first().copied(),
        worst_decile: worst_decile(&accuracies)?,
    };
    let sums = class_sums(audited, &per_class, &groups);
    let mut measures = with_intervals(audited, sums, &bootstrap)?;
    let worst = cvar(&accuracies, config.cvar_alpha)?;
    let f1 = confusion.macro_f1();
    measures.push(Measure::alone(
        Metric::Cvar,
        "CVaR, worst 10 % of classes",
        worst,
    ));
    measures.push(Measure::alone(Metric::MacroF1, "macro-F1", f1));
    let mut calibrated = None;
    if let Some(scores) = &audited.scores {
        if classes >= TOP5_CLASSES {
            let hits = top_k(&audited.labels, &scores.probabilities, classes, 5)?;
            let share = hits.overall();
            measures.push(Measure::alone(Metric::Top5, "top-5 accuracy", share));
        }
        let found = calibration(&audited.labels, &scores.probabilities, classes, ECE_BINS)?;
        let (name, ece) = ("ECE (calibration error)", Some(found.ece));
        measures.push(Measure::alone(Metric::Ece, name, ece));
        calibrated = Some(found);
    }
    Ok(Measures {
        source: audited.source.clone(),
        images: audited.labels.len(),
        measures,
        classes: class_rows(audited, &per_class, &confusion, &order),
        thirds: groups.thirds,
        worst_class: groups.worst_class,
        worst_decile: groups.worst_decile,
        chosen_on: SplitSource::SameRunOptimistic,
        mistakes: mistakes(audited, &per_class, &confusion),
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

struct Groups {
    thirds: Option<Thirds>,
    worst_class: Option<usize>,
    worst_decile: Vec<usize>,
}

/// A measure that is a sum over images: a correct image of class k adds `weights[k]`.
struct ClassSum {
    metric: Metric,
    name: String,
    value: Option<f64>,
    weights: Vec<f64>,
}

/// Overall accuracy, recall, thirds, gap, worst class and worst decile.
fn class_sums(audited: &Audited, per_class: &PerClass, groups: &Groups) -> Vec<ClassSum> {
    let every: Vec<usize> = (0..per_class.classes()).collect();
    let sum =
        |metric, name: &str, groups: &[(&[usize], f64)]| group_sum(metric, name, per_class, groups);
    let mut sums = vec![
        ClassSum {
            metric: Metric::Overall,
            name: "overall accuracy".into(),
            value: per_class.overall(),
            weights: vec![1.0 / audited.labels.len() as f64; every.len()],
        },
        sum(
            Metric::MeanRecall,
            "mean per-class recall",
            &[(&every, 1.0)],
        ),
    ];
    if let Some(Thirds { easy, medium, hard }) = &groups.thirds {
        sums.push(sum(Metric::Easy, "easy third", &[(easy, 1.0)]));
        sums.push(sum(Metric::Medium, "medium third", &[(medium, 1.0)]));
        sums.push(sum(Metric::Hard, "hard third", &[(hard, 1.0)]));
        let signed: [(&[usize], f64); 2] = [(easy, 1.0), (hard, -1.0)];
        sums.push(sum(Metric::Gap, "easy−hard gap", &signed));
    }
    if let Some(worst) = groups.worst_class {
        let name = format!("worst class: {}", audited.class_names[worst]);
        sums.push(sum(Metric::WorstClass, &name, &[(&[worst], 1.0)]));
    }
    let name = format!("worst tenth of the classes ({})", groups.worst_decile.len());
    let decile: [(&[usize], f64); 1] = [(&groups.worst_decile, 1.0)];
    sums.push(sum(Metric::WorstDecile, &name, &decile));
    sums
}

/// A sum of signed means over groups of classes.
fn group_sum(
    metric: Metric,
    name: &str,
    per_class: &PerClass,
    groups: &[(&[usize], f64)],
) -> ClassSum {
    let accuracies = per_class.accuracies();
    let mut weights = vec![0.0; per_class.classes()];
    let mut value = Some(0.0);
    for (group, sign) in groups {
        let mean = group_accuracy(&accuracies, group);
        value = value.zip(mean).map(|(sum, mean)| sum + sign * mean);
        let present: Vec<usize> = group
            .iter()
            .copied()
            .filter(|&k| per_class.count[k] > 0)
            .collect();
        for &k in &present {
            weights[k] += sign / (present.len() as f64 * per_class.count[k] as f64);
        }
    }
    ClassSum {
        metric,
        name: name.into(),
        value,
        weights,
    }
}

fn with_intervals(
    audited: &Audited,
    sums: Vec<ClassSum>,
    bootstrap: &BootstrapConfig,
) -> Result<Vec<Measure>> {
    let Audited {
        labels,
        predictions,
        class_names,
        ..
    } = audited;
    let columns: Vec<Vec<f64>> = sums
        .iter()
        .map(|sum| {
            let adds = |(&label, &prediction): (&u32, &u32)| {
                if label == prediction {
                    sum.weights[label as usize]
                } else {
                    0.0
                }
            };
            labels.iter().zip(predictions).map(adds).collect()
        })
        .collect();
    let intervals = bootstrap_sums(labels, &columns, class_names.len(), bootstrap)?;
    let measure = |(sum, found): (ClassSum, mr2_metrics::BootstrapInterval)| Measure {
        metric: sum.metric,
        name: sum.name,
        value: sum.value,
        interval: Some(found.interval),
    };
    Ok(sums.into_iter().zip(intervals).map(measure).collect())
}

impl Measure {
    fn alone(metric: Metric, name: &str, value: Option<f64>) -> Self {
        Self {
            metric,
            name: name.into(),
            value,
            interval: None,
        }
    }
}
