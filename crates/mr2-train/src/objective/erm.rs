//! Empirical risk minimisation: the mean cross-entropy.

use std::collections::HashMap;

use candle_core::Tensor;
use mr2_nn::ops::cross_entropy;

use super::{Margins, Objective, StepInput, StepLoss};
use crate::error::Result;
use crate::report::Watched;

pub(super) struct Erm {
    pub(super) classes: usize,
}

impl Objective for Erm {
    fn start_epoch(&mut self) -> Result<()> {
        Ok(())
    }

    fn observe(&mut self, _step: &StepInput<'_>) -> Result<()> {
        Ok(())
    }

    fn loss(&self, step: &StepInput<'_>) -> Result<StepLoss> {
        let total = cross_entropy(step.logits, step.target(), None)?.mean_all()?;
        Ok(StepLoss {
            classification: total.clone(),
            total,
            representation: None,
        })
    }

    fn margins(&self) -> Result<Margins> {
        Ok(Margins {
            gamma: vec![Some(1.0); self.classes],
            spread_threshold: None,
        })
    }

    fn watched(&self) -> Option<Watched> {
        None
    }

    fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        Ok(Vec::new())
    }

    fn load(&mut self, _tensors: &HashMap<String, Tensor>) -> Result<()> {
        Ok(())
    }
}
