//! Batches of an epoch, made ahead of their use by threads. What a batch holds is a function of the
//! set, the configuration, the epoch and the number of the batch; threads only make it earlier.

use crate::epoch::{Epoch, Job};
use crate::error::{Error, Result};
use crate::image_set::ImageSet;
use crate::sampler::Sampler;
use crate::transforms::{Pipeline, Transform};
use crate::windows::Windows;
use candle_core::{Device, Tensor};
use std::sync::Arc;

/// How a loader makes batches.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoaderConfig {
    /// Images in a batch.
    pub images_per_batch: usize,
    /// The order of the images.
    pub sampler: Sampler,
    /// Seed of order and augmentation.
    pub seed: u64,
    /// Threads that make batches ahead; with 0 they are made when they are asked for. The
    /// batches are the same for any number.
    pub workers: usize,
    /// Leave out the last batch of an epoch if it is smaller than the others.
    pub drop_last: bool,
}

/// Images and labels of one step.
#[derive(Debug, Clone)]
pub struct Batch {
    /// (batch, channels, height, width) in f32.
    pub images: Tensor,
    /// The label of each image.
    pub labels: Vec<u32>,
    /// The position of each image in the set.
    pub indices: Vec<u32>,
}

/// Makes batches of an [`ImageSet`].
#[derive(Debug, Clone)]
pub struct Loader {
    recipe: Arc<Recipe>,
    device: Device,
}

/// What batches are made of and how.
#[derive(Debug)]
pub(crate) struct Recipe {
    pub set: Arc<ImageSet>,
    pub pipeline: Pipeline,
    pub config: LoaderConfig,
}

impl Loader {
    /// Checks that the configuration fits the set. Batches are made on the CPU, ahead in threads too, and put on
    /// `device` by the thread that takes them.
    ///
    /// # Errors
    /// An empty set, an empty batch, or a sampler or pipeline that does not fit the set.
    pub fn new(
        set: Arc<ImageSet>,
        pipeline: Pipeline,
        config: LoaderConfig,
        device: &Device,
    ) -> Result<Self> {
        let size = config.images_per_batch;
        if size == 0 {
            return Err(Error::config(
                "images_per_batch",
                "expected at least 1, got 0",
            ));
        }
        if set.is_empty() || (config.drop_last && set.len() < size) {
            let reason = format!(
                "{} has {} images, too few for one batch of {size}",
                set.name(),
                set.len()
            );
            return Err(Error::config("images_per_batch", reason));
        }
        config.sampler.validate(&set, size)?;
        let sampler = config.sampler.on(&set.counts());
        let config = LoaderConfig { sampler, ..config };
        pipeline.check_channels(set.channels())?;
        let recipe = Arc::new(Recipe {
            set,
            pipeline,
            config,
        });
        Ok(Loader {
            recipe,
            device: device.clone(),
        })
    }

    /// A loader for evaluation: every image once, in order, without augmentation.
    ///
    /// # Errors
    /// As [`Loader::new`], and a pipeline with a random step.
    pub fn for_evaluation(
        set: Arc<ImageSet>,
        pipeline: Pipeline,
        images_per_batch: usize,
        workers: usize,
        device: &Device,
    ) -> Result<Self> {
        if let Some(step) = pipeline.transforms().iter().find(|step| step.is_random()) {
            let reason = format!("{} is random; evaluation must not be", step.kind());
            return Err(Error::config("transforms", reason));
        }
        let sampler = Sampler::Sequential;
        let config = LoaderConfig {
            images_per_batch,
            sampler,
            seed: 0,
            workers,
            drop_last: false,
        };
        Self::new(set, pipeline, config, device)
    }

    /// The images that batches are made of.
    pub fn set(&self) -> &Arc<ImageSet> {
        &self.recipe.set
    }

    /// The transforms of every image.
    pub fn transforms(&self) -> &[Transform] {
        self.recipe.pipeline.transforms()
    }

    /// How batches are made; re-sampling of balanced classes is named by what it comes to, shuffling.
    pub fn config(&self) -> &LoaderConfig {
        &self.recipe.config
    }

    /// Number of batches in every epoch.
    pub fn batches_per_epoch(&self) -> usize {
        let (images, config) = (self.recipe.set.len(), &self.recipe.config);
        match (&config.sampler, config.drop_last) {
            (Sampler::ClassBalanced { .. }, _) | (_, true) => images / config.images_per_batch,
            (_, false) => images.div_ceil(config.images_per_batch),
        }
    }

    /// The batches of `epoch` from `first_batch` on, which are the same as those of the whole epoch
    /// without the first ones. Ends after an error. An image that a sampler draws twice in an epoch is
    /// augmented in the same way both times, except by [`Sampler::Resampled`].
    pub fn epoch(&self, epoch: u64, first_batch: usize) -> Epoch {
        let batches = first_batch..self.batches_per_epoch();
        Epoch::start(self.job(epoch), batches, &self.device)
    }

    /// The same batches as windows of images in memory, which may then lie on a GPU and be augmented there; `None` where the
    /// pipeline does more than to flip, to crop once and to normalise, or images are in files or encoded.
    pub fn windows(&self) -> Option<Windows<'_>> {
        Windows::of(self)
    }

    pub(crate) fn job(&self, epoch: u64) -> Job {
        let Recipe { set, config, .. } = &*self.recipe;
        Job {
            recipe: self.recipe.clone(),
            order: config.sampler.order(set.labels(), config.seed, epoch),
            epoch,
        }
    }

    pub(crate) fn recipe(&self) -> &Recipe {
        &self.recipe
    }
}
