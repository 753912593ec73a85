//! Margin and representation losses that reduce class-wise accuracy disparity, on Candle.
//!
//! MR² (arXiv 2602.00205) adds to cross-entropy what the spread of each class's features says:
//!
//! - the *logit margin*: the logits of a sample are divided by the margin `γ` of its class
//!   ([`gamma`], [`logit_margin`]);
//! - the *representation margin*: features of one class are drawn together
//!   ([`representation_margin`]).
//!
//! Both are functions of tensors and a plain config. They own no state and give a value per
//! sample; [`reduce`] makes one number of them and [`mr2()`] combines them. What changes over time
//! is [`ClassStats`], whose [`Snapshot`] they read: `γ` and the threshold `s̄` are constants in the
//! backward pass; and, where samples are drawn to those of earlier batches, a [`FeatureMemory`]. Every published variant is a [`Preset`].
//!
//! ```
//! use mr2_loss::candle_core::{DType, Device, Tensor, Var};
//! use mr2_loss::{ClassStats, Pairs, Preset, Target, mr2};
//!
//! let config = Preset::Recommended.config();
//! let mut stats = ClassStats::new(config.stats.clone(), 3, 2, DType::F32, &Device::Cpu)?;
//!
//! // One step: features and logits come from a model, labels from the loader.
//! let features = Var::new(&[[1f32, 0.], [3., 0.], [0., 5.], [0., 4.]], &Device::Cpu)?;
//! let logits = Var::new(&[[2f32, 1., 0.], [1., 1., 0.], [0., 0., 3.], [0., 1., 1.]], &Device::Cpu)?;
//! let labels = [0, 0, 2, 2];
//! let pairs = Pairs::new(&labels, 3)?;
//! stats.observe(&features, &pairs)?;
//! let target = Target::Hard(&labels);
//! let terms = mr2(&logits, target, &features, &pairs, &stats.snapshot()?, &config)?;
//!
//! let grads = terms.total.backward()?;
//! assert!(grads.get(&logits).is_some() && grads.get(&features).is_some());
//! // The margins average to the budget; the class that nobody has seen has the budget itself.
//! let gamma = terms.gamma.to_vec1::<f32>()?;
//! assert!((gamma.iter().sum::<f32>() / 3.0 - config.gamma.budget as f32).abs() < 1e-6);
//! assert_eq!(gamma[1], config.gamma.budget as f32);
//! # Ok::<(), mr2_loss::candle_core::Error>(())
//! ```
//!
//! Plain, label-smoothed and soft-target [`cross_entropy`] is here too, for the same [`Target`]s, and
//! the rival methods to compare with are in [`baselines`].

pub mod baselines;

mod config;
mod gamma;
mod labels;
mod logit_margin;
mod memory;
mod mr2;
mod preset;
mod reduction;
mod representation;

pub use candle_core;
pub use config::{
    ClassCount, ExponentScale, GammaConfig, GammaSource, Mr2Config, Positives, Reduction,
    RepresentationConfig, SpreadRule,
};
pub use gamma::{gamma, spread_threshold};
pub use labels::labels_from_tensor;
pub use logit_margin::{logit_margin, mixed_logit_margin, soft_logit_margin};
pub use memory::FeatureMemory;
pub use mr2::{Mr2Terms, mr2, mr2_with_memory};
pub use mr2_nn::ops::{Target, cross_entropy};
pub use mr2_stats::{Centre, ClassStats, Estimator, Pairs, Snapshot, StatsConfig, exact};
pub use preset::Preset;
pub use reduction::{reduce, reduce_with_memory};
pub use representation::{
    representation_margin, representation_margin_at_most, representation_margin_with_memory,
};
