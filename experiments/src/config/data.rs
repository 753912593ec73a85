//! The `[data]` table of a run file.

use std::path::PathBuf;

use mr2_data::{
    Corruption, Sampler, TestImages, TrainingImages, TrainingLabels, Transform, ValidationConfig,
};
use serde::{Deserialize, Serialize};

/// The data set, its validation part and the way images reach the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Name of a descriptor in the data root (`fashion-mnist`), or the path of one.
    pub dataset: String,
    /// Class-balanced part carved from training; only it may select anything.
    pub validation: Validation,
    /// Which of the images left after that are trained on.
    pub training_images: TrainingImages,
    /// Which labels those have. Validation and test labels are always those given.
    pub training_labels: TrainingLabels,
    /// Which test images are tested on.
    pub test_images: TestImages,
    /// Further test sets, each tested on once, after training.
    pub shifts: Shifts,
    /// Images in a training batch.
    pub images_per_batch: usize,
    /// Images in a batch when evaluating.
    pub evaluation_images_per_batch: usize,
    /// Order in which training images come.
    pub sampler: Sampler,
    /// Leave out the last, smaller batch of an epoch.
    pub drop_last: bool,
    /// Threads that prepare batches. Results don't depend on it.
    pub loader_workers: usize,
    /// Transforms of training images, in order.
    pub train_transforms: Vec<Transform>,
    /// Transforms of validation and test images, in order.
    pub evaluation_transforms: Vec<Transform>,
}

impl DataConfig {
    /// Whether the two ask for the same images and labels, however these are fed.
    pub fn same_images(&self, other: &Self) -> bool {
        self.images() == other.images()
    }

    /// What decides which images and labels there are.
    pub fn images(&self) -> impl PartialEq + Serialize + '_ {
        (
            &self.dataset,
            &self.validation,
            &self.training_images,
            &self.training_labels,
            &self.test_images,
        )
    }
}

/// Where validation images come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Validation {
    /// All training images train; nothing can be selected.
    None,
    /// `per_class` training images of each class, drawn with `seed`, are held out.
    Carved {
        /// Images of each class.
        per_class: usize,
        /// Seed of the draw; keep it the same over the seeds of an experiment.
        seed: u64,
    },
}

impl Validation {
    /// The carving instruction for the data crate, if any.
    pub fn carve(&self) -> Option<ValidationConfig> {
        match *self {
            Self::None => None,
            Self::Carved { per_class, seed } => Some(ValidationConfig { per_class, seed }),
        }
    }
}

/// Test images that are not like the training images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Shifts {
    /// None.
    None {},
    /// Test images, corrupted when they are read: every corruption at every severity.
    Corruptions {
        /// Which.
        corruptions: Vec<Corruption>,
        /// How much, from 1 to 5.
        severities: Vec<usize>,
        /// So many test images of each class, the same for all.
        per_class: usize,
        /// Seed of their choice and of the corruptions.
        seed: u64,
    },
    /// The files of CIFAR-10-C or CIFAR-100-C.
    CifarC {
        /// Their folder, relative to the data set's.
        path: PathBuf,
        /// Which.
        corruptions: Vec<Corruption>,
        /// How much, from 1 to 5.
        severities: Vec<usize>,
    },
}

impl Shifts {
    /// Every corruption at every severity.
    pub fn each(&self) -> Vec<(Corruption, usize)> {
        let (corruptions, severities) = match self {
            Self::None {} => return Vec::new(),
            Self::Corruptions {
                corruptions,
                severities,
                ..
            }
            | Self::CifarC {
                corruptions,
                severities,
                ..
            } => (corruptions, severities),
        };
        let at_all = |&corruption| {
            severities
                .iter()
                .map(move |&severity| (corruption, severity))
        };
        corruptions.iter().flat_map(at_all).collect()
    }
}
