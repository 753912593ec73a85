//! Tests of mr2-data as its users meet it.
//!
//! - `formats`: every layout against what other readers make of the same files
//! - `transforms`: every transform against torchvision
//! - `augment`: AutoAugment and RandAugment against torchvision
//! - `batches`: loader, samplers, validation part
//! - `bombs`: small files that would take much memory
//! - `corruptions`: against NumPy, SciPy and Pillow, or by their statistics
//! - `carried_data`: the descriptors in `datasets/` and the Fashion-MNIST that is carried
//! - `errors`: every error by its message
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
#[path = "reference/corruptions.rs"]
mod corruptions;
#[path = "reference/errors.rs"]
mod errors;
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
