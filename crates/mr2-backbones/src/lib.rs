//! Image classifiers to train on [Candle](candle_core), from scratch or from published weights, with the feature and
//! the head apart.
//!
//! A model is a [`Backbone`]: `features` turns images into an ordinary Candle tensor, `head` turns
//! that into logits, `forward` is the one after the other. Losses that look at features, probes and
//! analyses need no hooks. Whether a pass trains is said by its context ([`mr2_nn::graph::Ctx`]).
//!
//! - [`registry`]: all architectures by name, and [`build`].
//! - [`cifar_resnet`]: ResNet-8 to ResNet-110 for small images, shortcuts A and B.
//! - [`preact_resnet`]: the same with pre-activation blocks.
//! - [`wide_resnet`]: WRN-d-k with dropout.
//! - [`vit`]: Vision Transformers, those of MAE, CLIP and DINOv2 among them.
//! - [`resnet`]: ResNet-18 to ResNet-152 for photographs, as in torchvision.
//! - [`efficientnet_lite`]: EfficientNet-Lite for photographs.
//! - [`clip_resnet`]: the residual image towers of CLIP.
//! - [`clip_text`]: the text tower of CLIP, its tokenizer, and classifiers made of texts.
//! - [`head`]: the linear and the cosine head.
//! - [`pretrained`]: published models by name, with the preprocessing that belongs to their weights.
//! - [`weights`]: published weights, under whichever names: read, renamed and loaded strictly; with the feature
//!   `hub`, from the Hugging Face Hub.
//!
//! Any number of input channels will do, and for residual nets any image size: the last feature map is
//! averaged. A transformer takes the one size that its positions fit ([`Entry::image_size`]).
//! Parameters have the names of the PyTorch implementation that each module cites, so that its state
//! dicts load ([`mr2_nn::params::ParamStore::load`]). What they start from is said there too; it is
//! drawn from the seed of the `ParamStore` and the parameter's name.
//!
//! # One step of training
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use mr2_backbones::{BuildConfig, Head, build};
//! use mr2_nn::graph::{Ctx, Mode};
//! use mr2_nn::ops::{Target, cross_entropy};
//! use mr2_nn::optim::{Optimizer, ParamGroup, Sgd, SgdConfig};
//! use mr2_nn::params::ParamStore;
//!
//! let store = ParamStore::new(7, DType::F32, &Device::Cpu);
//! let config = BuildConfig { in_channels: 1, classes: 10, head: Head::Linear, dropout: 0.0 };
//! let model = build("resnet8", &config, store.var_builder())?;
//! let group = ParamGroup { params: store.parameters(), lr_scale: 1.0, weight_decay: 5e-4 };
//! let mut sgd = Sgd::new(vec![group], SgdConfig { momentum: 0.9, nesterov: false })?;
//!
//! let images = Tensor::ones((4, 1, 28, 28), DType::F32, &Device::Cpu)?;
//! let labels = [3, 1, 4, 1];
//! let cx = Ctx::new(&Device::Cpu, DType::F32, Mode::Train)?;
//! cx.begin_step(7, 0);
//! let features = model.features(&cx, &cx.enter(&images)?)?;
//! let logits = model.head(&cx, &features)?;
//! let loss = cross_entropy(&logits, Target::Hard(&labels), None)?.mean_all()?;
//! sgd.step(&cx.backward(&loss)?, 0.1)?;
//! # assert_eq!(features.dims(), [4, model.feature_dim()]);
//! # Ok::<(), candle_core::Error>(())
//! ```
pub mod cifar_resnet;
pub mod clip_resnet;
pub mod clip_text;
pub mod efficientnet_lite;
pub mod head;
mod parameter_count;
mod preact_block;
pub mod preact_resnet;
pub mod pretrained;
pub mod registry;
pub mod resnet;
mod stages;
pub mod vit;
pub mod weights;
pub mod wide_resnet;

pub use candle_core;
pub use head::Head;
pub use mr2_nn::model::Backbone;
pub use parameter_count::parameter_count;
pub use registry::{BuildConfig, Entry, LayerSettings, build, entries};
