//! Every choice and number of the losses, by name.
use candle_core::{Result, bail};
use mr2_stats::StatsConfig;
use serde::{Deserialize, Serialize};

/// Which statistic of a class its margin `γ` grows with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GammaSource {
    /// `m + v`, the paper's; with [`mr2_stats::Centre::GlobalMean`], about the global mean.
    SecondMoment,
    /// `v` alone.
    Spread,
    /// `v / m`.
    RelativeSpread,
    /// None: every `γ` is the budget, so that cross-entropy at that temperature is left. The
    /// control that tells the gain of the budget from the gain of `γ`'s spread.
    Uniform,
}

/// How many classes a formula counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassCount {
    /// Those of the data; for margins, those of them that have the statistic.
    Data,
    /// All of the data. Until each has the statistic, the margins of those that have it are too
    /// large (the official CIFAR code, at the beginning of every epoch).
    All,
    /// This many, whatever the data have (the official ImageNet code: 1000).
    Fixed(usize),
}

impl ClassCount {
    pub(crate) fn check(self, name: &str) -> Result<()> {
        match self {
            ClassCount::Fixed(0) => bail!("{name}: a fixed class count must be at least 1, got 0"),
            _ => Ok(()),
        }
    }
}

/// The margins `γ_k = budget · K · s_k^exponent / Σ_k s_k^exponent` of a statistic `s`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GammaConfig {
    /// The statistic `s`.
    pub source: GammaSource,
    /// `c̄`, the mean of all `γ`.
    pub budget: f64,
    /// 1/3 minimises the paper's bound; a negative exponent gives inverse margins.
    pub exponent: f64,
    /// `K`.
    pub classes: ClassCount,
}

/// What the exponent `‖φ − φ⁺‖² − 2 s̄` is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExponentScale {
    /// Nothing: the paper's formula to the letter. See [`crate::Preset::Recommended`] for what it
    /// does to features that are not normalised.
    One,
    /// A constant.
    Constant(f64),
    /// Ten times the width of the features, as the official code does.
    TenTimesDim,
}

/// The threshold `s̄`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpreadRule {
    /// 0.
    Zero,
    /// The mean of the L2 spread over the classes that have one.
    MeanSpread,
    /// The sum of `v`, in the statistics' own norm, divided by this many classes (the official
    /// ImageNet code: 1000).
    MeanSpreadOver(usize),
}

impl SpreadRule {
    pub(crate) fn check(self) -> Result<()> {
        match self {
            SpreadRule::MeanSpreadOver(0) => {
                bail!("representation: spread must be over at least 1 class, got 0")
            }
            _ => Ok(()),
        }
    }
}

/// Which samples of a class a sample is drawn to. Where there are fewer, it is all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Positives {
    /// Every other one in the batch: for `c` of them, `c (c − 1) / 2` distances.
    All,
    /// At most this many in the batch, as [`crate::representation_margin_at_most`] chooses them: for
    /// `n`, about `c n / 2` distances.
    AtMost(usize),
    /// Every other one in the batch, and those among this many samples, of whatever class, that came
    /// last before it: for batches with hardly two samples of a class. See [`crate::FeatureMemory`].
    Memory(usize),
}

impl Positives {
    pub(crate) fn check(self) -> Result<()> {
        match self {
            Positives::AtMost(0) => {
                bail!("representation: positives must be at most 1 or more, got 0")
            }
            Positives::Memory(0) => {
                bail!("representation: positives must have a memory of at least 1 sample, got 0")
            }
            _ => Ok(()),
        }
    }
}

/// How one number is made of the samples' losses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reduction {
    /// The mean over the batch.
    SampleMean,
    /// `(D/10)(1/K) Σ_k` of the mean over the samples of each class that the batch has twice or
    /// more, for features of width `D`, as the official code does. A class that the batch has once
    /// is there too if the memory has it ([`Positives::Memory`]).
    ClassMean(ClassCount),
}

/// The representation margin loss `ln(1 + Σ_φ⁺ exp((‖φ − φ⁺‖² − 2 s̄) / scale))`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepresentationConfig {
    /// `λ`, its weight beside the logit margin loss; with 0 it isn't computed.
    pub weight: f64,
    /// What the exponent is divided by.
    pub scale: ExponentScale,
    /// The threshold `s̄`.
    pub spread: SpreadRule,
    /// The samples `φ⁺`.
    pub positives: Positives,
    /// How one number is made of it.
    pub reduction: Reduction,
}

/// Everything that defines a variant of MR².
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mr2Config {
    /// The class statistics.
    pub stats: StatsConfig,
    /// Whether the training loop restarts the statistics at each epoch.
    pub restart_every_epoch: bool,
    /// The margins.
    pub gamma: GammaConfig,
    /// The representation margin loss.
    pub representation: RepresentationConfig,
}

impl Mr2Config {
    /// Whether every number is in its range.
    ///
    /// # Errors
    /// Names the first number that is not.
    pub fn check(&self) -> Result<()> {
        self.stats.check()?;
        self.gamma.check()?;
        self.representation.check()
    }
}

impl GammaConfig {
    pub(crate) fn check(&self) -> Result<()> {
        if !(self.budget > 0.0 && self.budget.is_finite()) {
            bail!(
                "gamma: budget must be positive and finite, got {}",
                self.budget
            )
        }
        if !self.exponent.is_finite() {
            bail!("gamma: exponent must be finite, got {}", self.exponent)
        }
        self.classes.check("gamma")
    }
}

impl RepresentationConfig {
    pub(crate) fn check(&self) -> Result<()> {
        if !(self.weight >= 0.0 && self.weight.is_finite()) {
            bail!(
                "representation: weight must be finite and not negative, got {}",
                self.weight
            )
        }
        if let ExponentScale::Constant(scale) = self.scale
            && !(scale > 0.0 && scale.is_finite())
        {
            bail!("representation: scale must be positive and finite, got {scale}")
        }
        self.spread.check()?;
        self.positives.check()?;
        match self.reduction {
            Reduction::SampleMean => Ok(()),
            Reduction::ClassMean(classes) => classes.check("representation"),
        }
    }
}
