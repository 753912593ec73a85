//! Centre loss: cross-entropy, and features drawn to a learnt centre of their class.

use std::collections::HashMap;

use candle_core::Tensor;
use mr2_loss::baselines::{centre_loss, centre_step};
use mr2_nn::ops::cross_entropy;
use mr2_nn::rng;

use super::{Objective, Representation, Setting, StepInput, StepLoss};
use crate::error::{Error, Result};

/// The name of the tensor that holds the state.
const CENTRES: &str = "centres";

/// The centres start from standard normals and move by plain descent after each step, at a rate that no
/// schedule changes, as in KaiyangZhou/pytorch-center-loss.
pub(super) struct CentreLoss {
    weight: f64,
    centre_lr: f64,
    /// (classes, features)
    centres: Tensor,
}

impl CentreLoss {
    pub(super) fn new(weight: f64, centre_lr: f64, setting: &Setting<'_>) -> Result<Self> {
        if !(weight.is_finite() && weight >= 0.0) {
            return Err(Error::Config {
                key: "objective",
                reason: format!(
                    "centre_loss: weight must be finite and not negative, got {weight}"
                ),
            });
        }
        let stream = rng::stream(setting.config.seed, CENTRES);
        let (classes, width) = (setting.classes, setting.feature_dim);
        let values = (0..(classes * width) as u64).map(|i| rng::normal(stream, i));
        let centres = Tensor::from_iter(values, setting.device)?
            .reshape((classes, width))?
            .to_dtype(setting.dtype)?;
        centre_step(&centres, &centres.narrow(0, 0, 1)?, &[0], centre_lr)?;
        Ok(Self {
            weight,
            centre_lr,
            centres,
        })
    }
}

impl Objective for CentreLoss {
    fn loss(&self, step: &StepInput<'_>) -> Result<StepLoss> {
        let classification = cross_entropy(step.logits, step.target(), None)?.mean_all()?;
        let term = centre_loss(step.features, step.labels(), &self.centres)?.mean_all()?;
        let weight = self.weight;
        StepLoss::with(classification, Representation { term, weight })
    }

    fn update(&mut self, step: &StepInput<'_>, _lr: f64) -> Result<()> {
        self.centres = centre_step(&self.centres, step.features, step.labels(), self.centre_lr)?;
        Ok(())
    }

    fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        Ok(vec![(CENTRES.to_string(), self.centres.clone())])
    }

    fn load(&mut self, tensors: &HashMap<String, Tensor>) -> Result<()> {
        let (expected, dtype) = (self.centres.dims(), self.centres.dtype());
        match tensors.get(CENTRES) {
            Some(centres)
                if tensors.len() == 1 && centres.dims() == expected && centres.dtype() == dtype =>
            {
                self.centres = centres.clone();
                Ok(())
            }
            _ => Err(Error::refused(format!(
                "the objective's state must be one tensor `{CENTRES}`, {dtype:?} {expected:?}"
            ))),
        }
    }
}
