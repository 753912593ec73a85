//! Tests of mr2-data as its users meet it.
//!
//! - `formats`: every layout against what other readers make of the same files
//! - `transforms`: every transform against torchvision
//! - `augment`: AutoAugment and RandAugment against torchvision
//! - `batches`: loader, samplers, validation part
//! - `bombs`: small files that would take much memory
//! - `class_folders`: plain folders of class folders
//! - `corruptions`: against NumPy, SciPy and Pillow, or by their statistics
//! - `carried_data`: the descriptors in `datasets/` and the Fashion-MNIST that is carried
//! - `decode`: image files of every kind against Pillow
//! - `errors`: every error by its message
//! - `evaluation`: evaluation transforms of pretrained models
//! - `hostile`: damaged files never panic
//! - `variants`: subsets, long tails and noisy labels

#![allow(clippy::unwrap_used)]

#[path = "reference/augment.rs"]
mod augment;
#[path = "reference/batches.rs"]
mod batches;
#[path = "reference/bombs.rs"]
mod bombs;
#[path = "reference/carried_data.rs"]
mod carried_data;
#[path = "reference/class_folders.rs"]
mod class_folders;
#[path = "reference/corruptions.rs"]
mod corruptions;
#[path = "reference/decode.rs"]
mod decode;
#[path = "reference/errors.rs"]
mod errors;
#[path = "reference/evaluation.rs"]
mod evaluation;
#[path = "reference/fixtures.rs"]
mod fixtures;
#[path = "reference/formats.rs"]
mod formats;
#[path = "reference/hostile.rs"]
mod hostile;
#[path = "reference/transforms.rs"]
mod transforms;
#[path = "reference/variants.rs"]
mod variants;
