//! Where a run is: the part of a checkpoint that isn't tensors.

use mr2_metrics::PerClass;
use serde::{Deserialize, Serialize};

use crate::metrics_log::StepRecord;
use crate::report::Pulls;
use crate::result::Timings;

/// Position, counters and timings. Random streams have no state: dropout is a function of the
/// seed and the step, a batch of the loader's seed, epoch and position.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Progress {
    /// Steps done. The schedule's position too: it is a function of the step.
    pub(crate) step: u64,
    pub(crate) steps_per_epoch: u64,
    /// Epochs whose end was measured: one less than are done where a stop came before that.
    pub(crate) epochs_measured: u64,
    /// Of the epoch that is under way, or was finished by the last step.
    pub(crate) counters: EpochCounters,
    pub(crate) best: Option<Best>,
    pub(crate) timings: Timings,
}

/// The best epoch on validation so far.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Best {
    pub(crate) step: u64,
    pub(crate) accuracy: f64,
}

/// Sums over the steps of an epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EpochCounters {
    pub(crate) steps: u64,
    pub(crate) loss: f64,
    pub(crate) classification_loss: f64,
    pub(crate) representation_loss: f64,
    pub(crate) images: u64,
    pub(crate) with_positive: u64,
    pub(crate) per_class: PerClass,
    pub(crate) seconds: f64,
    /// At the epoch's first batch.
    pub(crate) pulls: Option<Pulls>,
}

impl Progress {
    pub(crate) fn start(steps_per_epoch: u64, classes: usize) -> Self {
        Self {
            step: 0,
            steps_per_epoch,
            epochs_measured: 0,
            counters: EpochCounters::zero(classes),
            best: None,
            timings: Timings {
                training_seconds: 0.0,
                evaluation_seconds: 0.0,
                total_seconds: 0.0,
                starts: 0,
            },
        }
    }

    /// Epochs that are finished.
    pub(crate) fn epochs_done(&self) -> u64 {
        self.step / self.steps_per_epoch
    }

    /// Batches done of the epoch under way.
    pub(crate) fn batches_done(&self) -> u64 {
        self.step % self.steps_per_epoch
    }
}

impl EpochCounters {
    pub(crate) fn zero(classes: usize) -> Self {
        Self {
            steps: 0,
            loss: 0.0,
            classification_loss: 0.0,
            representation_loss: 0.0,
            images: 0,
            with_positive: 0,
            per_class: PerClass {
                correct: vec![0; classes],
                count: vec![0; classes],
            },
            seconds: 0.0,
            pulls: None,
        }
    }

    pub(crate) fn add(&mut self, record: &StepRecord, seen: &PerClass, with_positive: usize) {
        self.steps += 1;
        self.loss += record.loss;
        self.classification_loss += record.classification_loss;
        self.representation_loss += record.representation_loss;
        self.images += seen.count.iter().sum::<u64>();
        self.with_positive += with_positive as u64;
        let sums = self.per_class.correct.iter_mut().zip(&seen.correct);
        sums.chain(self.per_class.count.iter_mut().zip(&seen.count))
            .for_each(|(a, b)| *a += b);
    }

    /// The mean over the steps of one of the sums.
    pub(crate) fn mean(&self, sum: f64) -> f64 {
        sum / self.steps.max(1) as f64
    }

    pub(crate) fn images_per_second(&self) -> f64 {
        if self.seconds > 0.0 {
            self.images as f64 / self.seconds
        } else {
            0.0
        }
    }
}
