//! Which of a part's images are kept: all, the same number of each class, or a long tail.

use super::long_tail::{self, Profile};
use crate::corruptions::{Corruption, check_severity};
use crate::error::{Error, Result};
use crate::formats::cifar_c;
use crate::image_set::ImageSet;
use crate::random::{Draws, Purpose};
use std::path::{Path, PathBuf};

/// Which training images are trained on. All choices keep the order of the set.
///
/// Of each class a first part of one shuffled list is kept, so with the same seed a smaller choice is
/// contained in every larger one.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum TrainingImages {
    /// All of them.
    All {},
    /// The same number of every class.
    Balanced {
        /// Images of each class.
        per_class: usize,
        /// Seed of the choice.
        seed: u64,
    },
    /// Class sizes fall exponentially in label order: class k of K keeps the integer part of
    /// n · ratio^(k/(K−1)), n = images / K (kaidic/LDAM-DRW imbalance_cifar.py). The order is that
    /// of the labels, so whether a class is rare and whether it is hard are mixed up as the names are.
    Exponential {
        /// Size of the last class over that of the first, in (0, 1]: 0.01 for "1 to 100".
        ratio: f64,
        /// Seed of the choice.
        seed: u64,
    },
    /// The first half of the classes (by label, rounded down) keeps n = images / K images each, the
    /// others the integer part of n · ratio (kaidic/LDAM-DRW imbalance_cifar.py).
    Step {
        /// Size of a rare class over that of a frequent one, in (0, 1].
        ratio: f64,
        /// Seed of the choice.
        seed: u64,
    },
}

/// Which test images are tested on. All keep the order of the set.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum TestImages {
    /// All of them.
    All {},
    /// The same number of every class, chosen as in [`TrainingImages::Balanced`].
    Balanced {
        /// Images of each class.
        per_class: usize,
        /// Seed of the choice.
        seed: u64,
    },
    /// All of them, as CIFAR-10-C or CIFAR-100-C has them: `NAME.npy` and `labels.npy` as released.
    CifarC {
        /// The folder of these files, relative to the data set's folder.
        path: PathBuf,
        /// Which file.
        corruption: Corruption,
        /// Which fifth of it, 1 to 5.
        severity: usize,
    },
}

impl TrainingImages {
    /// The chosen images of `set`.
    ///
    /// # Errors
    /// 0 images of each class, a ratio outside (0, 1], a class with too few images or one that would
    /// keep none.
    pub fn apply(&self, set: &ImageSet) -> Result<ImageSet> {
        match *self {
            TrainingImages::All {} => Ok(set.clone()),
            TrainingImages::Balanced { per_class, seed } => {
                balanced(set, per_class, seed, "training_images.per_class")
            }
            TrainingImages::Exponential { ratio, seed } => {
                let sizes = long_tail::sizes(set, Profile::Exponential, ratio)?;
                choose(set, &sizes, seed, "training_images.ratio")
            }
            TrainingImages::Step { ratio, seed } => {
                let sizes = long_tail::sizes(set, Profile::Step, ratio)?;
                choose(set, &sizes, seed, "training_images.ratio")
            }
        }
    }
}

impl TestImages {
    /// The chosen images of `set`. A relative path is looked for in `folder`.
    ///
    /// # Errors
    /// 0 images of each class, or a class with too few; files of CIFAR-C that cannot be read, or whose
    /// sizes or labels are not those of `set`.
    pub fn apply(&self, set: &ImageSet, folder: &Path) -> Result<ImageSet> {
        match self {
            TestImages::All {} => Ok(set.clone()),
            TestImages::Balanced { per_class, seed } => {
                balanced(set, *per_class, *seed, "test_images.per_class")
            }
            TestImages::CifarC {
                path,
                corruption,
                severity,
            } => {
                check_severity("test_images.severity", *severity)?;
                cifar_c::read(set, &folder.join(path), *corruption, *severity)
            }
        }
    }

    /// The files that they are in, where not in the data set's.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        match self {
            TestImages::All {} | TestImages::Balanced { .. } => Vec::new(),
            TestImages::CifarC {
                path, corruption, ..
            } => {
                let images = format!("{}.npy", corruption.name());
                vec![path.join(images), path.join("labels.npy")]
            }
        }
    }
}

fn balanced(set: &ImageSet, per_class: usize, seed: u64, field: &'static str) -> Result<ImageSet> {
    if per_class == 0 {
        let reason = "expected at least 1; write { kind = \"all\" } for all images";
        return Err(Error::config(field, reason));
    }
    choose(set, &vec![per_class; set.classes().len()], seed, field)
}

/// `sizes[k]` images of each class k.
fn choose(set: &ImageSet, sizes: &[usize], seed: u64, field: &'static str) -> Result<ImageSet> {
    let mut kept = vec![false; set.len()];
    for (class, (mut indices, &size)) in set.by_class().into_iter().zip(sizes).enumerate() {
        if indices.len() < size {
            return Err(Error::ClassTooSmall {
                set: set.name().to_string(),
                class: set.classes()[class].clone(),
                found: indices.len(),
                needed: size,
                field,
            });
        }
        Draws::new(Purpose::Subset, seed, 0, class as u64).shuffle(&mut indices);
        for &index in &indices[..size] {
            kept[index as usize] = true;
        }
    }
    let indices: Vec<u32> = (0..set.len() as u32)
        .filter(|&index| kept[index as usize])
        .collect();
    set.subset(set.split(), &indices)
}
