//! Just train twice: the images that a first, short training gets wrong weigh more in the second.

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use mr2_loss::baselines::{jtt_weights, sample_weighted};
use mr2_nn::ops::cross_entropy;

use super::{Objective, Setting, StepInput, StepLoss};
use crate::error::{Error, Result};

/// The name of the tensor that holds the state.
const ERRORS: &str = "errors";

/// The second stage's loss is `Σ w ce / Σ w` over a batch, with `w` = `upweight` + 1 in the error set: what
/// a batch has in expectation from a training set to which `upweight` copies of the error set are
/// appended (anniesch/jtt run_expt.py), while batches and steps stay those of a plain run.
pub(super) struct Jtt {
    upweight: f64,
    images: usize,
    /// Which training images the first stage got wrong, once it is done.
    errors: Option<Vec<bool>>,
}

impl Jtt {
    pub(super) fn new(identify_epochs: u64, upweight: f64, setting: &Setting<'_>) -> Result<Self> {
        let epochs = setting.config.epochs;
        if !(1..=epochs).contains(&identify_epochs) {
            return Err(Error::Config {
                key: "objective",
                reason: format!(
                    "jtt: identify_epochs must be between 1 and the {epochs} epochs of the second \
                     stage, whose beginning the first stage is, got {identify_epochs}"
                ),
            });
        }
        jtt_weights(&[], upweight)?;
        Ok(Self {
            upweight,
            images: setting.labels.len(),
            errors: None,
        })
    }
}

impl Objective for Jtt {
    fn loss(&self, step: &StepInput<'_>) -> Result<StepLoss> {
        let losses = cross_entropy(step.logits, step.target(), None)?;
        let Some(errors) = &self.errors else {
            return Ok(StepLoss::of(losses.mean_all()?));
        };
        let indices = step.batch.indices.iter();
        let of_batch: Vec<bool> = indices.map(|&index| errors[index as usize]).collect();
        let weights = jtt_weights(&of_batch, self.upweight)?;
        let sum = sample_weighted(&losses, &weights)?.sum_all()?;
        Ok(StepLoss::of((sum / weights.iter().sum::<f64>())?))
    }

    fn awaits_errors(&self) -> bool {
        self.errors.is_none()
    }

    fn take_errors(&mut self, errors: &[bool]) -> Result<()> {
        if errors.len() != self.images {
            return Err(Error::refused(format!(
                "jtt: errors must have an entry for each of {} images, got {}",
                self.images,
                errors.len()
            )));
        }
        self.errors = Some(errors.to_vec());
        Ok(())
    }

    /// Nothing in the first stage; then the error set, 1 for each image in it.
    fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        let Some(errors) = &self.errors else {
            return Ok(Vec::new());
        };
        let errors = errors.iter().map(|&error| u8::from(error));
        let errors = Tensor::from_iter(errors, &Device::Cpu)?;
        Ok(vec![(ERRORS.to_string(), errors)])
    }

    fn load(&mut self, tensors: &HashMap<String, Tensor>) -> Result<()> {
        self.errors = None;
        match tensors.get(ERRORS) {
            None => Ok(()),
            Some(errors) => {
                let errors = errors.to_vec1::<u8>()?.into_iter().map(|error| error != 0);
                self.take_errors(&errors.collect::<Vec<_>>())
            }
        }
    }
}
