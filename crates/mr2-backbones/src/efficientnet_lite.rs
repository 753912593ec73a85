//! EfficientNet-Lite: Tan and Le 2019 (arXiv 1905.11946) without squeeze-and-excitation and with ReLU6, as Google
//! published it for small devices (github.com/tensorflow/tpu, `models/official/efficientnet/lite`).
//!
//! Names and start are those of timm's `tf_efficientnet_lite0` (`conv_stem`, `bn1`, `blocks.0.0.conv_dw`, ...,
//! `conv_head`, `bn2`, `classifier`). Zeros around images follow TensorFlow's SAME: at stride 2 and an even size there is one
//! more behind the image than before it.
use candle_core::{Result, Tensor, bail};
use candle_nn::{Init, VarBuilder};
use mr2_nn::graph::{Act, Ctx};
use mr2_nn::layers::{BatchNorm2d, BatchNormConfig, Conv2d, Conv2dConfig, ConvBn};
use mr2_nn::model::Backbone;
use serde::{Deserialize, Serialize};

use crate::head::Classifier;
use crate::registry::BuildConfig;

/// TensorFlow's epsilon; timm trains with PyTorch's momentum.
pub(crate) const BATCH_NORM: BatchNormConfig = BatchNormConfig {
    eps: 1e-3,
    momentum: 0.1,
};

/// Channels are multiples of this.
const DIVISOR: usize = 8;

/// Kernel, stride, expansion, channels and blocks of each stage of EfficientNet-B0.
const STAGES: [Stage; 7] = [
    Stage::new(3, 1, 1, 16, 1),
    Stage::new(3, 2, 6, 24, 2),
    Stage::new(5, 2, 6, 40, 2),
    Stage::new(3, 2, 6, 80, 3),
    Stage::new(5, 1, 6, 112, 3),
    Stage::new(5, 2, 6, 192, 4),
    Stage::new(3, 1, 6, 320, 1),
];

/// Width and depth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EfficientNetLiteConfig {
    /// Factor of the stages' channels: 1 for Lite0 and Lite1, 1.4 for Lite4. Channels are rounded to multiples of 8.
    pub width: f64,
    /// Factor of the blocks of all stages but the first and the last, rounded up: 1 for Lite0, 1.8 for Lite4.
    pub depth: f64,
    /// Channels of the stem; 32, whatever the width.
    pub stem: usize,
    /// Length of the feature; 1280, whatever the width.
    pub features: usize,
}

/// The smallest of them.
pub const LITE0: EfficientNetLiteConfig = EfficientNetLiteConfig {
    width: 1.0,
    depth: 1.0,
    stem: 32,
    features: 1280,
};

/// The net; its feature is the mean of the last feature map.
#[derive(Debug, Clone)]
pub struct EfficientNetLite {
    stem: ConvBn,
    blocks: Vec<Block>,
    last: ConvBn,
    head: Classifier,
    classes: usize,
    feature_dim: usize,
}

impl EfficientNetLite {
    /// Builds the net. [`BuildConfig::dropout`] is not looked at.
    ///
    /// # Errors
    /// A width or depth that is not positive, sizes of 0, or those of the `VarBuilder`.
    pub fn new(net: &EfficientNetLiteConfig, config: &BuildConfig, vb: VarBuilder) -> Result<Self> {
        for (name, factor) in [("width", net.width), ("depth", net.depth)] {
            if !(factor > 0.0 && factor.is_finite()) {
                bail!("{name}: must be positive and finite, got {factor}")
            }
        }
        let stem = Window::new(config.in_channels, net.stem, 3, 2);
        let stem = unit(stem, ["conv_stem", "bn1"], &vb)?;
        let mut blocks = Vec::new();
        let mut channels = net.stem;
        for (number, stage) in STAGES.into_iter().enumerate() {
            let out_channels = rounded(stage.channels as f64 * net.width);
            let is_outermost = number == 0 || number == STAGES.len() - 1;
            for block in 0..stage.scaled_blocks(if is_outermost { 1.0 } else { net.depth }) {
                let stride = if block == 0 { stage.stride } else { 1 };
                let window = Window::new(channels, out_channels, stage.kernel, stride);
                let vb = vb.pp(format!("blocks.{number}.{block}"));
                blocks.push(Block::new(window, stage.expansion, &vb)?);
                channels = out_channels;
            }
        }
        let last = Window::new(channels, net.features, 1, 1);
        let bound = 1.0 / (config.classes as f64).sqrt();
        let head_start = [
            Init::Uniform {
                lo: -bound,
                up: bound,
            },
            Init::Const(0.0),
        ];
        Ok(Self {
            stem,
            blocks,
            last: unit(last, ["conv_head", "bn2"], &vb)?,
            head: Classifier::new(
                &config.head,
                net.features,
                config.classes,
                head_start,
                vb.pp("classifier"),
            )?,
            classes: config.classes,
            feature_dim: net.features,
        })
    }
}

impl Backbone for EfficientNetLite {
    fn features(&self, cx: &Ctx, images: &Act) -> Result<Tensor> {
        let mut x = self.stem.forward_relu6(cx, images)?;
        for block in &self.blocks {
            x = block.forward(cx, &x)?;
        }
        self.last.forward_relu6(cx, &x)?.mean_hw()
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

/// Blocks of one shape.
#[derive(Debug, Clone, Copy)]
struct Stage {
    kernel: usize,
    stride: usize,
    expansion: usize,
    channels: usize,
    blocks: usize,
}

impl Stage {
    const fn new(
        kernel: usize,
        stride: usize,
        expansion: usize,
        channels: usize,
        blocks: usize,
    ) -> Self {
        Self {
            kernel,
            stride,
            expansion,
            channels,
            blocks,
        }
    }

    fn scaled_blocks(&self, depth: f64) -> usize {
        (self.blocks as f64 * depth).ceil() as usize
    }
}

/// The nearest multiple of [`DIVISOR`], or the next one where that would cost more than a tenth.
fn rounded(channels: f64) -> usize {
    let nearest = (channels / DIVISOR as f64 + 0.5).floor().max(1.0) as usize * DIVISOR;
    match (nearest as f64) < 0.9 * channels {
        true => nearest + DIVISOR,
        false => nearest,
    }
}

/// The inverted residual of MobileNetV2 (arXiv 1801.04381): wide in the middle, where each channel is convolved by
/// itself, and no rectifier behind the last convolution.
#[derive(Debug, Clone)]
struct Block {
    expand: Option<ConvBn>,
    each: ConvBn,
    project: ConvBn,
    skips: bool,
}

impl Block {
    fn new(window: Window, expansion: usize, vb: &VarBuilder) -> Result<Self> {
        let Window {
            in_channels,
            out_channels,
            kernel,
            stride,
            ..
        } = window;
        let inner = in_channels * expansion;
        let (expand, each, project) = match expansion {
            1 => (None, ["conv_dw", "bn1"], ["conv_pw", "bn2"]),
            _ => {
                let expand = Window::new(in_channels, inner, 1, 1);
                let expand = unit(expand, ["conv_pw", "bn1"], vb)?;
                (Some(expand), ["conv_dw", "bn2"], ["conv_pwl", "bn3"])
            }
        };
        let window = Window {
            groups: inner,
            ..Window::new(inner, inner, kernel, stride)
        };
        Ok(Self {
            expand,
            each: unit(window, each, vb)?,
            project: unit(Window::new(inner, out_channels, 1, 1), project, vb)?,
            skips: stride == 1 && in_channels == out_channels,
        })
    }

    fn forward(&self, cx: &Ctx, x: &Act) -> Result<Act> {
        let y = match &self.expand {
            Some(expand) => expand.forward_relu6(cx, x)?,
            None => x.clone(),
        };
        let y = self.each.forward_relu6(cx, &y)?;
        match self.skips {
            true => self.project.forward_add(cx, &y, x),
            false => self.project.forward(cx, &y),
        }
    }
}

/// The sizes of a convolution.
#[derive(Debug, Clone, Copy)]
struct Window {
    in_channels: usize,
    out_channels: usize,
    kernel: usize,
    stride: usize,
    groups: usize,
}

impl Window {
    fn new(in_channels: usize, out_channels: usize, kernel: usize, stride: usize) -> Self {
        Self {
            in_channels,
            out_channels,
            kernel,
            stride,
            groups: 1,
        }
    }
}

/// A convolution and its batch normalisation, from their names. The weight starts as TensorFlow's do: normal by the
/// fan-out of one group.
fn unit(window: Window, [conv_name, bn_name]: [&str; 2], vb: &VarBuilder) -> Result<ConvBn> {
    let Window {
        in_channels,
        out_channels,
        kernel,
        stride,
        groups,
    } = window;
    let config = Conv2dConfig {
        stride,
        padding: 0,
        dilation: 1,
        groups,
        bias: false,
    };
    let fan_out = kernel * kernel * out_channels / groups.max(1);
    let init = Init::Randn {
        mean: 0.0,
        stdev: (2.0 / fan_out as f64).sqrt(),
    };
    let vb_conv = vb.pp(conv_name);
    let conv = Conv2d::with_init(in_channels, out_channels, kernel, config, init, vb_conv)?;
    let bn = BatchNorm2d::new(out_channels, BATCH_NORM, vb.pp(bn_name))?;
    ConvBn::from_parts(conv.padded_to_same(), bn)
}
