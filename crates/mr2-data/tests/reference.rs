//! Tests of mr2-data as its users meet it.
//!
//! - `formats`: every layout against what other readers make of the same files
//! - `transforms`: every transform against torchvision
//! - `batches`: loader, samplers, validation part
//! - `bombs`: small files that would take much memory
//! - `carried_data`: the descriptors in `datasets/` and the Fashion-MNIST that is carried
//! - `errors`: every error by its message
//! - `hostile`: damaged files never panic

#![allow(clippy::unwrap_used)]

#[path = "reference/batches.rs"]
mod batches;
#[path = "reference/bombs.rs"]
mod bombs;
#[path = "reference/carried_data.rs"]
mod carried_data;
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
