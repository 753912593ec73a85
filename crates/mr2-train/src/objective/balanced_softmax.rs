//! Cross-entropy of logits plus the log counts of the classes.

use mr2_loss::baselines::balanced_softmax;

use super::{Objective, Setting, StepInput, StepLoss};
use crate::error::Result;

pub(super) struct BalancedSoftmax {
    counts: Vec<u64>,
}

impl BalancedSoftmax {
    pub(super) fn new(setting: &Setting<'_>) -> Result<Self> {
        let (logits, labels) = setting.rehearsal()?;
        let counts = setting.counts.clone();
        balanced_softmax(&logits, &labels, &counts)?;
        Ok(Self { counts })
    }
}

impl Objective for BalancedSoftmax {
    fn loss(&self, step: &StepInput<'_>) -> Result<StepLoss> {
        let losses = balanced_softmax(step.logits, step.labels(), &self.counts)?;
        Ok(StepLoss::of(losses.mean_all()?))
    }
}
