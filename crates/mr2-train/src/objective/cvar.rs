//! The mean of the worst cross-entropies of a batch.

use mr2_loss::baselines::cvar;
use mr2_nn::ops::cross_entropy;

use super::{Objective, Setting, StepInput, StepLoss};
use crate::error::Result;

pub(super) struct Cvar {
    alpha: f64,
}

impl Cvar {
    pub(super) fn new(alpha: f64, setting: &Setting<'_>) -> Result<Self> {
        let (logits, _) = setting.rehearsal()?;
        cvar(&logits.get(0)?, alpha)?;
        Ok(Self { alpha })
    }
}

impl Objective for Cvar {
    fn loss(&self, step: &StepInput<'_>) -> Result<StepLoss> {
        let losses = cross_entropy(step.logits, step.target(), None)?;
        Ok(StepLoss::of(cvar(&losses, self.alpha)?))
    }
}
