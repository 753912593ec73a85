//! Supervised contrastive learning and its linear classifier in one stage.

use mr2_loss::baselines::supcon;
use mr2_nn::ops::cross_entropy;

use super::{Objective, Representation, Setting, StepInput, StepLoss};
use crate::error::Result;

/// The features are trained by the contrastive loss alone, the head by cross-entropy on the features as
/// constants. Each image is one view, so an image without another of its class in the batch has no
/// positive and loss 0.
pub(super) struct SupCon {
    temperature: f64,
    base_temperature: f64,
}

impl SupCon {
    pub(super) fn new(
        temperature: f64,
        base_temperature: f64,
        setting: &Setting<'_>,
    ) -> Result<Self> {
        let (logits, labels) = setting.rehearsal()?;
        supcon(
            &logits.unsqueeze(1)?,
            &labels,
            temperature,
            base_temperature,
        )?;
        Ok(Self {
            temperature,
            base_temperature,
        })
    }
}

impl Objective for SupCon {
    fn loss(&self, step: &StepInput<'_>) -> Result<StepLoss> {
        let classification = cross_entropy(step.logits, step.target(), None)?.mean_all()?;
        let views = step.features.unsqueeze(1)?;
        let (temperature, of_base) = (self.temperature, self.base_temperature);
        let term = supcon(&views, step.labels(), temperature, of_base)?.mean_all()?;
        StepLoss::with(classification, Representation { term, weight: 1.0 })
    }

    fn detaches_head(&self) -> bool {
        true
    }
}
