//! Focal loss: samples that are already right count less.

use mr2_loss::baselines::{FocalProbability, focal};

use super::{Objective, Setting, StepInput, StepLoss};
use crate::error::Result;

pub(super) struct Focal {
    focusing: f64,
}

impl Focal {
    pub(super) fn new(focusing: f64, setting: &Setting<'_>) -> Result<Self> {
        let (logits, labels) = setting.rehearsal()?;
        focal(&logits, &labels, focusing, None, FocalProbability::OfLogits)?;
        Ok(Self { focusing })
    }
}

impl Objective for Focal {
    fn loss(&self, step: &StepInput<'_>) -> Result<StepLoss> {
        let probability = FocalProbability::OfLogits;
        let losses = focal(step.logits, step.labels(), self.focusing, None, probability)?;
        Ok(StepLoss::of(losses.mean_all()?))
    }
}
