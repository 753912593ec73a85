//! Empirical risk minimisation: the mean cross-entropy.

use mr2_nn::ops::cross_entropy;

use super::{Margins, Objective, StepInput, StepLoss};
use crate::error::Result;

pub(super) struct Erm {
    pub(super) classes: usize,
}

impl Objective for Erm {
    fn loss(&self, step: &StepInput<'_>) -> Result<StepLoss> {
        let total = cross_entropy(step.logits, step.target(), None)?.mean_all()?;
        Ok(StepLoss::of(total))
    }

    fn margins(&self) -> Result<Option<Margins>> {
        Ok(Some(Margins {
            gamma: vec![Some(1.0); self.classes],
            spread_threshold: None,
        }))
    }
}
