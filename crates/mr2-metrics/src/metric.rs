//! The columns of a class-wise table: one enum, and what each is of a run and its split.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::class_report::SeedSplit;
use crate::error::Error;
use crate::per_class::group_accuracy;
use crate::runs::SeedRun;
use crate::verdict::Direction;
use crate::worst::{cvar, own_minimum};

/// A column of the table. All are fractions, 1 being 100 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Share of correct images.
    Overall,
    /// Mean accuracy of the easy third.
    Easy,
    /// Mean accuracy of the medium third.
    Medium,
    /// Mean accuracy of the hard third.
    Hard,
    /// Accuracy of the class that is worst in the reference runs.
    WorstClass,
    /// Easy minus hard.
    Gap,
    /// Mean accuracy of the tenth of the classes that is worst in the reference runs.
    WorstDecile,
    /// Lowest accuracy of the run's own classes.
    OwnMinimum,
    /// Mean accuracy of the run's own worst share of classes.
    Cvar,
    /// Mean per-class accuracy.
    MeanRecall,
    /// Mean per-class F1.
    MacroF1,
    /// Share of images whose label is among the five highest scores.
    Top5,
    /// Expected calibration error.
    Ece,
    /// Mean accuracy of the third that is easiest in the reference's run with the same seed: as
    /// papers have it, and pessimistic for whatever is compared with that run.
    EasySameRun,
    /// Mean accuracy of the third that is hardest in the reference's run with the same seed: as
    /// papers have it, and optimistic. A fresh run of the reference itself gains on it
    /// ([`phantom_gain`](fn@crate::phantom_gain)).
    HardSameRun,
    /// Accuracy of the class that is worst in the reference's run with the same seed; optimistic
    /// as [`Metric::HardSameRun`] is, and more so.
    WorstClassSameRun,
}

impl Metric {
    /// Every metric, in the order of the table.
    pub const ALL: [Self; 16] = [
        Self::Overall,
        Self::Easy,
        Self::Medium,
        Self::Hard,
        Self::WorstClass,
        Self::Gap,
        Self::WorstDecile,
        Self::OwnMinimum,
        Self::Cvar,
        Self::MeanRecall,
        Self::MacroF1,
        Self::Top5,
        Self::Ece,
        Self::EasySameRun,
        Self::HardSameRun,
        Self::WorstClassSameRun,
    ];

    /// The heading of the column.
    pub fn title(self) -> &'static str {
        match self {
            Self::Overall => "overall",
            Self::Easy => "easy",
            Self::Medium => "medium",
            Self::Hard => "hard",
            Self::WorstClass => "worst class",
            Self::Gap => "easy−hard gap",
            Self::WorstDecile => "worst decile",
            Self::OwnMinimum => "own minimum",
            Self::Cvar => "CVaR",
            Self::MeanRecall => "mean per-class recall",
            Self::MacroF1 => "macro-F1",
            Self::Top5 => "top-5",
            Self::Ece => "ECE",
            Self::EasySameRun => "easy (same run)",
            Self::HardSameRun => "hard (same run)",
            Self::WorstClassSameRun => "worst class (same run)",
        }
    }

    /// Which sign of a difference is good.
    pub fn direction(self) -> Direction {
        match self {
            Self::Gap | Self::Ece => Direction::LowerIsBetter,
            _ => Direction::HigherIsBetter,
        }
    }

    /// Whether the classes that it looks at are chosen on reference runs, so that a
    /// [`SplitSource`](crate::SplitSource) belongs to it.
    pub fn uses_split(self) -> bool {
        use Metric::{Easy, Gap, Hard, Medium, WorstClass, WorstDecile};
        matches!(self, Easy | Medium | Hard | Gap | WorstClass | WorstDecile)
    }

    /// Whether its classes are chosen on the reference run with the same seed, the one that is
    /// compared, so that differences on it are no estimate of a method's gain. A method has
    /// these metrics only if the reference has all of its seeds.
    pub fn is_same_run(self) -> bool {
        use Metric::{EasySameRun, HardSameRun, WorstClassSameRun};
        matches!(self, EasySameRun | HardSameRun | WorstClassSameRun)
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title())
    }
}

/// A run as the metrics see it.
#[derive(Debug, Clone)]
pub(crate) struct ScoredRun<'a> {
    pub run: &'a SeedRun<'a>,
    pub accuracies: Vec<Option<f64>>,
}

/// The metric of a run on the classes of `split`; `None` where it is not defined or not known.
pub(crate) fn evaluate(
    metric: Metric,
    scored: &ScoredRun<'_>,
    split: &SeedSplit,
    cvar_alpha: f64,
) -> Result<Option<f64>, Error> {
    let ScoredRun { run, accuracies } = scored;
    let mean = |group: &[usize]| group_accuracy(accuracies, group);
    let thirds = split.thirds.as_ref();
    let same_run = split.same_run.as_ref();
    let same_thirds = same_run.and_then(|split| split.thirds.as_ref());
    Ok(match metric {
        Metric::Overall => run.per_class.overall(),
        Metric::MeanRecall => run.per_class.mean_recall(),
        Metric::MacroF1 => run.macro_f1,
        Metric::Easy => thirds.and_then(|thirds| mean(&thirds.easy)),
        Metric::Medium => thirds.and_then(|thirds| mean(&thirds.medium)),
        Metric::Hard => thirds.and_then(|thirds| mean(&thirds.hard)),
        Metric::Gap => thirds
            .and_then(|thirds| mean(&thirds.easy).zip(mean(&thirds.hard)))
            .map(|(easy, hard)| easy - hard),
        Metric::WorstClass => accuracies[split.worst_class],
        Metric::WorstDecile => mean(&split.worst_decile),
        Metric::OwnMinimum => own_minimum(accuracies)?,
        Metric::Cvar => cvar(accuracies, cvar_alpha)?,
        Metric::Top5 => run.top5,
        Metric::Ece => run.ece,
        Metric::EasySameRun => same_thirds.and_then(|thirds| mean(&thirds.easy)),
        Metric::HardSameRun => same_thirds.and_then(|thirds| mean(&thirds.hard)),
        Metric::WorstClassSameRun => same_run.and_then(|split| accuracies[split.worst_class]),
    })
}

/// What a correct image of each class adds to the metric, for metrics that are sums over
/// images once the classes of `split` are chosen; `None` for the others. `count` holds the images
/// of each class.
pub fn image_weights(metric: Metric, count: &[u64], split: &SeedSplit) -> Option<Vec<f64>> {
    let mut weights = vec![0.0; count.len()];
    let mut add = |group: &[usize], sign: f64| {
        let present: Vec<usize> = group.iter().copied().filter(|&k| count[k] > 0).collect();
        for &class in &present {
            weights[class] += sign / (present.len() as f64 * count[class] as f64);
        }
    };
    let every_class: Vec<usize> = (0..count.len()).collect();
    let thirds = split.thirds.as_ref();
    let same_run = split.same_run.as_ref();
    let same_thirds = || same_run.and_then(|split| split.thirds.as_ref());
    match metric {
        Metric::Overall => {
            let total: u64 = count.iter().sum();
            weights.fill(1.0 / total as f64);
        }
        Metric::MeanRecall => add(&every_class, 1.0),
        Metric::Easy => add(&thirds?.easy, 1.0),
        Metric::Medium => add(&thirds?.medium, 1.0),
        Metric::Hard => add(&thirds?.hard, 1.0),
        Metric::Gap => {
            add(&thirds?.easy, 1.0);
            add(&thirds?.hard, -1.0);
        }
        Metric::WorstClass => add(&[split.worst_class], 1.0),
        Metric::WorstDecile => add(&split.worst_decile, 1.0),
        Metric::EasySameRun => add(&same_thirds()?.easy, 1.0),
        Metric::HardSameRun => add(&same_thirds()?.hard, 1.0),
        Metric::WorstClassSameRun => add(&[same_run?.worst_class], 1.0),
        Metric::MacroF1 | Metric::OwnMinimum | Metric::Cvar | Metric::Top5 | Metric::Ece => {
            return None;
        }
    }
    Some(weights)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::class_report::SameRunSplit;
    use crate::cross_fit::SplitSource;
    use crate::thirds::thirds;

    #[test]
    fn image_weights_add_up_to_the_metric() {
        let labels = [0, 0, 1, 1, 1, 3, 3, 4, 4, 4, 4];
        let predictions = [0, 1, 1, 1, 0, 3, 3, 4, 0, 1, 4];
        let run = SeedRun::new(0, &labels, &predictions, 5).unwrap();
        let accuracies = run.per_class.accuracies();
        let thirds = thirds(&accuracies).unwrap();
        let scored = ScoredRun {
            run: &run,
            accuracies,
        };
        let split = SeedSplit {
            seed: 0,
            source: SplitSource::CrossFitted,
            thirds: thirds.clone(),
            worst_class: 0,
            worst_decile: vec![0, 2],
            same_run: Some(SameRunSplit {
                thirds,
                worst_class: 4,
            }),
        };
        let mut sums = 0;
        for metric in Metric::ALL {
            let Some(weights) = image_weights(metric, &run.per_class.count, &split) else {
                continue;
            };
            let correct = run.per_class.correct.iter();
            let sum: f64 = correct
                .zip(&weights)
                .map(|(&c, weight)| c as f64 * weight)
                .sum();
            let value = evaluate(metric, &scored, &split, 0.1).unwrap().unwrap();
            assert!(
                (sum - value).abs() < 1e-12,
                "{metric}: {sum} against {value}"
            );
            sums += 1;
        }
        assert_eq!(
            sums, 11,
            "overall, mean recall, thirds, gap, worst class and decile, three of the same run"
        );
    }
}
