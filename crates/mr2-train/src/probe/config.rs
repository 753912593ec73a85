//! Everything that decides a probe, by name.

use serde::{Deserialize, Serialize};

use super::batches::steps_per_epoch;
use super::grid::Grid;
use super::margin::MarginConfig;
use crate::error::{Error, Result};
use crate::schedule::ScheduleConfig;

/// A protocol with the methods to run under it. [`super::Protocol`] has the published ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeConfig {
    /// What result rows call it.
    pub protocol: String,
    /// What is done to an image's features first.
    pub normalise: Normalise,
    /// One chosen head each.
    pub methods: Vec<MethodConfig>,
    /// How heads are fitted.
    pub fit: FitConfig,
    /// Whether the chosen setting is fitted again to training and validation images together.
    pub refit: bool,
}

/// A method: the margins among which validation images choose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MethodConfig {
    /// What result rows call it.
    pub name: String,
    /// What is tried.
    pub margins: Vec<MarginConfig>,
}

/// What is done to each image's features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalise {
    /// Nothing.
    Off,
    /// They are divided by their L2 norm.
    L2,
}

/// How heads are fitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum FitConfig {
    /// Logistic regression, to convergence: `½ ‖W‖² + C Σ loss`, bias not penalised (scikit-learn's
    /// `LogisticRegression`; with two classes one weight vector, as there).
    Lbfgs {
        /// `C`, the weight of the summed loss.
        c: Grid,
        /// The fit has converged when no element of the gradient of the objective, divided by `C` times the
        /// number of images, is larger.
        tolerance: f64,
        /// At most.
        max_iterations: usize,
    },
    /// Batches and an optimiser.
    Steps(StepsConfig),
}

/// Training by batches; heads that differ in learning rate, weight decay or margins see the same ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepsConfig {
    /// What makes logits of features.
    pub head: HeadKind,
    /// What the head starts from.
    pub init: InitConfig,
    /// What stands before the head.
    pub input_norm: InputNorm,
    /// What moves it.
    pub rule: StepRule,
    /// The peak learning rates to try.
    pub lrs: Vec<f64>,
    /// The weight decays to try.
    pub weight_decay: Grid,
    /// The learning rate's factor over the training.
    pub schedule: ScheduleConfig,
    /// Passes, of [`EpochLength`]'s length.
    pub epochs: u64,
    /// How many steps a pass has.
    pub epoch_length: EpochLength,
    /// Images of a batch.
    pub images_per_batch: usize,
}

/// What makes logits of features.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum HeadKind {
    /// A weight and a bias.
    Linear {},
    /// Cosines between features and weights, times a scale; features must be L2-normalised.
    Cosine {
        /// The scale.
        scale: f64,
    },
}

/// What a head starts from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum InitConfig {
    /// A normal weight and a bias of zero.
    Normal {
        /// The standard deviation.
        std: f64,
    },
    /// `torch.nn.Linear`'s: weight and bias uniform within `1 / sqrt(width)`.
    PytorchDefault {},
}

/// What stands before the head, shared by all heads of a seed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum InputNorm {
    /// Nothing.
    Off {},
    /// Batch norm without scale and shift: the batch's statistics in training, their moving averages afterwards.
    BatchNorm {
        /// Added to the variance.
        eps: f64,
        /// The share of the batch in the moving averages.
        momentum: f64,
    },
}

/// How a gradient moves a head. Weight decay is the head's own.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum StepRule {
    /// `torch.optim.SGD`; decay goes into the gradient, the bias's too.
    Sgd {
        /// The share of the past in the moving direction.
        momentum: f64,
    },
    /// `torch.optim.AdamW`; the bias decays too.
    Adamw {
        /// The decay of the first moment.
        beta1: f64,
        /// The decay of the second moment.
        beta2: f64,
        /// Added to the root of the second moment.
        eps: f64,
    },
    /// LARS as the code of MAE has it: the gradient of the weight is scaled by `trust ‖w‖ / ‖g‖` before it enters the
    /// momentum, the learning rate is outside of it, and the bias is neither scaled nor decayed.
    Lars {
        /// The share of the past in the moving direction.
        momentum: f64,
        /// The trust coefficient.
        trust: f64,
    },
}

/// How many steps an epoch has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum EpochLength {
    /// As many as there are full batches; the images that are left over wait for another shuffle.
    FullBatches {},
    /// All images; the last batch may be short.
    AllImages {},
    /// So many, whatever the size of the data set: shuffles follow each other without a border.
    Steps {
        /// The steps.
        steps: u64,
    },
}

impl ProbeConfig {
    /// Whether every number is in its range.
    ///
    /// # Errors
    /// Names the first key that is not, and what would be right.
    pub fn check(&self) -> Result<()> {
        require(
            "methods",
            !self.methods.is_empty(),
            "must name at least one",
        )?;
        for method in &self.methods {
            let some = !method.margins.is_empty();
            require("methods.margins", some, "must have at least one to try")?;
            method.margins.iter().try_for_each(MarginConfig::check)?;
        }
        match &self.fit {
            FitConfig::Lbfgs {
                c,
                tolerance,
                max_iterations,
            } => {
                c.check("fit.c", f64::MIN_POSITIVE)?;
                positive("fit.tolerance", *tolerance)?;
                require(
                    "fit.max_iterations",
                    *max_iterations > 0,
                    "must be at least 1",
                )
            }
            FitConfig::Steps(steps) => steps.check(self.normalise),
        }
    }
}

impl StepsConfig {
    /// How often `images` training images are shuffled: with views, how many there are to see.
    ///
    /// # Errors
    /// Too few images for one full batch, where batches must be full.
    pub fn shuffles(&self, images: usize) -> Result<u64> {
        let steps = steps_per_epoch(images, self.images_per_batch, self.epoch_length)?;
        Ok(match self.epoch_length {
            EpochLength::FullBatches {} | EpochLength::AllImages {} => self.epochs,
            EpochLength::Steps { .. } => {
                let seen = self.epochs * steps * self.images_per_batch as u64;
                seen.div_ceil(images.max(1) as u64)
            }
        })
    }

    fn check(&self, normalise: Normalise) -> Result<()> {
        if let HeadKind::Cosine { scale } = self.head {
            positive("fit.head.scale", scale)?;
            let fits = normalise == Normalise::L2 && self.input_norm == InputNorm::Off {};
            require(
                "fit.head",
                fits,
                "a cosine head needs normalise = \"l2\" and no input norm",
            )?;
        }
        if let InitConfig::Normal { std } = self.init {
            positive("fit.init.std", std)?;
        }
        if let InputNorm::BatchNorm { eps, momentum } = self.input_norm {
            positive("fit.input_norm.eps", eps)?;
            share("fit.input_norm.momentum", momentum)?;
        }
        match self.rule {
            StepRule::Sgd { momentum } => share("fit.rule.momentum", momentum)?,
            StepRule::Adamw { beta1, beta2, eps } => {
                share("fit.rule.beta1", beta1)?;
                share("fit.rule.beta2", beta2)?;
                positive("fit.rule.eps", eps)?;
            }
            StepRule::Lars { momentum, trust } => {
                share("fit.rule.momentum", momentum)?;
                positive("fit.rule.trust", trust)?;
            }
        }
        require("fit.lrs", !self.lrs.is_empty(), "must have at least one")?;
        self.lrs
            .iter()
            .try_for_each(|&lr| positive("fit.lrs", lr))?;
        self.weight_decay.check("fit.weight_decay", 0.0)?;
        require("fit.epochs", self.epochs > 0, "must be at least 1")?;
        let steps = !matches!(self.epoch_length, EpochLength::Steps { steps: 0 });
        require("fit.epoch_length.steps", steps, "must be at least 1")?;
        let some = self.images_per_batch > 0;
        require("fit.images_per_batch", some, "must be at least 1")
    }
}

pub(super) fn require(key: &'static str, right: bool, rule: &str) -> Result<()> {
    match right {
        true => Ok(()),
        false => Err(Error::Config {
            key,
            reason: rule.to_string(),
        }),
    }
}

fn positive(key: &'static str, value: f64) -> Result<()> {
    let right = value > 0.0 && value.is_finite();
    require(
        key,
        right,
        &format!("must be positive and finite, got {value}"),
    )
}

fn share(key: &'static str, value: f64) -> Result<()> {
    let right = (0.0..1.0).contains(&value);
    require(key, right, &format!("must be in [0, 1), got {value}"))
}
