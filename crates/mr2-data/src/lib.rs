//! Image data sets, transforms and a deterministic loader for [Candle](candle_core).
//!
//! - [`Descriptor`] says what a data set is: classes, files, checksums, pixel statistics. [`open`]
//!   reads it from a folder into [`DataSplits`]: training, test and, if asked for, a class-balanced
//!   validation part carved from training by seed. IDX (MNIST, Fashion-MNIST), CIFAR-10/100
//!   (binary, Python batches, Hugging Face parquet) and folders of images are read.
//! - [`open_class_folders`] takes a plain folder of class folders, makes the parts that aren't there by the
//!   content of the images, and can leave out files that are no images.
//! - [`DataSplits::with_variants`] makes training images fewer or long-tailed and their labels noisy.
//! - [`ImageSet`] is one split: labels and images in a fixed order, in memory or in files.
//! - [`Pipeline`] is a list of [`Transform`]s that do what torchvision's do, AutoAugment and
//!   RandAugment among them, and of common corruptions ([`Corruption`]); [`evaluation_transforms`] gives
//!   those of pretrained models. Files decode to Pillow's bytes, JPEG within 4 levels, half a level on average.
//! - [`Loader`] makes [`Batch`]es ahead in threads. Order and augmentation are functions of (seed,
//!   epoch, image): any number of threads, and a start in the middle of an epoch, give the same
//!   bits. [`Loader::windows`] gives batches as windows of images that are held on a GPU.
//!
//! Files are taken for hostile: sizes are checked before memory is taken, checksums of files before
//! anything is parsed, and every [`Error`] names the file, what was expected, what was found and
//! what to do.
//!
//! # Example
//!
//! Twelve grey images of three classes, one of each class held out for validation, the rest in
//! shuffled and augmented batches of four:
//!
//! ```
//! use mr2_data::candle_core::Device;
//! use mr2_data::{
//!     ImageSet, Loader, LoaderConfig, Pipeline, Sampler, Source, Split, Transform,
//!     ValidationConfig, carve,
//! };
//! use std::sync::Arc;
//!
//! let classes = ["circle", "square", "star"].map(String::from).to_vec();
//! let labels = vec![0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2];
//! let pixels = (0..12 * 8 * 8).map(|i| (i % 251) as u8).collect();
//! let source = Source::Memory { pixels, height: 8, width: 8, channels: 1 };
//! let all = ImageSet::new("shapes", Split::Train, classes, labels, source)?;
//! let (train, validation) = carve(&all, &ValidationConfig { per_class: 1, seed: 0 })?;
//! assert_eq!((train.len(), validation.len()), (9, 3));
//!
//! let pipeline = Pipeline::new(vec![
//!     Transform::RandomCrop { size: 8, padding: 1 },
//!     Transform::HorizontalFlip { p: 0.5 },
//!     Transform::Normalize { mean: vec![0.5], std: vec![0.25] },
//! ])?;
//! let config = LoaderConfig {
//!     images_per_batch: 4,
//!     sampler: Sampler::Shuffled,
//!     seed: 1,
//!     workers: 2,
//!     drop_last: false,
//! };
//! let loader = Loader::new(Arc::new(train), pipeline, config, &Device::Cpu)?;
//! assert_eq!(loader.batches_per_epoch(), 3);
//! for batch in loader.epoch(0, 0) {
//!     let batch = batch?;
//!     assert_eq!(batch.images.dims(), [batch.labels.len(), 1, 8, 8]);
//! }
//! # Ok::<(), mr2_data::Error>(())
//! ```

#![deny(missing_docs)]

mod class_folders;
mod corruptions;
mod decode;
mod descriptor;
mod division;
mod epoch;
mod error;
mod files;
mod fingerprint;
mod formats;
mod image_set;
mod layouts;
mod loader;
mod open;
mod parallel;
mod pixel_statistics;
mod random;
mod sampler;
mod source;
mod transforms;
mod validation;
mod variants;
mod windows;

pub use candle_core;
pub use class_folders::{BadImages, ClassFolders, Origin, SkippedImage, open_class_folders};
pub use corruptions::{Corruption, corrupt};
pub use descriptor::{Checksum, Descriptor, Layout};
pub use epoch::Epoch;
pub use error::{Error, Result};
pub use files::ReadFile;
pub use fingerprint::Fingerprint;
pub use formats::image_folder::read_image_folder;
pub use image_set::{ImageSet, Split};
pub use loader::{Batch, Loader, LoaderConfig};
pub use open::{DataSplits, open};
pub use pixel_statistics::{PixelStatistics, pixel_statistics};
pub use random::Draws;
pub use sampler::Sampler;
pub use source::{Image, Source};
pub use transforms::{
    AugmentOp, AutoAugment, AutoAugmentPolicy, CropBox, EvaluationGeometry, Interpolation,
    Pipeline, RandAugment, RandomResizedCrop, Transform, Window, evaluation_transforms,
};
pub use validation::{ValidationConfig, carve};
pub use variants::{TestImages, TrainingImages, TrainingLabels};
pub use windows::{WindowBatch, Windows};
