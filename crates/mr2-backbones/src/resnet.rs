//! The residual nets for photographs of He et al. 2015 (arXiv 1512.03385, table 1), as torchvision has them.
//!
//! Names and start are those of `torchvision.models.resnet` (`conv1`, `bn1`, `layer1.0.conv1`, ...,
//! `layer1.0.downsample.0`, `fc`): convolutions Kaiming-normal by fan-out, the head PyTorch's default. In the
//! deeper nets' blocks the 3 x 3 convolution has the stride ("v1.5"), where the paper gives it to the first 1 x 1.
use candle_core::{Result, Tensor, bail};
use candle_nn::VarBuilder;
use mr2_nn::graph::{Act, Ctx};
use mr2_nn::init::{KAIMING_NORMAL_FAN_OUT, pytorch_default};
use mr2_nn::layers::{BatchNorm2d, ConvBn, MaxPool2d};
use mr2_nn::model::Backbone;
use serde::{Deserialize, Serialize};

use crate::head::Classifier;
use crate::registry::BuildConfig;
use crate::stages::{BATCH_NORM, Place, conv, stages};

/// How much wider a bottleneck's output is than its 3 x 3 convolution.
const EXPANSION: usize = 4;

/// Side of the windows, distance and padding of the maximum behind the stem.
const STEM_POOL: MaxPool2d = MaxPool2d {
    kernel: 3,
    stride: 2,
    padding: 1,
};

/// What a stage is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockKind {
    /// Two 3 x 3 convolutions.
    Basic,
    /// 1 x 1, 3 x 3 and 1 x 1; the last has four times the channels.
    Bottleneck,
}

/// Blocks and width.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResNetConfig {
    /// The kind of block.
    pub block: BlockKind,
    /// Blocks of each stage: `[2, 2, 2, 2]` for ResNet-18, `[3, 4, 6, 3]` for 34 and 50.
    pub blocks: [usize; 4],
    /// Channels of the stem and of the first stage's 3 x 3 convolutions, doubled in each later stage; 64 in the paper.
    pub width: usize,
}

/// The net; its feature has 8 times the width, and with bottlenecks 32 times.
#[derive(Debug, Clone)]
pub struct ResNet {
    stem: ConvBn,
    blocks: Vec<Block>,
    head: Classifier,
    classes: usize,
    feature_dim: usize,
}

impl ResNet {
    /// Builds the net. [`BuildConfig::dropout`] is not looked at: these nets have none.
    ///
    /// # Errors
    /// A stage without blocks, sizes of 0, or those of the `VarBuilder`.
    pub fn new(net: &ResNetConfig, config: &BuildConfig, vb: VarBuilder) -> Result<Self> {
        let ResNetConfig {
            block,
            blocks,
            width,
        } = *net;
        if blocks.contains(&0) {
            bail!("blocks: each stage needs at least 1, got {blocks:?}")
        }
        let expansion = match block {
            BlockKind::Basic => 1,
            BlockKind::Bottleneck => EXPANSION,
        };
        let widths = [1, 2, 4, 8].map(|factor| factor * width * expansion);
        let feature_dim = widths[3];
        let path = |stage, block| format!("layer{stage}.{block}");
        let head_start = [pytorch_default(feature_dim); 2];
        Ok(Self {
            stem: unit([config.in_channels, width], 7, 2, ["conv1", "bn1"], &vb)?,
            blocks: stages(width, widths, blocks, &vb, path, |place, vb| match block {
                BlockKind::Basic => Block::basic(place, &vb),
                BlockKind::Bottleneck => Block::bottleneck(place, &vb),
            })?,
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

impl Backbone for ResNet {
    fn features(&self, cx: &Ctx, images: &Act) -> Result<Tensor> {
        let x = self.stem.forward_relu(cx, images)?;
        let mut x = STEM_POOL.forward(cx, &x)?;
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

/// Convolutions with ReLU between them; the last one's output and the shortcut are added before the last ReLU.
#[derive(Debug, Clone)]
struct Block {
    first: Vec<ConvBn>,
    last: ConvBn,
    downsample: Option<ConvBn>,
}

impl Block {
    fn basic(place: Place, vb: &VarBuilder) -> Result<Self> {
        let Place {
            in_channels,
            out_channels,
            stride,
        } = place;
        let first = unit([in_channels, out_channels], 3, stride, ["conv1", "bn1"], vb)?;
        Ok(Self {
            first: vec![first],
            last: unit([out_channels, out_channels], 3, 1, ["conv2", "bn2"], vb)?,
            downsample: downsample(place, vb)?,
        })
    }

    fn bottleneck(place: Place, vb: &VarBuilder) -> Result<Self> {
        let Place {
            in_channels,
            out_channels,
            stride,
        } = place;
        let inner = out_channels / EXPANSION;
        Ok(Self {
            first: vec![
                unit([in_channels, inner], 1, 1, ["conv1", "bn1"], vb)?,
                unit([inner, inner], 3, stride, ["conv2", "bn2"], vb)?,
            ],
            last: unit([inner, out_channels], 1, 1, ["conv3", "bn3"], vb)?,
            downsample: downsample(place, vb)?,
        })
    }

    fn forward(&self, cx: &Ctx, x: &Act) -> Result<Act> {
        let mut y = x.clone();
        for unit in &self.first {
            y = unit.forward_relu(cx, &y)?;
        }
        let skip = match &self.downsample {
            Some(unit) => unit.forward(cx, x)?,
            None => x.clone(),
        };
        self.last.forward_add_relu(cx, &y, &skip)
    }
}

/// The projection of a block whose output has another shape than its input.
fn downsample(place: Place, vb: &VarBuilder) -> Result<Option<ConvBn>> {
    let Place {
        in_channels,
        out_channels,
        stride,
    } = place;
    if in_channels == out_channels && stride == 1 {
        return Ok(None);
    }
    let names = ["downsample.0", "downsample.1"];
    unit([in_channels, out_channels], 1, stride, names, vb).map(Some)
}

/// A convolution and its batch normalisation, from their names.
fn unit(
    [in_channels, out_channels]: [usize; 2],
    kernel: usize,
    stride: usize,
    [conv_name, bn_name]: [&str; 2],
    vb: &VarBuilder,
) -> Result<ConvBn> {
    let (start, conv_vb) = (KAIMING_NORMAL_FAN_OUT, vb.pp(conv_name));
    ConvBn::from_parts(
        conv(in_channels, out_channels, kernel, stride, start, conv_vb)?,
        BatchNorm2d::new(out_channels, BATCH_NORM, vb.pp(bn_name))?,
    )
}
