//! Wide residual nets, WRN-d-k (Zagoruyko and Komodakis 2016, arXiv 1605.07146).
//!
//! Names and start are those of the PyTorch implementation xternalz/WideResNet-pytorch (`conv1`,
//! `block1.layer.0.bn1`, ..., `convShortcut`, `bn1`, `fc`): convolutions Kaiming-normal by fan-out, the
//! head's weight PyTorch's default, its bias 0.
//!
//! The WRN in the code of the authors of MR² (BeierZhu/MR2) is another net: there the projection takes
//! the block's input itself, not `relu(bn1(x))`, dropout comes before `bn2`, and names and start are
//! those of [`crate::cifar_resnet`].
use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use mr2_nn::graph::{Act, Ctx};
use mr2_nn::init::{KAIMING_NORMAL_FAN_OUT, ZEROS, pytorch_default};
use mr2_nn::layers::{BatchNorm2d, Conv2d};
use mr2_nn::model::Backbone;
use serde::{Deserialize, Serialize};

use crate::head::Classifier;
use crate::preact_block::PreActBlock;
use crate::registry::BuildConfig;
use crate::stages::{BATCH_NORM, blocks_per_stage, conv, stages};

/// Depth and widths.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WideResNetConfig {
    /// Layers with weights, 6 n + 4: 16, 28, 40.
    pub depth: usize,
    /// The widening factor k.
    pub widen: usize,
    /// Channels of the stem; the stages have k, 2 k and 4 k times as many. 16 in the paper.
    pub width: usize,
}

/// The net; its feature has 4 k times the stem's width. Dropout lies between a block's two
/// convolutions.
#[derive(Debug, Clone)]
pub struct WideResNet {
    stem: Conv2d,
    blocks: Vec<PreActBlock>,
    last_bn: BatchNorm2d,
    head: Classifier,
    classes: usize,
    feature_dim: usize,
}

impl WideResNet {
    /// Builds the net.
    ///
    /// # Errors
    /// A depth that is not 6 n + 4, sizes of 0, a dropout outside `[0, 1)`, or those of the
    /// `VarBuilder`.
    pub fn new(net: &WideResNetConfig, config: &BuildConfig, vb: VarBuilder) -> Result<Self> {
        let WideResNetConfig {
            depth,
            widen,
            width,
        } = *net;
        let n = blocks_per_stage(depth, 4)?;
        let feature_dim = 4 * widen * width;
        let path = |stage, block| format!("block{stage}.layer.{block}");
        let widths = [widen * width, 2 * widen * width, feature_dim];
        let start = KAIMING_NORMAL_FAN_OUT;
        let head_start = [pytorch_default(feature_dim), ZEROS];
        Ok(Self {
            stem: conv(config.in_channels, width, 3, 1, start, vb.pp("conv1"))?,
            blocks: stages(width, widths, [n; 3], &vb, path, |place, vb| {
                PreActBlock::new(place, config.dropout, "convShortcut", start, vb)
            })?,
            last_bn: BatchNorm2d::new(feature_dim, BATCH_NORM, vb.pp("bn1"))?,
            head: Classifier::new(
                &config.head,
                feature_dim,
                config.classes,
                head_start,
                vb.pp("fc"),
            )?,
            classes: config.classes,
            feature_dim,
        })
    }
}

impl Backbone for WideResNet {
    fn features(&self, cx: &Ctx, images: &Act) -> Result<Tensor> {
        let mut x = self.stem.forward(cx, images)?;
        for block in &self.blocks {
            x = block.forward(cx, &x)?;
        }
        self.last_bn.forward_relu(cx, &x)?.mean_hw()
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
