//! What is minimised: the one place where methods differ.
//!
//! An objective sees a batch (its images, their places in the training set, their labels) with its
//! features and logits, moves its state by them and returns its loss. The state goes into the
//! checkpoint under the objective's own names: weights of samples or classes, a second network. A new
//! method is one file here, one variant of [`ObjectiveConfig`] and one line in its `build`.

mod erm;
mod mr2;

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use mr2_data::Batch;
use mr2_loss::Mr2Config;
use mr2_nn::ops::Target;
use mr2_stats::Pairs;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::report::Watched;

/// The method, with its own hyperparameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ObjectiveConfig {
    /// Mean cross-entropy. With braces, because serde lets unknown keys pass beside a bare variant's
    /// tag.
    Erm {},
    /// Margin regularisation (arXiv 2602.00205).
    Mr2(Mr2Config),
}

impl ObjectiveConfig {
    pub(crate) fn build(
        &self,
        classes: usize,
        feature_dim: usize,
        dtype: DType,
        device: &Device,
    ) -> Result<Box<dyn Objective>> {
        Ok(match self {
            ObjectiveConfig::Erm {} => Box::new(erm::Erm { classes }),
            ObjectiveConfig::Mr2(config) => Box::new(mr2::Mr2::new(
                config.clone(),
                classes,
                feature_dim,
                dtype,
                device,
            )?),
        })
    }
}

/// What an objective sees of a step.
pub(crate) struct StepInput<'a> {
    pub(crate) batch: &'a Batch,
    /// (batch, features)
    pub(crate) features: &'a Tensor,
    /// (batch, classes)
    pub(crate) logits: &'a Tensor,
    pub(crate) pairs: &'a Pairs,
    pub(crate) label_smoothing: f64,
}

impl StepInput<'_> {
    fn target(&self) -> Target<'_> {
        let labels = &self.batch.labels;
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

/// A method under training.
pub(crate) trait Objective {
    /// Called before the first step of every epoch.
    fn start_epoch(&mut self) -> Result<()>;
    /// Moves the objective's state by a step, before its loss.
    fn observe(&mut self, step: &StepInput<'_>) -> Result<()>;
    /// The loss of a step with the state as it is, which stays so: it can be asked for again.
    fn loss(&self, step: &StepInput<'_>) -> Result<StepLoss>;
    /// The margins that the next step would begin with.
    fn margins(&self) -> Result<Margins>;
    /// What failure signs need to know; `None` without margins.
    fn watched(&self) -> Option<Watched>;
    /// The state.
    fn tensors(&self) -> Result<Vec<(String, Tensor)>>;
    /// Takes the state back; `tensors` holds exactly the names of [`Objective::tensors`].
    fn load(&mut self, tensors: &HashMap<String, Tensor>) -> Result<()>;
}
