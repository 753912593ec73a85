//! The rival methods to MR², one file each.
//!
//! Losses are functions of tensors and plain numbers and give a value per sample; they own no state.
//! What moves over time ([`GroupWeights`], [`SampleLosses`], centres, weights under
//! [`Sharpness`]) is passed in, for the training loop to keep and save. Formulas are those of the
//! public code that each function names, and where that code does something that a reader of the
//! paper would not expect, the function says so. The list is [`Baseline::ALL`].
//!
//! ```
//! use mr2_loss::baselines::{class_balanced_weights, class_weighted_mean, ldam, ldam_margins};
//! use mr2_loss::candle_core::{Device, Tensor};
//! // Two samples of a data set whose second class is rare; logits of a cosine head.
//! let (counts, labels) = ([500, 20], [0, 1]);
//! let cosines = Tensor::new(&[[0.6f32, 0.1], [0.4, 0.5]], &Device::Cpu)?;
//! let margins = ldam_margins(&counts, 0.5)?;
//! assert!(margins[1] == 0.5 && margins[0] < 0.25);
//! let weights = class_balanced_weights(&counts, 0.9999)?;
//! let losses = ldam(&cosines, &labels, &margins, 30.0, Some(&weights))?;
//! assert!(class_weighted_mean(&losses, &labels, &weights)?.to_scalar::<f32>()? > 0.0);
//! # Ok::<(), mr2_loss::candle_core::Error>(())
//! ```

mod arguments;
mod balanced_softmax;
mod centre_loss;
mod class_balanced;
mod cvar;
mod focal;
mod group_dro;
mod jtt;
mod ldam;
mod lff;
mod list;
mod logit_adjustment;
mod resampling;
mod sam;
mod sample_weights;
mod saved_state;
mod supcon;
mod vector_scaling;

pub use balanced_softmax::balanced_softmax;
pub use centre_loss::{centre_loss, centre_step};
pub use class_balanced::{class_balanced_weights, class_weighted_mean, weighted_cross_entropy};
pub use cvar::cvar;
pub use focal::{FocalProbability, focal};
pub use group_dro::{AbsentClasses, GroupWeights, class_mean_losses, group_dro};
pub use jtt::{error_set, jtt_weights};
pub use ldam::{ldam, ldam_margins};
pub use lff::{SampleLosses, generalized_cross_entropy, lff_weights};
pub use list::Baseline;
pub use logit_adjustment::{logit_adjusted, post_hoc_adjusted};
pub use resampling::resampling_probabilities;
pub use sam::{Perturbed, Sharpness, apply, perturbation};
pub use sample_weights::sample_weighted;
pub use supcon::supcon;
pub use vector_scaling::vector_scaling;
