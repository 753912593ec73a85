//! The residual nets for 32 x 32 images of He et al. 2015 (arXiv 1512.03385, section 4.2).
//!
//! Names, shortcuts and start are those of the PyTorch implementation
//! akamaster/pytorch_resnet_cifar10 (`conv1`, `bn1`, `layer1.0.conv1`, ..., `linear`): convolutions and
//! the head's weight Kaiming-normal by fan-in, its bias PyTorch's default.
use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use mr2_nn::graph::{Act, Ctx};
use mr2_nn::init::{KAIMING_NORMAL_FAN_IN, pytorch_default};
use mr2_nn::layers::{BatchNorm2d, ConvBn};
use mr2_nn::model::Backbone;
use serde::{Deserialize, Serialize};

use crate::head::Classifier;
use crate::registry::BuildConfig;
use crate::stages::{BATCH_NORM, Place, blocks_per_stage, conv, stages};

/// What joins two stages of different width and image size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shortcut {
    /// Every second pixel, and zeros for the new channels: no parameters.
    A,
    /// A 1 x 1 convolution with batch normalisation.
    B,
}

/// Depth, width and shortcut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CifarResNetConfig {
    /// Layers with weights, 6 n + 2: 8, 20, 32, 44, 56, 110.
    pub depth: usize,
    /// Channels of the first stage, doubled in each later one; 16 in the paper.
    pub width: usize,
    /// The joint between stages.
    pub shortcut: Shortcut,
}

/// The net; its feature has four times the width.
#[derive(Debug, Clone)]
pub struct CifarResNet {
    stem: ConvBn,
    blocks: Vec<Block>,
    head: Classifier,
    classes: usize,
    feature_dim: usize,
}

impl CifarResNet {
    /// Builds the net. [`BuildConfig::dropout`] is not looked at: these nets have none.
    ///
    /// # Errors
    /// A depth that is not 6 n + 2, sizes of 0, or those of the `VarBuilder`.
    pub fn new(net: &CifarResNetConfig, config: &BuildConfig, vb: VarBuilder) -> Result<Self> {
        let CifarResNetConfig {
            depth,
            width,
            shortcut,
        } = *net;
        let n = blocks_per_stage(depth, 2)?;
        let start = KAIMING_NORMAL_FAN_IN;
        let stem = conv(config.in_channels, width, 3, 1, start, vb.pp("conv1"))?;
        let feature_dim = 4 * width;
        let widths = [width, 2 * width, feature_dim];
        let head_start = [start, pytorch_default(feature_dim)];
        let path = |stage, block| format!("layer{stage}.{block}");
        Ok(Self {
            stem: ConvBn::from_parts(stem, BatchNorm2d::new(width, BATCH_NORM, vb.pp("bn1"))?)?,
            blocks: stages(width, widths, [n; 3], &vb, path, |place, vb| {
                Block::new(place, shortcut, vb)
            })?,
            head: Classifier::new(
                &config.head,
                feature_dim,
                config.classes,
                head_start,
                vb.pp("linear"),
            )?,
            classes: config.classes,
            feature_dim,
        })
    }
}

impl Backbone for CifarResNet {
    fn features(&self, cx: &Ctx, images: &Act) -> Result<Tensor> {
        let mut x = self.stem.forward_relu(cx, images)?;
        for block in &self.blocks {
            x = block.forward(cx, &x)?;
        }
        x.mean_hw()
    }

    fn head(&self, _cx: &Ctx, features: &Tensor) -> Result<Tensor> {
        self.head.forward(features)
    }

    fn feature_dim(&self) -> usize {
        self.feature_dim
    }

    fn classes(&self) -> usize {
        self.classes
    }

    fn head_weight(&self) -> &Tensor {
        self.head.weight()
    }
}

#[derive(Debug, Clone)]
struct Block {
    first: ConvBn,
    second: ConvBn,
    skip: Skip,
}

#[derive(Debug, Clone)]
enum Skip {
    Identity,
    SubsamplePad { stride: usize, out_channels: usize },
    Project(ConvBn),
}

impl Block {
    fn new(place: Place, shortcut: Shortcut, vb: VarBuilder) -> Result<Self> {
        let Place {
            in_channels,
            out_channels,
            stride,
        } = place;
        let unit = |in_channels, kernel, stride, conv_name: &str, bn_name: &str| {
            let (start, conv_vb) = (KAIMING_NORMAL_FAN_IN, vb.pp(conv_name));
            let conv = conv(in_channels, out_channels, kernel, stride, start, conv_vb)?;
            ConvBn::from_parts(
                conv,
                BatchNorm2d::new(out_channels, BATCH_NORM, vb.pp(bn_name))?,
            )
        };
        Ok(Self {
            first: unit(in_channels, 3, stride, "conv1", "bn1")?,
            second: unit(out_channels, 3, 1, "conv2", "bn2")?,
            skip: match shortcut {
                _ if in_channels == out_channels && stride == 1 => Skip::Identity,
                Shortcut::A => Skip::SubsamplePad {
                    stride,
                    out_channels,
                },
                Shortcut::B => {
                    Skip::Project(unit(in_channels, 1, stride, "shortcut.0", "shortcut.1")?)
                }
            },
        })
    }

    fn forward(&self, cx: &Ctx, x: &Act) -> Result<Act> {
        let y = self.first.forward_relu(cx, x)?;
        let skip = match &self.skip {
            Skip::Identity => x.clone(),
            Skip::SubsamplePad {
                stride,
                out_channels,
            } => x.subsample_pad(*stride, *out_channels)?,
            Skip::Project(unit) => unit.forward(cx, x)?,
        };
        self.second.forward_add_relu(cx, &y, &skip)
    }
}
