//! Cross-entropy of logits plus scaled log priors of the classes.

use mr2_loss::baselines::logit_adjusted;

use super::{Objective, Setting, StepInput, StepLoss};
use crate::error::Result;

pub(super) struct LogitAdjustment {
    tau: f64,
    counts: Vec<u64>,
}

impl LogitAdjustment {
    pub(super) fn new(tau: f64, setting: &Setting<'_>) -> Result<Self> {
        let (logits, labels) = setting.rehearsal()?;
        let counts = setting.counts.clone();
        logit_adjusted(&logits, &labels, &counts, tau)?;
        Ok(Self { tau, counts })
    }
}

impl Objective for LogitAdjustment {
    fn loss(&self, step: &StepInput<'_>) -> Result<StepLoss> {
        let losses = logit_adjusted(step.logits, step.labels(), &self.counts, self.tau)?;
        Ok(StepLoss::of(losses.mean_all()?))
    }
}
