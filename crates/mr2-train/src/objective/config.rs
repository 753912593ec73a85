//! Which method, with its hyperparameters, and the method built from them.

use mr2_loss::Mr2Config;
use mr2_loss::baselines::AbsentClasses;
use serde::{Deserialize, Serialize};

use super::balanced_softmax::BalancedSoftmax;
use super::centre_loss::CentreLoss;
use super::cvar::Cvar;
use super::erm::Erm;
use super::focal::Focal;
use super::group_dro::GroupDro;
use super::jtt::Jtt;
use super::ldam::Ldam;
use super::lff::Lff;
use super::logit_adjustment::LogitAdjustment;
use super::mr2::Mr2;
use super::re_weighting::ReWeighting;
use super::sup_con::SupCon;
use super::vector_scaling::VectorScaling;
use super::{Objective, Setting};
use crate::error::{Error, Result};

/// The method, with its own hyperparameters. Counts of classes are those of the training images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ObjectiveConfig {
    /// Mean cross-entropy. With braces, because serde lets unknown keys pass beside a bare variant's
    /// tag.
    Erm {},
    /// Margin regularisation (arXiv 2602.00205).
    Mr2(Mr2Config),
    /// `mr2_loss::baselines::focal`.
    Focal {
        /// Power of the probability that the label was missed by.
        focusing: f64,
    },
    /// `mr2_loss::baselines::weighted_cross_entropy` by `class_balanced_weights`, in PyTorch's weighted
    /// mean: over the sum of the batch's weights. Cross-entropy where classes are balanced.
    ReWeighting {
        /// 0 weighs every class alike, near 1 by the inverse count.
        beta: f64,
    },
    /// `mr2_loss::baselines::logit_adjusted`. Cross-entropy where classes are balanced.
    LogitAdjustment {
        /// Factor on the log priors.
        tau: f64,
    },
    /// `mr2_loss::baselines::balanced_softmax`. Cross-entropy where classes are balanced.
    BalancedSoftmax {},
    /// `mr2_loss::baselines::vector_scaling`. Cross-entropy where classes are balanced.
    VectorScaling {
        /// Power of a class's relative count in the factor on its logit.
        gamma: f64,
        /// Factor on the log priors.
        tau: f64,
    },
    /// `mr2_loss::baselines::ldam`. The head must be a cosine head whose scale is 1.
    Ldam {
        /// Margin of the rarest class.
        max_margin: f64,
        /// Factor on the cosines.
        scale: f64,
        /// Deferred re-weighting.
        reweight: Reweight,
    },
    /// `mr2_loss::baselines::group_dro` with the classes as groups.
    GroupDro {
        /// η, the rate of the classes' weights.
        step_size: f64,
        /// What happens to the weight of a class that a batch hasn't.
        absent: AbsentClasses,
    },
    /// `mr2_loss::baselines::cvar`.
    Cvar {
        /// The share of a batch that counts.
        alpha: f64,
    },
    /// Learning from failure: the model learns what a second, biased network of the same architecture
    /// fails at. `mr2_loss::baselines::SampleLosses`; only the model is evaluated.
    Lff {
        /// Power of the label's probability in the biased network's loss.
        q: f64,
        /// Weight of the past in the running loss of a sample.
        decay: f64,
    },
    /// Just train twice: `mr2_loss::baselines::jtt_weights`. The run is `identify_epochs` of plain
    /// training, from which only the error set is kept, and then its `epochs` from the start.
    Jtt {
        /// Epochs of the first stage.
        identify_epochs: u64,
        /// Copies of an image of the error set that are added to it.
        upweight: f64,
    },
    /// `mr2_loss::baselines::supcon` on the features, one view of each image, and at the same time the
    /// head by cross-entropy on features that it doesn't move: contrastive pre-training and the linear
    /// classifier in one stage, with one view where HobbitLong/SupContrast has two stages and two views.
    SupCon {
        /// The temperature.
        temperature: f64,
        /// The loss is multiplied by `temperature / base_temperature`.
        base_temperature: f64,
    },
    /// Cross-entropy and `mr2_loss::baselines::centre_loss`.
    CentreLoss {
        /// Weight of the centre loss.
        weight: f64,
        /// Learning rate of the centres, which no schedule changes.
        centre_lr: f64,
    },
}

/// Class weights from an epoch on, as kaidic/LDAM-DRW defers them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Reweight {
    /// None.
    Off {},
    /// After `epoch` epochs, `mr2_loss::baselines::class_balanced_weights`.
    Deferred {
        /// Epochs without weights.
        epoch: u64,
        /// As in [`ObjectiveConfig::ReWeighting`].
        beta: f64,
    },
}

impl ObjectiveConfig {
    /// Epochs of a first stage, before the run's own; 0 for most methods.
    pub fn first_stage_epochs(&self) -> u64 {
        match *self {
            ObjectiveConfig::Jtt {
                identify_epochs, ..
            } => identify_epochs,
            _ => 0,
        }
    }

    /// Whether a second network of the same architecture is trained beside the model.
    pub fn needs_twin(&self) -> bool {
        matches!(self, ObjectiveConfig::Lff { .. })
    }

    /// Whether the logits must be cosines: `head = { kind = "cosine", scale = 1.0 }`.
    pub fn needs_cosines(&self) -> bool {
        matches!(self, ObjectiveConfig::Ldam { .. })
    }

    /// Whether the loss is cross-entropy of a target, which label smoothing can soften.
    pub fn takes_label_smoothing(&self) -> bool {
        match self {
            ObjectiveConfig::Erm {}
            | ObjectiveConfig::Mr2(_)
            | ObjectiveConfig::GroupDro { .. }
            | ObjectiveConfig::Cvar { .. }
            | ObjectiveConfig::Jtt { .. }
            | ObjectiveConfig::SupCon { .. }
            | ObjectiveConfig::CentreLoss { .. } => true,
            ObjectiveConfig::Focal { .. }
            | ObjectiveConfig::ReWeighting { .. }
            | ObjectiveConfig::LogitAdjustment { .. }
            | ObjectiveConfig::BalancedSoftmax {}
            | ObjectiveConfig::VectorScaling { .. }
            | ObjectiveConfig::Ldam { .. }
            | ObjectiveConfig::Lff { .. } => false,
        }
    }

    /// The objective at the start of a run; an error says which hyperparameter doesn't fit.
    pub(crate) fn build<'a>(&self, setting: &Setting<'a>) -> Result<Box<dyn Objective + 'a>> {
        self.build_unnamed(setting).map_err(|error| match error {
            Error::Tensor(error) => Error::Config {
                key: "objective",
                reason: Error::reason(&error),
            },
            error => error,
        })
    }

    fn build_unnamed<'a>(&self, setting: &Setting<'a>) -> Result<Box<dyn Objective + 'a>> {
        let classes = setting.classes;
        Ok(match *self {
            ObjectiveConfig::Erm {} => Box::new(Erm { classes }),
            ObjectiveConfig::Mr2(ref config) => Box::new(Mr2::new(config.clone(), setting)?),
            ObjectiveConfig::Focal { focusing } => Box::new(Focal::new(focusing, setting)?),
            ObjectiveConfig::ReWeighting { beta } => Box::new(ReWeighting::new(beta, setting)?),
            ObjectiveConfig::LogitAdjustment { tau } => {
                Box::new(LogitAdjustment::new(tau, setting)?)
            }
            ObjectiveConfig::BalancedSoftmax {} => Box::new(BalancedSoftmax::new(setting)?),
            ObjectiveConfig::VectorScaling { gamma, tau } => {
                Box::new(VectorScaling::new(gamma, tau, setting)?)
            }
            ObjectiveConfig::Ldam {
                max_margin,
                scale,
                ref reweight,
            } => Box::new(Ldam::new(max_margin, scale, reweight, setting)?),
            ObjectiveConfig::GroupDro { step_size, absent } => {
                Box::new(GroupDro::new(step_size, absent, setting)?)
            }
            ObjectiveConfig::Cvar { alpha } => Box::new(Cvar::new(alpha, setting)?),
            ObjectiveConfig::Lff { q, decay } => Box::new(Lff::new(q, decay, setting)?),
            ObjectiveConfig::Jtt {
                identify_epochs,
                upweight,
            } => Box::new(Jtt::new(identify_epochs, upweight, setting)?),
            ObjectiveConfig::SupCon {
                temperature,
                base_temperature,
            } => Box::new(SupCon::new(temperature, base_temperature, setting)?),
            ObjectiveConfig::CentreLoss { weight, centre_lr } => {
                Box::new(CentreLoss::new(weight, centre_lr, setting)?)
            }
        })
    }
}
