//! What is minimised: the one place where methods differ.
//!
//! An objective sees a batch (its images, their places in the training set, their labels) with its
//! features and logits, moves its state by them and returns its loss. The state goes into the
//! checkpoint under the objective's own names: weights of samples or classes, a second network. A new
//! method is one file here, one variant of [`ObjectiveConfig`] and one line in its `build`.
//!
//! The losses themselves are functions of `mr2_loss`, whose pages say where each comes from and how it
//! differs from its public code. What is orthogonal to them stands beside them in
//! [`TrainConfig`](crate::TrainConfig): label smoothing, which losses with targets of their own refuse,
//! and sharpness-aware minimisation.

mod balanced_softmax;
mod centre_loss;
mod config;
mod cvar;
mod erm;
mod focal;
mod group_dro;
mod jtt;
mod ldam;
mod lff;
mod logit_adjustment;
mod mr2;
mod re_weighting;
mod setting;
mod sup_con;
mod vector_scaling;

use std::collections::HashMap;

use candle_core::Tensor;
use mr2_data::Batch;
use mr2_nn::ops::Target;
use mr2_stats::Pairs;

use crate::error::Result;
use crate::report::Watched;

pub use config::{ObjectiveConfig, Reweight};
pub use mr2_loss::baselines::AbsentClasses;
pub(crate) use setting::Setting;

/// What an objective sees of a step.
pub(crate) struct StepInput<'a> {
    pub(crate) batch: &'a Batch,
    /// (batch, features)
    pub(crate) features: &'a Tensor,
    /// (batch, classes)
    pub(crate) logits: &'a Tensor,
    pub(crate) pairs: &'a Pairs,
    pub(crate) label_smoothing: f64,
    /// The epoch of the stage, counted from 0.
    pub(crate) epoch: u64,
    /// The step of the stage, counted from 0.
    pub(crate) step: u64,
}

impl StepInput<'_> {
    fn labels(&self) -> &[u32] {
        &self.batch.labels
    }

    fn target(&self) -> Target<'_> {
        let labels = self.labels();
        if self.label_smoothing > 0.0 {
            Target::Smoothed {
                labels,
                epsilon: self.label_smoothing,
            }
        } else {
            Target::Hard(labels)
        }
    }
}

/// The loss of a step; all scalars.
pub(crate) struct StepLoss {
    pub(crate) total: Tensor,
    pub(crate) classification: Tensor,
    /// Where it is part of the loss.
    pub(crate) representation: Option<Representation>,
}

impl StepLoss {
    /// A loss of one term.
    fn of(total: Tensor) -> Self {
        Self {
            classification: total.clone(),
            total,
            representation: None,
        }
    }

    /// A classification term and a weighted representation term.
    fn with(classification: Tensor, representation: Representation) -> Result<Self> {
        let Representation { term, weight } = &representation;
        Ok(Self {
            total: (&classification + (term * *weight)?)?,
            classification,
            representation: Some(representation),
        })
    }
}

/// The representation term of a loss.
pub(crate) struct Representation {
    /// Before its weight.
    pub(crate) term: Tensor,
    /// λ.
    pub(crate) weight: f64,
}

/// The margins in force, for the record.
pub(crate) struct Margins {
    pub(crate) gamma: Vec<Option<f64>>,
    pub(crate) spread_threshold: Option<f64>,
}

/// A method under training. What a method doesn't have, it leaves as it is here.
pub(crate) trait Objective {
    /// Called before the first step of every epoch.
    fn start_epoch(&mut self) -> Result<()> {
        Ok(())
    }
    /// Moves the objective's state by a step, before its loss.
    fn observe(&mut self, _step: &StepInput<'_>) -> Result<()> {
        Ok(())
    }
    /// The loss of a step with the state as it is, which stays so: it can be asked for again.
    fn loss(&self, step: &StepInput<'_>) -> Result<StepLoss>;
    /// Trains what is the objective's own, once the step's gradient is taken and the model moved.
    /// Features and logits are the same without their graph, also where another gradient was taken
    /// than that at them.
    fn update(&mut self, _step: &StepInput<'_>, _lr: f64) -> Result<()> {
        Ok(())
    }
    /// Whether the head learns on features that its loss doesn't move.
    fn detaches_head(&self) -> bool {
        false
    }
    /// Whether the first stage is under way, which ends with [`Objective::take_errors`].
    fn awaits_errors(&self) -> bool {
        false
    }
    /// Which training images the model gets wrong after the first stage.
    fn take_errors(&mut self, _errors: &[bool]) -> Result<()> {
        Ok(())
    }
    /// The margins that the next step would begin with; `None` where the method has none.
    fn margins(&self) -> Result<Option<Margins>> {
        Ok(None)
    }
    /// What failure signs need to know; `None` without margins.
    fn watched(&self) -> Option<Watched> {
        None
    }
    /// The state.
    fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        Ok(Vec::new())
    }
    /// Takes the state back; `tensors` holds exactly the names of [`Objective::tensors`].
    fn load(&mut self, _tensors: &HashMap<String, Tensor>) -> Result<()> {
        Ok(())
    }
}
