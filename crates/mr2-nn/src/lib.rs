//! What Candle lacks for training image models: layers, optimisers, schedules and one
//! backward, with PyTorch's semantics.
//!
//! - [`graph`]: a [`Ctx`](graph::Ctx) holds what a training step needs, an [`Act`](graph::Act) is
//!   the handle of an activation. On the CPU activations live outside Candle, in buffers that are used again
//!   every step; features, logits, losses and anything else are ordinary Candle tensors.
//! - [`layers`]: convolution, batch norm, pooling, dropout and heads; linear layers, layer norm and
//!   attention on sequences ([`Ctx::enter_tokens`](graph::Ctx::enter_tokens)); built from a candle-nn
//!   `VarBuilder`. [`layers::AsModule`] makes a candle-nn `Module` of any of them.
//! - [`params`]: an ordered, seeded store behind a `VarBuilder`, which keeps buffers apart.
//! - [`optim`], [`schedule`]: SGD and AdamW with parameter groups, clipping, learning rates as
//!   functions of the step.
//! - [`ops`]: fused losses on ordinary tensors, with gradients, and augmentation; [`rows`]: products and a loss on plain slices.
//! - [`rng`]: random numbers as functions of a seed and an index; [`init`]: initial values.
//! - [`model`]: what a trainer needs of a network; [`machine`]: what the CPU can do, for benchmarks.
//!
//! The one rule to know: a loss that was computed through layers is differentiated by
//! [`Ctx::backward`](graph::Ctx::backward), not by the tensor's own `backward`, which says so. The
//! result is Candle's `GradStore`, for our optimisers or any other.
//!
//! On the CPU layers compute in f32 or f64, and results have the same bits on any number of threads. With the feature
//! `cuda` (and `cudnn`, for convolutions) the same calls compute on an NVIDIA GPU, in f32, bf16 or f16: the module
//! `cuda` opens it, parameters stay f32, and nothing else changes.
//!
//! # A step of training
//!
//! ```
//! use mr2_nn::candle_core::{DType, Device, Result, Tensor};
//! use candle_nn::Module;
//! use mr2_nn::graph::{Ctx, Mode};
//! use mr2_nn::layers::{BatchNormConfig, ConvBn, linear};
//! use mr2_nn::ops::{Target, cross_entropy};
//! use mr2_nn::optim::{Optimizer, ParamGroup, Sgd, SgdConfig};
//! use mr2_nn::params::ParamStore;
//!
//! # fn main() -> Result<()> {
//! // A net of one convolution and a linear head; names and initial values come from the store.
//! let store = ParamStore::new(7, DType::F32, &Device::Cpu);
//! let vb = store.var_builder();
//! let norm = BatchNormConfig { eps: 1e-5, momentum: 0.1 };
//! let conv = ConvBn::new(3, 16, 3, 1, 1, norm, vb.pp("conv1"), vb.pp("bn1"))?;
//! let head = linear(16, 2, vb.pp("fc"))?;
//!
//! let params = ParamGroup { params: store.parameters(), lr_scale: 1.0, weight_decay: 1e-4 };
//! let mut sgd = Sgd::new(vec![params], SgdConfig { momentum: 0.9, nesterov: true })?;
//!
//! let cx = Ctx::new(&Device::Cpu, DType::F32, Mode::Train)?;
//! let images = Tensor::rand(0f32, 1f32, (4, 3, 8, 8), &Device::Cpu)?;
//! let mut losses = Vec::new();
//! for _step in 0..5 {
//!     let features = conv.forward_relu(&cx, &cx.enter(&images)?)?.mean_hw()?; // (4, 16)
//!     let logits = head.forward(&features)?; // ordinary Candle from here on
//!     let loss = cross_entropy(&logits, Target::Hard(&[0, 1, 1, 0]), None)?.mean_all()?;
//!     let gradients = cx.backward(&loss)?;
//!     sgd.step(&gradients, 0.1)?;
//!     losses.push(loss.to_scalar::<f32>()?);
//! }
//! assert!(losses[4] < losses[0]);
//! # Ok(())
//! # }
//! ```
//!
//! # From candle_nn
//!
//! Names of parameters are the same, so weights fit. What changes: the context, and who differentiates.
//!
//! ```
//! use candle_nn::{Conv2dConfig, Module, ModuleT, VarBuilder, batch_norm};
//! use mr2_nn::candle_core::{DType, Device, Result, Tensor};
//! use mr2_nn::graph::{Ctx, Mode};
//! use mr2_nn::layers::{BatchNormConfig, ConvBn};
//!
//! fn before(images: &Tensor, vb: VarBuilder) -> Result<Tensor> {
//!     let padded = Conv2dConfig { padding: 1, ..Default::default() };
//!     let conv = candle_nn::conv2d_no_bias(3, 16, 3, padded, vb.pp("conv1"))?;
//!     let norm = batch_norm(16, 1e-5, vb.pp("bn1"))?;
//!     norm.forward_t(&conv.forward(images)?, true)?.relu()?.mean((2, 3))
//! }
//!
//! fn after(cx: &Ctx, images: &Tensor, vb: VarBuilder) -> Result<Tensor> {
//!     let norm = BatchNormConfig { eps: 1e-5, momentum: 0.1 };
//!     let unit = ConvBn::new(3, 16, 3, 1, 1, norm, vb.pp("conv1"), vb.pp("bn1"))?;
//!     unit.forward_relu(cx, &cx.enter(images)?)?.mean_hw() // and cx.backward(&loss), not loss.backward()
//! }
//! # fn main() -> Result<()> {
//! let store = mr2_nn::params::ParamStore::new(7, DType::F32, &Device::Cpu);
//! let images = Tensor::rand(0f32, 1f32, (4, 3, 8, 8), &Device::Cpu)?;
//! let cx = Ctx::new(&Device::Cpu, DType::F32, Mode::Train)?;
//! let ours = after(&cx, &images, store.var_builder())?;
//! let difference = (before(&images, store.var_builder())? - ours)?.abs()?.max_all()?;
//! assert!(difference.to_scalar::<f32>()? < 1e-5);
//! # Ok(())
//! # }
//! ```
//!
//! On a Xeon with AVX-512, eight such units of 32 channels take a seventeenth of candle-nn's CPU time, forward and
//! backward (`experiments/bench/compare candle` of the repository).

#[cfg(feature = "cuda")]
pub mod cuda;
pub mod graph;
pub mod init;
pub mod layers;
pub mod machine;
pub mod model;
pub mod ops;
pub mod optim;
pub mod params;
pub mod rng;
pub mod rows;
pub mod schedule;

mod kernels;
mod weight_differences;

/// The Candle that this crate was built with.
pub use candle_core;
