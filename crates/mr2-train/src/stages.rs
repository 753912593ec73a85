//! Runs of two stages: a first, short one finds the training images that the second weighs up.
//!
//! The first stage is the beginning of a plain run. Then the training images are predicted without
//! augmentation, weights, buffers and optimiser go back to their start, and the second stage is a
//! whole run with the batches, masks and learning rates of one that has no first stage. Steps and
//! epochs are counted through both.

use std::collections::HashMap;

use candle_core::Tensor;

use crate::error::{Error, Result};
use crate::event::{Event, Part};
use crate::run::Run;
use crate::stop::StopFlag;
use crate::train::Job;

/// A copy of the model's tensors where a second stage is to begin with them.
///
/// Each start of a run is given the model as it was at first, so that no checkpoint needs to hold
/// this.
pub(crate) fn initial_weights(job: &Job<'_>) -> Result<HashMap<String, Tensor>> {
    if job.config.objective.first_stage_epochs() == 0 {
        return Ok(HashMap::new());
    }
    let tensors = job.params.tensors().into_iter();
    Ok(tensors
        .map(|(name, tensor)| Ok((name, tensor.copy()?)))
        .collect::<candle_core::Result<_>>()?)
}

impl Run<'_> {
    /// Steps of the first stage; 0 where there is none.
    pub(crate) fn first_stage_steps(&self) -> u64 {
        self.job.config.objective.first_stage_epochs() * self.progress.steps_per_epoch
    }

    /// A step of the run as one of its stage, both counted from 0.
    pub(crate) fn stage_step(&self, step: u64) -> u64 {
        step.checked_sub(self.first_stage_steps()).unwrap_or(step)
    }

    /// Whether the first stage is done and the second not prepared.
    pub(crate) fn begins_second_stage(&self) -> bool {
        self.progress.step == self.first_stage_steps() && self.objective.awaits_errors()
    }

    /// Hands the first stage's errors to the objective and goes back to the start; `false` where a stop
    /// is asked for on the way: then the run is saved as it was, and a resumed one begins here.
    pub(crate) fn begin_second_stage(&mut self, stop: &StopFlag) -> Result<bool> {
        let Some(loader) = self.job.train_once else {
            return Err(Error::Config {
                key: "objective",
                reason: "has two stages, and the job no loader to identify errors with".into(),
            });
        };
        (self.observer)(&Event::Evaluating(Part::Training));
        let Some(predictions) = self.evaluate(loader, stop)? else {
            (self.observer)(&Event::Stopping);
            self.save()?;
            return Ok(false);
        };
        // In the order of the set, as the loader is sequential.
        let errors: Vec<bool> = predictions
            .labels
            .iter()
            .zip(&predictions.predictions)
            .map(|(label, predicted)| label != predicted)
            .collect();
        if !errors.contains(&true) {
            self.warn(
                "the first stage gets no training image wrong, so that the second is plain training: \
                 make it shorter",
            );
        }
        self.objective.take_errors(&errors)?;
        self.job.params.load(&self.initial)?;
        self.optimizer = self.job.config.optimizer.build(self.job.params)?;
        self.statistics.restart()?;
        Ok(true)
    }
}
