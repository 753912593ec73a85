//! What an interval or a correlation allows one to say, in one word.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::correlation::{spearman, spearman_permutation_p};
use crate::error::{Error, check_length};
use crate::paired::PairedDifference;
use crate::thirds::rounded;

/// The p at or below which the premise is decided.
pub const PREMISE_LEVEL: f64 = 0.05;

/// Which sign of a difference is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Accuracies.
    HigherIsBetter,
    /// Gaps and calibration errors.
    LowerIsBetter,
}

/// A method against the reference on one metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Verdict {
    /// The interval excludes 0 on the good side, or the adjusted p is small.
    Better,
    /// The same on the bad side.
    Worse,
    /// The interval holds 0, or the adjusted p is large, or there is none.
    Undecided {
        /// Number of seeds.
        n: usize,
    },
    /// The difference is exactly 0 in every seed.
    Identical,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Better => f.write_str("better"),
            Self::Worse => f.write_str("worse"),
            Self::Undecided { n } => write!(f, "undecided at n = {n}"),
            Self::Identical => f.write_str("identical"),
        }
    }
}

/// The verdict that a paired difference allows.
pub fn verdict(paired: &PairedDifference, direction: Direction) -> Verdict {
    let (better_above, better_below) = match direction {
        Direction::HigherIsBetter => (Verdict::Better, Verdict::Worse),
        Direction::LowerIsBetter => (Verdict::Worse, Verdict::Better),
    };
    match paired.interval {
        _ if paired.identical => Verdict::Identical,
        Some(interval) if interval.low > 0.0 => better_above,
        Some(interval) if interval.high < 0.0 => better_below,
        _ => Verdict::Undecided { n: paired.n },
    }
}

/// The verdict that the difference allows as one of several, by its p adjusted for their number
/// ([`holm`](fn@crate::holm)): decided at or below 1 − the level of its interval.
pub fn adjusted_verdict(
    paired: &PairedDifference,
    adjusted_p: Option<f64>,
    direction: Direction,
) -> Verdict {
    let decided = adjusted_p.is_some_and(|p| p <= 1.0 - paired.level);
    let gain = match direction {
        Direction::HigherIsBetter => paired.mean,
        Direction::LowerIsBetter => -paired.mean,
    };
    match decided {
        _ if paired.identical => Verdict::Identical,
        true if gain > 0.0 => Verdict::Better,
        true if gain < 0.0 => Verdict::Worse,
        _ => Verdict::Undecided { n: paired.n },
    }
}

/// Whether classes with a larger quantity (a spread, say) are the harder ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Premise {
    /// Significantly negative correlation of accuracy with the quantity.
    Held,
    /// Significantly positive correlation.
    Reversed,
    /// Neither.
    Undecided {
        /// Number of classes compared.
        classes: usize,
    },
}

impl fmt::Display for Premise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held => f.write_str("held"),
            Self::Reversed => f.write_str("reversed"),
            Self::Undecided { classes } => write!(f, "undecided (K = {classes})"),
        }
    }
}

/// The premise's verdict with the numbers behind it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PremiseTest {
    /// Spearman's ρ of accuracy and quantity; `None` if either is constant or fewer than two
    /// classes have both.
    pub rho: Option<f64>,
    /// Its two-sided permutation p.
    pub p: Option<f64>,
    /// Number of classes that have both.
    pub classes: usize,
    /// p ≤ [`PREMISE_LEVEL`] and ρ < 0: held; ρ > 0: reversed; else undecided.
    pub verdict: Premise,
}

/// Tests over the classes that have both numbers whether accuracy falls as `quantity` rises.
/// Accuracies tie as in [`hardest_first`](crate::hardest_first). `permutations` and `seed` are those of [`spearman_permutation_p`].
///
/// # Errors
/// Lengths that differ, a NaN or infinite number, or no permutation.
pub fn premise(
    accuracy: &[Option<f64>],
    quantity: &[Option<f64>],
    permutations: usize,
    seed: u64,
) -> Result<PremiseTest, Error> {
    check_length("quantity", accuracy.len(), quantity.len())?;
    let (x, y): (Vec<f64>, Vec<f64>) = accuracy
        .iter()
        .zip(quantity)
        .filter_map(|(&x, &y)| x.map(rounded).zip(y))
        .unzip();
    let rho = spearman(&x, &y)?;
    let p = spearman_permutation_p(&x, &y, permutations, seed)?;
    let verdict = match (rho, p) {
        (Some(rho), Some(p)) if p <= PREMISE_LEVEL && rho < 0.0 => Premise::Held,
        (Some(rho), Some(p)) if p <= PREMISE_LEVEL && rho > 0.0 => Premise::Reversed,
        _ => Premise::Undecided { classes: x.len() },
    };
    Ok(PremiseTest {
        rho,
        p,
        classes: x.len(),
        verdict,
    })
}
