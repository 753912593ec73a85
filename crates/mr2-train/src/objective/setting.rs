//! What an objective is built for: the model's sizes, the training set, the run's settings.

use candle_core::{DType, Device, Tensor};

use crate::config::TrainConfig;
use crate::error::Result;
use crate::train::{Job, Twin};

/// What an objective may ask of its run.
pub(crate) struct Setting<'a> {
    pub(crate) classes: usize,
    pub(crate) feature_dim: usize,
    /// Of features and logits.
    pub(crate) dtype: DType,
    pub(crate) activations: DType,
    pub(crate) device: &'a Device,
    /// The label of each training image.
    pub(crate) labels: &'a [u32],
    /// Training images of each class.
    pub(crate) counts: Vec<u64>,
    pub(crate) config: &'a TrainConfig,
    pub(crate) twin: Option<Twin<'a>>,
}

impl<'a> Setting<'a> {
    pub(crate) fn of(job: &Job<'a>) -> Self {
        let head = job.model.head_weight();
        let set = job.train.set();
        Self {
            classes: job.model.classes(),
            feature_dim: job.model.feature_dim(),
            dtype: head.dtype(),
            activations: job.activations,
            device: head.device(),
            labels: set.labels(),
            counts: set.counts().into_iter().map(|count| count as u64).collect(),
            config: job.config,
            twin: job.twin,
        }
    }

    /// Logits of one image, all 0, and a label that the training set has: a loss that accepts its
    /// hyperparameters has a value there.
    pub(super) fn rehearsal(&self) -> Result<(Tensor, [u32; 1])> {
        let logits = Tensor::zeros((1, self.classes), self.dtype, self.device)?;
        Ok((logits, [self.labels.first().copied().unwrap_or(0)]))
    }
}
