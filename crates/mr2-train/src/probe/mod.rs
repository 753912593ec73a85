//! Linear probing and k-NN on frozen features: plain slices in, a linear classifier out.
//!
//! [`probe()`] fits every head that a [`ProbeConfig`] asks for, selects on validation images, and returns one
//! [`Probed`] for each method and seed beside all that were tried. [`Protocol`] has the published recipes: MAE, MoCo v2,
//! CLIP, CLIP_benchmark, DINOv2. [`knn()`] is DINO's and DINOv2's classifier without training.
//!
//! - Training, validation and test images are types of their own ([`Training`], [`Validation`], [`Test`]): nothing that
//!   selects takes a test set.
//! - [`Views`] are features of random crops, new ones at every shuffle, for the protocols that have them.
//! - A [`MethodConfig`] says which margins ([`MarginConfig`]) the loss divides the logits by: plain cross-entropy,
//!   one margin for all classes, or MR²'s from the exact class statistics of the training features.
//! - Heads that differ in learning rate, weight decay or margins train together, one product for all of them.
//!
//! ```
//! use mr2_train::probe::{MarginConfig, MethodConfig, Protocol, Training, Validation, probe};
//! let features = [0f32, 0.1, 0.2, 1.0, 1.1, 1.2]; // one feature an image
//! let labels = [0, 0, 0, 1, 1, 1];
//! let training = Training::new(&features, 1, &labels, 2)?;
//! let validation = Validation::new(&[0.05, 1.05], 1, &[0, 1], 2)?;
//! let erm = MethodConfig { name: "erm".into(), margins: vec![MarginConfig::Erm {}] };
//! let config = Protocol::Clip.config(vec![erm]);
//! let outcome = probe(&config, &training, Some(&validation), &[0])?;
//! let head = &outcome.chosen[0];
//! assert_eq!(head.predictions(&[0.0, 1.2])?, [0, 1]);
//! # Ok::<(), mr2_train::Error>(())
//! ```

mod arm;
mod batches;
mod config;
mod cosine;
mod curvature;
mod features;
mod fits;
mod grid;
mod heads;
mod input_norm;
mod knn;
mod lbfgs;
mod line_search;
mod logistic;
mod margin;
mod probed;
mod protocols;
mod run;
mod search;
mod standard;
mod update;

pub use config::{
    EpochLength, FitConfig, HeadKind, InitConfig, InputNorm, MethodConfig, Normalise, ProbeConfig,
    StepRule, StepsConfig,
};
pub use features::{Labelled, Test, Training, Validation, Views};
pub use grid::Grid;
pub use knn::{KnnConfig, knn};
pub use margin::MarginConfig;
pub use probed::{FitEnd, HeadResult, Outcome, Probed, Setting};
pub use protocols::Protocol;
pub use run::{probe, probe_best_features};
