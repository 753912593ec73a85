//! Pre-activation residual nets for small images (He et al. 2016, arXiv 1603.05027).
//!
//! Stages, depths, widths and start of [`crate::cifar_resnet`]. Blocks are joined and named as in the
//! code of the authors of MR², BeierZhu/MR2 (`layer1.0.bn1`, ..., `shortcut`, `bn`, `linear`), and the
//! last one is followed by batch normalisation and ReLU, as in the paper. (Their code starts these
//! nets from PyTorch's default.)
use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use mr2_nn::graph::{Act, Ctx};
use mr2_nn::init::{KAIMING_NORMAL_FAN_IN, pytorch_default};
use mr2_nn::layers::{BatchNorm2d, Conv2d};
use mr2_nn::model::Backbone;
use serde::{Deserialize, Serialize};

use crate::head::Classifier;
use crate::preact_block::PreActBlock;
use crate::registry::BuildConfig;
use crate::stages::{BATCH_NORM, blocks_per_stage, conv, stages};

/// Depth and width.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreActResNetConfig {
    /// Layers with weights, 6 n + 2: 20, 32, 44, 56, 110.
    pub depth: usize,
    /// Channels of the first stage, doubled in each later one; 16 in the paper.
    pub width: usize,
}

/// The net; its feature has four times the width.
#[derive(Debug, Clone)]
pub struct PreActResNet {
    stem: Conv2d,
    blocks: Vec<PreActBlock>,
    last_bn: BatchNorm2d,
    head: Classifier,
    classes: usize,
    feature_dim: usize,
}

impl PreActResNet {
    /// Builds the net. [`BuildConfig::dropout`] is not looked at: these nets have none.
    ///
    /// # Errors
    /// A depth that is not 6 n + 2, sizes of 0, or those of the `VarBuilder`.
    pub fn new(net: &PreActResNetConfig, config: &BuildConfig, vb: VarBuilder) -> Result<Self> {
        let PreActResNetConfig { depth, width } = *net;
        let n = blocks_per_stage(depth, 2)?;
        let feature_dim = 4 * width;
        let path = |stage, block| format!("layer{stage}.{block}");
        let widths = [width, 2 * width, feature_dim];
        let start = KAIMING_NORMAL_FAN_IN;
        let head_start = [start, pytorch_default(feature_dim)];
        Ok(Self {
            stem: conv(config.in_channels, width, 3, 1, start, vb.pp("conv1"))?,
            blocks: stages(width, widths, [n; 3], &vb, path, |place, vb| {
                PreActBlock::new(place, 0.0, "shortcut", start, vb)
            })?,
            last_bn: BatchNorm2d::new(feature_dim, BATCH_NORM, vb.pp("bn"))?,
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

impl Backbone for PreActResNet {
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
