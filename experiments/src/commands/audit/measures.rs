//! The numbers of an audit: what is measured, on which classes, with which interval.

use anyhow::Result;
use mr2_metrics::{
    BootstrapConfig, Calibration, Confusion, ConfusionCell, ECE_BINS, Interval, PerClass,
    ReportConfig, Thirds, bootstrap_sums, calibration, cvar, group_accuracy, hardest_first, thirds,
    top_k, worst_decile,
};
use serde::Serialize;

use super::predictions::Audited;

/// Mistakes kept in the report.
const MISTAKES: usize = 50;
/// Classes below which top-5 says nothing.
const TOP5_CLASSES: usize = 6;
/// The normal quantile of a 95 % interval.
const Z: f64 = 1.959_963_984_540_054;

/// A number with its interval over images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measure {
    /// What it is.
    pub name: String,
    /// The number; `None` where it isn't defined.
    pub value: Option<f64>,
    /// Bootstrap interval; `None` for measures that are no sum over images.
    pub interval: Option<Interval>,
}

/// One class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassRow {
    /// Its index.
    pub class: usize,
    /// Its name.
    pub name: String,
    /// Images of it.
    pub images: u64,
    /// Those predicted correctly.
    pub correct: u64,
    /// Accuracy (recall); `None` without images.
    pub accuracy: Option<f64>,
    /// Wilson's 95 % interval.
    pub interval: Option<Interval>,
    /// How often other images were taken for it.
    pub wrongly_predicted: u64,
    /// What its images are most often taken for, and how often.
    pub most_taken_for: Option<(String, u64)>,
}

/// Everything that is measured.
#[derive(Clone, Debug, Serialize)]
pub struct Measures {
    /// The file.
    pub source: String,
    /// Number of images.
    pub images: usize,
    /// Names of the classes.
    pub class_names: Vec<String>,
    /// Whole-set numbers in the order of the table.
    pub measures: Vec<Measure>,
    /// Thirds, chosen on these same predictions; `None` below three classes with images.
    pub thirds: Option<Thirds>,
    /// The class with the lowest accuracy.
    pub worst_class: Option<usize>,
    /// The tenth of the classes with the lowest accuracy.
    pub worst_decile: Vec<usize>,
    /// Every class, worst first, classes without images last.
    pub classes: Vec<ClassRow>,
    /// The most frequent mistakes.
    pub mistakes: Vec<ConfusionCell>,
    /// Calibration, where there are scores.
    pub calibration: Option<Calibration>,
    /// How intervals were made.
    pub bootstrap: BootstrapConfig,
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
    measures.push(Measure::alone(
        "CVaR, worst 10 % of classes",
        cvar(&accuracies, config.cvar_alpha)?,
    ));
    measures.push(Measure::alone("macro-F1", confusion.macro_f1()));
    let mut calibrated = None;
    if let Some(scores) = &audited.scores {
        if classes >= TOP5_CLASSES {
            let hits = top_k(&audited.labels, &scores.probabilities, classes, 5)?;
            measures.push(Measure::alone("top-5 accuracy", hits.overall()));
        }
        let found = calibration(&audited.labels, &scores.probabilities, classes, ECE_BINS)?;
        measures.push(Measure::alone("ECE (calibration error)", Some(found.ece)));
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
        mistakes: confusion.top_confusions(MISTAKES),
        calibration: calibrated,
        bootstrap,
        class_names: audited.class_names.clone(),
    })
}

struct Groups {
    thirds: Option<Thirds>,
    worst_class: Option<usize>,
    worst_decile: Vec<usize>,
}

/// A measure that is a sum over images: a correct image of class k adds `weights[k]`.
struct ClassSum {
    name: String,
    value: Option<f64>,
    weights: Vec<f64>,
}

/// Overall accuracy, recall, thirds, gap, worst class and worst decile.
fn class_sums(audited: &Audited, per_class: &PerClass, groups: &Groups) -> Vec<ClassSum> {
    let every: Vec<usize> = (0..per_class.classes()).collect();
    let mut sums = vec![
        ClassSum {
            name: "overall accuracy".into(),
            value: per_class.overall(),
            weights: vec![1.0 / audited.labels.len() as f64; every.len()],
        },
        group_sum("mean per-class recall", per_class, &[(&every, 1.0)]),
    ];
    if let Some(Thirds { easy, medium, hard }) = &groups.thirds {
        sums.push(group_sum("easy third", per_class, &[(easy, 1.0)]));
        sums.push(group_sum("medium third", per_class, &[(medium, 1.0)]));
        sums.push(group_sum("hard third", per_class, &[(hard, 1.0)]));
        sums.push(group_sum(
            "easy−hard gap",
            per_class,
            &[(easy, 1.0), (hard, -1.0)],
        ));
    }
    if let Some(worst) = groups.worst_class {
        let name = format!("worst class: {}", audited.class_names[worst]);
        sums.push(group_sum(&name, per_class, &[(&[worst], 1.0)]));
    }
    let name = format!("worst tenth of the classes ({})", groups.worst_decile.len());
    sums.push(group_sum(&name, per_class, &[(&groups.worst_decile, 1.0)]));
    sums
}

/// A sum of signed means over groups of classes.
fn group_sum(name: &str, per_class: &PerClass, groups: &[(&[usize], f64)]) -> ClassSum {
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
        name: sum.name,
        value: sum.value,
        interval: Some(found.interval),
    };
    Ok(sums.into_iter().zip(intervals).map(measure).collect())
}

impl Measure {
    fn alone(name: &str, value: Option<f64>) -> Self {
        Self {
            name: name.into(),
            value,
            interval: None,
        }
    }
}

fn class_rows(
    audited: &Audited,
    per_class: &PerClass,
    confusion: &Confusion,
    order: &[usize],
) -> Vec<ClassRow> {
    let classes = per_class.classes();
    let mut wrongly_predicted = vec![0; classes];
    let mut most: Vec<Option<(u32, u64)>> = vec![None; classes];
    for cell in confusion
        .cells()
        .iter()
        .filter(|cell| cell.label != cell.prediction)
    {
        wrongly_predicted[cell.prediction as usize] += cell.count;
        let slot = &mut most[cell.label as usize];
        if slot.is_none_or(|(_, count)| cell.count > count) {
            *slot = Some((cell.prediction, cell.count));
        }
    }
    let absent = (0..classes).filter(|&k| per_class.count[k] == 0);
    let rows = order.iter().copied().chain(absent).map(|class| {
        let (correct, images) = (per_class.correct[class], per_class.count[class]);
        ClassRow {
            class,
            name: audited.class_names[class].clone(),
            images,
            correct,
            accuracy: per_class.accuracy(class),
            interval: wilson(correct, images),
            wrongly_predicted: wrongly_predicted[class],
            most_taken_for: most[class].map(|(k, n)| (audited.class_names[k as usize].clone(), n)),
        }
    });
    rows.collect()
}

/// Wilson's score interval of a share: it stays inside [0, 1] and has a width for 0 and for all,
/// which the bootstrap hasn't.
fn wilson(correct: u64, images: u64) -> Option<Interval> {
    if images == 0 {
        return None;
    }
    let (n, share) = (images as f64, correct as f64 / images as f64);
    let spread = 1.0 + Z * Z / n;
    let centre = (share + Z * Z / (2.0 * n)) / spread;
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt() / spread;
    Some(Interval {
        low: (centre - half).max(0.0),
        high: (centre + half).min(1.0),
    })
}

#[cfg(test)]
mod tests {
    use super::wilson;

    #[test]
    fn wilsons_interval_is_the_textbooks() {
        // Newcombe 1998, table I: 81 of 263, 0.2553 to 0.3662; 0 of 20, 0 to 0.1611.
        let interval = wilson(81, 263).expect("there are images");
        assert!((interval.low - 0.2553).abs() < 5e-5 && (interval.high - 0.3662).abs() < 5e-5);
        let none = wilson(0, 20).expect("there are images");
        assert!(none.low < 1e-12 && (none.high - 0.1611).abs() < 5e-5);
        assert!(wilson(0, 0).is_none());
    }
}
