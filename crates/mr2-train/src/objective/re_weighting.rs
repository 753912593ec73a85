//! Cross-entropy weighted by the inverse effective number of a class's training images.

use mr2_loss::baselines::{class_balanced_weights, class_weighted_mean, weighted_cross_entropy};

use super::{Objective, Setting, StepInput, StepLoss};
use crate::error::Result;

pub(super) struct ReWeighting {
    /// Of each class.
    weights: Vec<f64>,
}

impl ReWeighting {
    pub(super) fn new(beta: f64, setting: &Setting<'_>) -> Result<Self> {
        let weights = class_balanced_weights(&setting.counts, beta)?;
        Ok(Self { weights })
    }
}

impl Objective for ReWeighting {
    fn loss(&self, step: &StepInput<'_>) -> Result<StepLoss> {
        let (labels, weights) = (step.labels(), &self.weights);
        let losses = weighted_cross_entropy(step.logits, labels, weights)?;
        Ok(StepLoss::of(class_weighted_mean(&losses, labels, weights)?))
    }
}
