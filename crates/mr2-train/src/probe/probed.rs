//! What a probe returns: every head that was tried, and the chosen ones with their weights.

use mr2_nn::rows::Rows;
use serde::{Deserialize, Serialize};

use super::config::Normalise;
use super::features::{Labelled, largest, normalised, refuse_non_finite};
use super::margin::MarginConfig;
use crate::error::{Error, Result};

/// What a head was fitted with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Setting {
    /// Logistic regression.
    Lbfgs {
        /// The margins.
        margins: MarginConfig,
        /// The weight of the summed loss.
        c: f64,
    },
    /// Batches and an optimiser.
    Steps {
        /// The margins.
        margins: MarginConfig,
        /// The peak learning rate.
        lr: f64,
        /// The weight decay.
        weight_decay: f64,
    },
}

/// How a fit ended.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum FitEnd {
    /// As it should.
    Finished,
    /// L-BFGS ran out of iterations, or rounding hid further progress; the head can be used, as scikit-learn's after
    /// its warning.
    NotConverged {
        /// Iterations done.
        iterations: usize,
        /// The largest element of the gradient of the mean loss and its penalty.
        largest_gradient: f64,
    },
    /// The loss or the weights became NaN or infinite; the head is never chosen.
    Diverged {
        /// The optimiser step, counted from 1.
        step: u64,
    },
}

/// A head that was tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadResult {
    /// The method's name.
    pub method: String,
    /// The seed of initialisation and batches (L-BFGS uses none).
    pub seed: u64,
    /// What it was fitted with.
    pub setting: Setting,
    /// How the fit ended.
    pub end: FitEnd,
    /// The share of validation images that it gets right; none without validation images, or for one that diverged.
    pub validation_accuracy: Option<f64>,
}

/// A chosen head: a linear classifier of features.
#[derive(Debug, Clone)]
pub struct Probed {
    /// Its row in [`Outcome::heads`], as it was when selected.
    pub head: HeadResult,
    /// How the fit to training and validation images ended, where there was one.
    pub refit: Option<FitEnd>,
    /// What is done to features first.
    pub normalise: Normalise,
    /// (classes, width), row-major. A batch norm before the head is folded into it, and the scale and length of a
    /// cosine head.
    pub weight: Vec<f32>,
    /// (classes).
    pub bias: Vec<f32>,
    /// `γ` of each class, as the last fit had it.
    pub margins: Vec<f64>,
}

/// All that a probe found.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Every head that was tried, by method, seed, margins, learning rate and value of the grid.
    pub heads: Vec<HeadResult>,
    /// One head for each method and seed, in that order.
    pub chosen: Vec<Probed>,
}

impl Probed {
    /// The logits of features.
    ///
    /// # Shapes
    /// `features` (images, width), row-major; returns (images, classes).
    ///
    /// # Errors
    /// Another width; a feature that is not finite (row and column are named).
    pub fn logits(&self, features: &[f32]) -> Result<Vec<f32>> {
        let width = self.weight.len() / self.bias.len();
        if !features.len().is_multiple_of(width) {
            return Err(Error::refused(format!(
                "{} features are no rows of {width}, which this head was fitted to",
                features.len()
            )));
        }
        refuse_non_finite("these", features, width)?;
        let mut logits = vec![0f32; features.len() / width * self.bias.len()];
        let features = normalised(features, width, self.normalise);
        Rows::new().linear(
            &features,
            &self.weight,
            Some(&self.bias),
            width,
            &mut logits,
        )?;
        Ok(logits)
    }

    /// The class of the largest logit of each image, the first of equal ones.
    ///
    /// # Shapes and errors
    /// As [`Probed::logits`]; returns (images).
    pub fn predictions(&self, features: &[f32]) -> Result<Vec<u32>> {
        let logits = self.logits(features)?;
        Ok(logits.chunks_exact(self.bias.len()).map(largest).collect())
    }

    /// The share of images that are recognised: [`super::Test`] and the other parts give themselves as `&set`.
    ///
    /// # Errors
    /// Another width.
    pub fn accuracy(&self, set: &Labelled<'_>) -> Result<f64> {
        let found = self.predictions(set.features())?;
        let right = found.iter().zip(set.labels()).filter(|(a, b)| a == b);
        Ok(right.count() as f64 / found.len() as f64)
    }
}

/// A fitted head.
#[derive(Clone)]
pub(super) struct Fitted {
    /// (classes, width).
    pub(super) weight: Vec<f32>,
    pub(super) bias: Vec<f32>,
    pub(super) end: FitEnd,
}

impl Fitted {
    pub(super) fn diverged(&self) -> bool {
        matches!(self.end, FitEnd::Diverged { .. })
    }
}
