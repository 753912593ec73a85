//! Signs in a running training that the method fails on this data.
//!
//! They are those that the authors of arXiv 2602.00205 name, as far as a run can see them. Label
//! noise and multi-label data can't be seen from inside: multi-label targets are refused where
//! they come in, noisy labels look like hard classes. Thresholds are rules of thumb of this
//! project; a sign is a reason to look, not a verdict.

use std::cmp::Ordering;

use mr2_metrics::{Premise, PremiseTest, group_accuracy, thirds};
use serde::{Deserialize, Serialize};

use super::{EpochRecord, MeasuredOn, premise};
use crate::error::Result;

/// Largest weight norm over the smallest, above which they are far from equal.
const UNEQUAL_NORMS: f64 = 2.0;
/// Pull of the representation term at the features over that of the classification term, above
/// which it dominates: it decides then where they go.
///
/// Trials that support it (the quickstart's model and data, four epochs, one seed each; ERM: test
/// accuracy 83.0 %). Below 1 in every epoch: exponents divided by 10 D with λ 3 (ratio 0.1, 83.8 %)
/// and 10 (0.2 to 0.4, 82.0 %). Above 1 at the first batch: λ 30 (1.3, 80.9 %) and 300 (13, then 1.2 to
/// 1.4, 71.0 %), and undivided ones, as in `paper_linear`, with λ 0.1 (2.2, 78.9 %) and 0.3 (6.7,
/// 77.0 %). With λ 0.3, divided, the ratio is 0.01 to 0.02 while the term is four fifths of the loss.
const DOMINATING_PULL: f64 = 1.0;
/// Largest margin over the mean margin, above which γ explodes.
const EXPLODING_MARGIN: f64 = 10.0;
/// Mean v over mean (m + v), below which features count as compressed.
const COMPRESSED_SPREAD: f64 = 0.05;
/// Classes from which on a correlation of ±0.4 would be significant four times out of five, so
/// that one that isn't says something.
const MANY_CLASSES: usize = 50;
/// Loss of a third's accuracy since the run's best epoch that counts as a drop.
const DROP: f64 = 0.05;

/// A way in which the method is known to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureSign {
    /// Harder classes have the smaller margin, or the smaller m + v where all margins are equal,
    /// significantly; or, among many classes, neither the smaller nor the larger one.
    SpreadWithoutDifficulty,
    /// The head's weight norms differ much between classes.
    UnequalHeadNorms,
    /// Features are compressed and the easy classes lose accuracy: s̄ is too low.
    OverCompression,
    /// The representation term pulls harder at the features than the classification term: λ is too
    /// large.
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
    let mut found = vec![
        spread_without_difficulty(now, before.last())?,
        unequal_head_norms(now),
    ];
    if let Some(watched) = watched {
        found.push(representation_dominates(now, watched));
        found.push(margins_explode(now));
        found.push(stale_statistics(now, watched));
        found.extend(dropping_thirds(now, before)?);
    }
    Ok(found.into_iter().flatten().collect())
}

/// Of the margins where there are different ones, or else of m + v, which the paper's grow with.
///
/// With few classes ρ has either sign by chance, and in one early epoch it may be near 0 with many:
/// so a reversed one must be significant, and one that isn't must follow another.
fn spread_without_difficulty(
    now: &EpochRecord,
    before: Option<&EpochRecord>,
) -> Result<Option<Sign>> {
    let of_margins = range(&now.classes.gamma).is_some_and(|(low, high)| low < high);
    let test = |epoch: &EpochRecord| {
        let values = match of_margins {
            true => &epoch.classes.gamma,
            false => &epoch.classes.second_moment,
        };
        premise(&epoch.accuracies().1, values, epoch.epoch)
    };
    let of_now = test(now)?;
    let (Some(rho), Some(p)) = (of_now.rho, of_now.p) else {
        return Ok(None);
    };
    let (name, margins) = match of_margins {
        true => ("margin γ", "the margins"),
        false => ("m + v", "margins that grow with it would"),
    };
    let many = |test: &PremiseTest| {
        matches!(test.verdict, Premise::Undecided { .. }) && test.classes >= MANY_CLASSES
    };
    let (which, so) = match before {
        _ if of_now.verdict == Premise::Reversed => ("the smaller", "favour easy classes"),
        Some(before) if many(&of_now) && many(&test(before)?) => (
            "neither the smaller nor the larger",
            "have little to do with difficulty",
        ),
        _ => return Ok(None),
    };
    let on = match now.accuracies().0 {
        MeasuredOn::Validation => "validation",
        MeasuredOn::RunningTraining => "running training",
        MeasuredOn::Test => "test",
    };
    Ok(Some(Sign {
        sign: FailureSign::SpreadWithoutDifficulty,
        message: format!(
            "harder classes have {which} {name} here: Spearman's ρ of {on} accuracy with it is \
             {rho:+.2} (p = {p:.4}), so {margins} {so}"
        ),
    }))
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

/// Its value would say nothing: see [`Pulls`](super::Pulls).
fn representation_dominates(now: &EpochRecord, watched: Watched) -> Option<Sign> {
    let ratio = now.pulls?.ratio()?;
    (ratio > DOMINATING_PULL).then(|| Sign {
        sign: FailureSign::RepresentationDominates,
        message: format!(
            "the representation term's gradient with respect to the features is {ratio:.2} times \
             the classification term's: λ = {} may be too large",
            watched.representation_weight
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
    // An average of decay d spans about 1 / (1 − d) updates, rounded because 1 / (1 − 0.9) is more
    // than 10 in binary. A class has at most one update for each of its images and for each step.
    let span = (1.0 / (1.0 - watched.decay).max(f64::EPSILON)).round();
    let steps = now.step / now.epoch.max(1);
    let counts = &now.train_classes.count;
    let stale = counts
        .iter()
        .filter(|count| ((**count).min(steps) as f64) < span)
        .count();
    let never = now.classes.v.iter().filter(|v| v.is_none()).count();
    (stale > 0 || never > 0).then(|| Sign {
        sign: FailureSign::StaleStatistics,
        message: format!(
            "{stale} of {} classes had fewer updates in the epoch than the {span:.0} that their \
             moving averages span, and {never} have no spread yet",
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
mod tests;
