//! Which labels training images have: those given, noisy ones, or those of a file.

use super::noise;
use crate::error::{Error, Result};
use crate::formats::label_file;
use crate::image_set::ImageSet;
use std::path::{Path, PathBuf};

/// Which labels the training images have.
///
/// Noise changes exactly the share of each class, rounded to whole images (half away from zero). With
/// the same seed the images changed at a smaller share are among those of every larger one.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum TrainingLabels {
    /// Those of the data set.
    Given {},
    /// A share of each class's images gets a label drawn uniformly from the other classes. (Noise that
    /// may draw the true class again at rate r, as in some papers, is share = r · (K − 1) / K.)
    SymmetricNoise {
        /// Share of the images that are mislabelled, 0 to 1.
        share: f64,
        /// Seed of the choice and the labels.
        seed: u64,
    },
    /// A share of each class's images gets the label of the next class; the last gets the first's.
    PairFlip {
        /// Share of the images that are mislabelled, 0 to 1.
        share: f64,
        /// Seed of the choice.
        seed: u64,
    },
    /// CIFAR-10's asymmetric noise (Patrini et al., CVPR 2017): a share of the images of these
    /// classes is labelled truck → automobile, bird → airplane, deer → horse, cat ↔ dog; the other
    /// classes stay clean.
    AsymmetricCifar10 {
        /// Share of these classes' images that are mislabelled, 0 to 1.
        share: f64,
        /// Seed of the choice.
        seed: u64,
    },
    /// One label for each training image of the data set as released (those held out included), in
    /// its order: a text file with a class number on each line, or a NumPy `.npy` array of integers.
    File {
        /// The file, relative to the data set's folder.
        path: PathBuf,
    },
    /// A file of CIFAR-N as released (`CIFAR-10_human.pt`, `CIFAR-100_human.pt` of
    /// UCSC-REAL/cifar-10-100n). Its `clean_label` has to agree with the labels of the data set.
    CifarN {
        /// The file, relative to the data set's folder.
        path: PathBuf,
        /// Which labels: `aggre_label`, `worse_label`, `random_label1` to `3`; `noisy_label` for
        /// CIFAR-100.
        key: String,
    },
}

impl TrainingLabels {
    /// The images of `set` under these labels. A relative path is looked for in `folder`.
    ///
    /// # Errors
    /// A share outside 0..=1, a set of too few classes or without CIFAR-10's, and a file that cannot
    /// be read, has another number of labels or one that is no class.
    pub fn apply(&self, set: &ImageSet, folder: &Path) -> Result<ImageSet> {
        let labels = match self {
            TrainingLabels::Given {} => return Ok(set.clone()),
            TrainingLabels::SymmetricNoise { share, seed } => noise::symmetric(set, *share, *seed)?,
            TrainingLabels::PairFlip { share, seed } => noise::pair_flip(set, *share, *seed)?,
            TrainingLabels::AsymmetricCifar10 { share, seed } => {
                noise::asymmetric_cifar10(set, *share, *seed)?
            }
            TrainingLabels::File { path } => {
                let path = folder.join(path);
                of_set(set, &path, &label_file::read(&path)?)?
            }
            TrainingLabels::CifarN { path, key } => {
                let path = folder.join(path);
                let found = label_file::read_cifar_n(&path, key)?;
                check_clean(set, &path, &of_set(set, &path, &found.clean)?)?;
                of_set(set, &path, &found.labels)?
            }
        };
        set.with_labels(labels)
    }

    /// The file that the labels are in.
    pub(super) fn file(&self) -> Option<&Path> {
        match self {
            TrainingLabels::File { path } | TrainingLabels::CifarN { path, .. } => Some(path),
            TrainingLabels::Given {}
            | TrainingLabels::SymmetricNoise { .. }
            | TrainingLabels::PairFlip { .. }
            | TrainingLabels::AsymmetricCifar10 { .. } => None,
        }
    }
}

/// The labels of the set's images, from those of all images as released.
fn of_set(set: &ImageSet, path: &Path, released: &[i64]) -> Result<Vec<u32>> {
    if released.len() != set.released_len() {
        return Err(Error::Count {
            path: path.to_path_buf(),
            what: "labels",
            why: "one for each training image of the data set as released",
            expected: set.released_len(),
            found: released.len(),
        });
    }
    let all = crate::formats::class_labels(path, released, set.classes().len())?;
    let of_image = |index| Ok(all[set.original_index(index)? as usize]);
    (0..set.len()).map(of_image).collect()
}

/// Labels in another order than the images would be noise of another kind, unnoticed.
fn check_clean(set: &ImageSet, path: &Path, clean: &[u32]) -> Result<()> {
    let differs = |(index, (a, b)): (usize, (&u32, &u32))| (a != b).then_some(index);
    let mut pairs = clean.iter().zip(set.labels()).enumerate();
    match pairs.find_map(differs) {
        None => Ok(()),
        Some(index) => Err(Error::Labels {
            path: path.to_path_buf(),
            reason: format!(
                "`clean_label` of image {} is {}, but in the data set its label is {}. The file \
                 belongs to another data set or to another order of its images",
                set.original_index(index)?,
                clean[index],
                set.labels()[index]
            ),
        }),
    }
}
