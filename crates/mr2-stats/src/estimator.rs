//! What is estimated, and how: the choices behind [`crate::ClassStats`].
use candle_core::{Result, bail};
use serde::{Deserialize, Serialize};

/// How batches make up the statistics of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Estimator {
    /// `m` and `v` of each batch that has the class, then their moving averages: the paper's and
    /// its official code's. `v` is biased low by (n − 1)/n: a class with one sample in the batch
    /// counts as one without spread.
    BatchLocal,
    /// Moving averages of the summed deviations and of n − 1, over batches with two samples of the
    /// class or more; `v` is their ratio, unbiased for the L2 norm. For that norm the moving
    /// average of `mean ‖φ‖²` gives `m + v` in every batch.
    Pooled,
    /// A moving average of the class mean, and of the deviations from where it was before the
    /// batch. A class has `v` from its second batch on. Holds (classes, features) numbers.
    RunningMean,
}

impl Estimator {
    /// All estimators.
    pub const ALL: [Self; 3] = [Self::BatchLocal, Self::Pooled, Self::RunningMean];
}

/// What the statistics are measured from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Centre {
    /// The origin.
    None,
    /// The moving average of the batch mean, the present batch included: `m` is then the squared
    /// distance of the class from it. `v` is the same up to rounding, except for
    /// [`Estimator::RunningMean`], whose class means move with it.
    GlobalMean,
}

impl Centre {
    /// All centres.
    pub const ALL: [Self; 2] = [Self::None, Self::GlobalMean];
}

/// Every number behind the statistics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatsConfig {
    /// The norm `p >= 1` of `m` and `v`: 2 for linear heads; on L2-normalised features that gives
    /// m + v = 1 for every class, hence 3 in the paper.
    pub norm: f64,
    /// The share that a moving average keeps of its past at each batch, in `[0, 1)`. The first
    /// batch that has a class sets its average.
    pub decay: f64,
    /// How batches make up the statistics.
    pub estimator: Estimator,
    /// What they are measured from.
    pub centre: Centre,
}

impl StatsConfig {
    /// Whether every number is in its range.
    ///
    /// # Errors
    /// A norm below 1 or not finite, a decay outside `[0, 1)`.
    pub fn check(&self) -> Result<()> {
        check_norm(self.norm)?;
        if !(0.0..1.0).contains(&self.decay) {
            bail!("decay must be in [0, 1), got {}", self.decay)
        }
        Ok(())
    }
}

pub(crate) fn check_norm(norm: f64) -> Result<()> {
    if !(norm >= 1.0 && norm.is_finite()) {
        bail!("norm must be finite and at least 1, got {norm}")
    }
    Ok(())
}
