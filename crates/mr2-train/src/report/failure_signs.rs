//! Signs in a running training that the method fails on this data.
//!
//! They are those that the authors of arXiv 2602.00205 name, as far as a run can see them. Label
//! noise and multi-label data can't be seen from inside: multi-label targets are refused where
//! they come in, noisy labels look like hard classes. Thresholds are rules of thumb of this
//! project; a sign is a reason to look, not a verdict.

use std::cmp::Ordering;

use mr2_metrics::{group_accuracy, thirds};
use serde::{Deserialize, Serialize};

use super::{EpochRecord, MeasuredOn};
use crate::error::Result;

/// Largest weight norm over the smallest, above which they are far from equal.
const UNEQUAL_NORMS: f64 = 2.0;
/// Share of the total loss above which the representation term dominates.
const DOMINATING_SHARE: f64 = 0.5;
/// Largest margin over the mean margin, above which γ explodes.
const EXPLODING_MARGIN: f64 = 10.0;
/// Mean v over mean (m + v), below which features count as compressed.
const COMPRESSED_SPREAD: f64 = 0.05;
/// Loss of a third's accuracy since the run's best epoch that counts as a drop.
const DROP: f64 = 0.05;

/// A way in which the method is known to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureSign {
    /// Harder classes don't have the larger spread.
    SpreadWithoutDifficulty,
    /// The head's weight norms differ much between classes.
    UnequalHeadNorms,
    /// Features are compressed and the easy classes lose accuracy: s̄ is too low.
    OverCompression,
    /// The representation term is most of the loss: λ is too large.
    RepresentationDominates,
    /// The hard classes lose accuracy: c̄ is too large.
    HardClassesDrop,
    /// One class's margin is far above the mean.
    MarginsExplode,
    /// Some class's moving averages lag by more than an epoch, or were never updated.
    StaleStatistics,
}

/// A failure sign with its numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sign {
    /// Which one.
    pub sign: FailureSign,
    /// What was seen, in a sentence.
    pub message: String,
}

/// What the objective lets be watched; `None` for plain cross-entropy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watched {
    /// λ.
    pub(crate) representation_weight: f64,
    /// Decay of the moving averages.
    pub(crate) decay: f64,
}

/// The signs of the epoch `now`, whose own `signs` are not read, after the epochs `before`.
pub(crate) fn signs(
    now: &EpochRecord,
    before: &[EpochRecord],
    watched: Option<Watched>,
) -> Result<Vec<Sign>> {
    let mut found = vec![spread_without_difficulty(now), unequal_head_norms(now)];
    if let Some(watched) = watched {
        found.push(representation_dominates(now, watched));
        found.push(margins_explode(now));
        found.push(stale_statistics(now, watched));
        found.extend(dropping_thirds(now, before)?);
    }
    Ok(found.into_iter().flatten().collect())
}

fn spread_without_difficulty(now: &EpochRecord) -> Option<Sign> {
    let rho = now.correlations.second_moment?;
    let on = match now.correlations.measured_on {
        MeasuredOn::Validation => "validation",
        MeasuredOn::RunningTraining => "running training",
        MeasuredOn::Test => "test",
    };
    (rho >= 0.0).then(|| Sign {
        sign: FailureSign::SpreadWithoutDifficulty,
        message: format!(
            "harder classes don't have the larger m + v here: Spearman's ρ of {on} accuracy with \
             m + v is {rho:+.2}, so margins that grow with m + v favour easy classes"
        ),
    })
}

fn unequal_head_norms(now: &EpochRecord) -> Option<Sign> {
    let (smallest, largest) = range(&now.classes.head_norm)?;
    (largest > UNEQUAL_NORMS * smallest).then(|| Sign {
        sign: FailureSign::UnequalHeadNorms,
        message: format!(
            "the head's weight norms run from {smallest:.3} to {largest:.3}; the method assumes \
             that they are nearly equal"
        ),
    })
}

fn representation_dominates(now: &EpochRecord, watched: Watched) -> Option<Sign> {
    let weighted = watched.representation_weight * now.representation_loss;
    (weighted > DOMINATING_SHARE * now.loss).then(|| Sign {
        sign: FailureSign::RepresentationDominates,
        message: format!(
            "the representation term is {weighted:.3} of a loss of {:.3}: λ = {} may be too large",
            now.loss, watched.representation_weight
        ),
    })
}

fn margins_explode(now: &EpochRecord) -> Option<Sign> {
    let (_, largest) = range(&now.classes.gamma)?;
    let known: Vec<f64> = now.classes.gamma.iter().copied().flatten().collect();
    let mean = known.iter().sum::<f64>() / known.len() as f64;
    (largest > EXPLODING_MARGIN * mean).then(|| Sign {
        sign: FailureSign::MarginsExplode,
        message: format!("the largest margin γ is {largest:.3}, the mean {mean:.3}"),
    })
}

fn stale_statistics(now: &EpochRecord, watched: Watched) -> Option<Sign> {
    // An average of decay d spans about 1 / (1 − d) updates; a class has at most one update for
    // each of its images.
    let span = 1.0 / (1.0 - watched.decay).max(f64::EPSILON);
    let counts = &now.train_classes.count;
    let stale = counts
        .iter()
        .filter(|count| (**count as f64) < span)
        .count();
    let never = now.classes.v.iter().filter(|v| v.is_none()).count();
    (stale > 0 || never > 0).then(|| Sign {
        sign: FailureSign::StaleStatistics,
        message: format!(
            "{stale} of {} classes had fewer images in the epoch than the {span:.0} updates that \
             their moving averages span, and {never} have no spread yet",
            counts.len()
        ),
    })
}

/// Thirds are those of the best epoch so far, so that a class that drops stays in its third.
fn dropping_thirds(now: &EpochRecord, before: &[EpochRecord]) -> Result<Vec<Option<Sign>>> {
    let overall = |record: &EpochRecord| record.validation_accuracy.or(record.train_accuracy);
    let best = before.iter().max_by(|a, b| {
        overall(a)
            .partial_cmp(&overall(b))
            .unwrap_or(Ordering::Equal)
    });
    let Some(best) = best else {
        return Ok(Vec::new());
    };
    let (then, current) = (best.accuracies().1, now.accuracies().1);
    let Some(groups) = thirds(&then)? else {
        return Ok(Vec::new());
    };
    let drop =
        |group: &[usize]| Some(group_accuracy(&then, group)? - group_accuracy(&current, group)?);
    let points = |drop: f64| 100.0 * drop;
    let compressed = mean_ratio(&now.classes.v, &now.classes.second_moment)
        .filter(|ratio| *ratio < COMPRESSED_SPREAD);
    let easy = drop(&groups.easy)
        .filter(|drop| *drop > DROP)
        .zip(compressed);
    let hard = drop(&groups.hard).filter(|drop| *drop > DROP);
    Ok(vec![
        easy.map(|(drop, ratio)| Sign {
            sign: FailureSign::OverCompression,
            message: format!(
                "the easy classes lost {:.1} points since epoch {} while v fell to {ratio:.3} of \
                 m + v: the threshold s̄ may be too low",
                points(drop),
                best.epoch
            ),
        }),
        hard.map(|drop| Sign {
            sign: FailureSign::HardClassesDrop,
            message: format!(
                "the hard classes lost {:.1} points since epoch {}: the budget c̄ may be too large",
                points(drop),
                best.epoch
            ),
        }),
    ])
}

fn range(values: &[Option<f64>]) -> Option<(f64, f64)> {
    values
        .iter()
        .copied()
        .flatten()
        .fold(None, |range, x| match range {
            None => Some((x, x)),
            Some((low, high)) => Some((x.min(low), x.max(high))),
        })
}

fn mean_ratio(part: &[Option<f64>], whole: &[Option<f64>]) -> Option<f64> {
    let (part, whole) = super::both_known(part, whole);
    let whole: f64 = whole.iter().sum();
    (whole > 0.0).then(|| part.iter().sum::<f64>() / whole)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use mr2_metrics::PerClass;

    use super::*;
    use crate::report::{ClassSeries, Correlations};

    const WATCHED: Watched = Watched {
        representation_weight: 0.3,
        decay: 0.9,
    };

    /// An epoch in which nothing is wrong.
    fn healthy(epoch: u64) -> EpochRecord {
        let known = |values: [f64; 3]| values.map(Some).to_vec();
        let classes = ClassSeries {
            m: known([1.0, 1.0, 1.0]),
            v: known([0.5, 1.0, 2.0]),
            second_moment: known([1.5, 2.0, 3.0]),
            gamma: known([0.8, 1.0, 1.2]),
            head_norm: known([1.0, 1.1, 0.9]),
        };
        let accuracy = [0.9, 0.8, 0.7].map(Some);
        let on = MeasuredOn::Validation;
        EpochRecord {
            epoch,
            step: 10 * epoch,
            lr: 0.1,
            loss: 1.0,
            classification_loss: 0.9,
            representation_loss: 0.3,
            images_per_second: 1.0,
            share_with_positive: 1.0,
            train_accuracy: Some(0.8),
            train_classes: counts([90, 80, 70]),
            validation_accuracy: Some(0.8),
            validation_classes: Some(counts([90, 80, 70])),
            validation_loss: Some(0.7),
            correlations: Correlations::new(on, &accuracy, &classes).unwrap(),
            classes,
            spread_threshold: Some(1.0),
            signs: Vec::new(),
        }
    }

    fn counts(correct: [u64; 3]) -> PerClass {
        PerClass {
            correct: correct.to_vec(),
            count: vec![100; 3],
        }
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut EpochRecord), expected: &[FailureSign], message: &str) {
        let mut now = healthy(2);
        change(&mut now);
        let found = signs(&now, &[healthy(1)], Some(WATCHED)).unwrap();
        assert_eq!(
            found.iter().map(|sign| sign.sign).collect::<Vec<_>>(),
            expected
        );
        if let Some(first) = found.first() {
            assert!(first.message.contains(message), "{}", first.message);
        }
    }

    #[test]
    fn a_healthy_epoch_shows_no_sign() {
        check(|_| {}, &[], "");
        assert_eq!(signs(&healthy(1), &[], None).unwrap(), []);
    }

    #[test]
    fn each_sign_is_seen_with_its_numbers() {
        use FailureSign::*;
        let known = |values: [f64; 3]| values.map(Some).to_vec();
        check(
            |now| now.correlations.second_moment = Some(0.5),
            &[SpreadWithoutDifficulty],
            "ρ of validation accuracy with m + v is +0.50",
        );
        check(
            |now| now.classes.head_norm = known([1.0, 3.0, 1.0]),
            &[UnequalHeadNorms],
            "from 1.000 to 3.000",
        );
        check(
            |now| now.representation_loss = 2.0,
            &[RepresentationDominates],
            "0.600 of a loss of 1.000: λ = 0.3",
        );
        let gamma: Vec<Option<f64>> = (0..30)
            .map(|k| Some(if k == 0 { 30.0 } else { 1.0 }))
            .collect();
        check(
            |now| now.classes.gamma = gamma,
            &[MarginsExplode],
            "is 30.000, the mean 1.967",
        );
        check(
            |now| now.train_classes.count[2] = 9,
            &[StaleStatistics],
            "1 of 3 classes had fewer images in the epoch than the 10 updates",
        );
        check(
            |now| now.classes.v[1] = None,
            &[StaleStatistics],
            "and 1 have no spread yet",
        );
        check(
            |now| now.validation_classes = Some(counts([90, 80, 60])),
            &[HardClassesDrop],
            "lost 10.0 points since epoch 1",
        );
        check(
            |now| {
                now.validation_classes = Some(counts([80, 80, 70]));
                now.classes.v = known([0.01, 0.01, 0.02]);
            },
            &[OverCompression],
            "lost 10.0 points since epoch 1 while v fell to 0.006",
        );
    }

    #[test]
    fn plain_cross_entropy_is_not_told_about_margins() {
        let mut now = healthy(2);
        now.representation_loss = 9.0;
        now.validation_classes = Some(counts([90, 80, 10]));
        assert_eq!(signs(&now, &[healthy(1)], None).unwrap(), []);
    }
}
