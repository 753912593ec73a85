//! Cross-entropy of logits with a factor and a shift for each class.

use mr2_loss::baselines::vector_scaling;

use super::{Objective, Setting, StepInput, StepLoss};
use crate::error::Result;

pub(super) struct VectorScaling {
    gamma: f64,
    tau: f64,
    counts: Vec<u64>,
}

impl VectorScaling {
    pub(super) fn new(gamma: f64, tau: f64, setting: &Setting<'_>) -> Result<Self> {
        let (logits, labels) = setting.rehearsal()?;
        let counts = setting.counts.clone();
        vector_scaling(&logits, &labels, &counts, gamma, tau)?;
        Ok(Self { gamma, tau, counts })
    }
}

impl Objective for VectorScaling {
    fn loss(&self, step: &StepInput<'_>) -> Result<StepLoss> {
        let (labels, counts) = (step.labels(), &self.counts);
        let losses = vector_scaling(step.logits, labels, counts, self.gamma, self.tau)?;
        Ok(StepLoss::of(losses.mean_all()?))
    }
}
