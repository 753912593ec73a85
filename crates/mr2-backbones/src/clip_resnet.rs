//! The residual nets of CLIP (Radford et al. 2021, arXiv 2103.00020, section 2.4): three convolutions as the stem, means
//! of 2 x 2 pixels wherever another net has a stride, and attention in place of the mean at the end.
//!
//! Names are those of `ModifiedResNet` in OpenAI's CLIP and in open_clip, without the prefix `visual.` (`conv1`, `bn1`,
//! ..., `layer1.0.downsample.0`, `attnpool.q_proj`); the head is `head`. Those nets have none: their classifier is the
//! text tower.
use candle_core::{D, Result, Tensor, bail};
use candle_nn::ops::softmax;
use candle_nn::{Init, VarBuilder};
use mr2_nn::graph::{Act, Ctx};
use mr2_nn::init::pytorch_default;
use mr2_nn::layers::{AvgPool2d, BatchNorm2d, ConvBn};
use mr2_nn::model::Backbone;
use serde::{Deserialize, Serialize};

use crate::head::Classifier;
use crate::registry::BuildConfig;
use crate::stages::{BATCH_NORM, Place, conv, stages};
use crate::weights::Tensors;
use crate::weights::positions::{Interpolation, interpolate};

/// How much wider a block's output is than its 3 x 3 convolution.
const EXPANSION: usize = 4;

/// Pixels of an image, in height and in width, that become one of the last feature map.
const REDUCTION: usize = 32;

/// What stands for a stride of 2.
const HALVE: AvgPool2d = AvgPool2d {
    kernel: 2,
    stride: 2,
    padding: 0,
    count_include_pad: true,
};

/// Which vector is the feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClipResNetFeature {
    /// The image's place in the space that it shares with texts: what CLIP compares.
    Projected,
    /// What the attention gathered, before `attnpool.c_proj`; the net has no such parameter then.
    Pooled,
}

/// Blocks, width and the attention at the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClipResNetConfig {
    /// Blocks of each stage: `[3, 4, 6, 3]` for RN50, `[3, 4, 23, 3]` for RN101.
    pub blocks: [usize; 4],
    /// Channels of the stem and of the first stage's 3 x 3 convolutions, doubled in each later stage; 64.
    pub width: usize,
    /// Heads of the attention; half the width in OpenAI's nets.
    pub heads: usize,
    /// Features of the shared space: 1024 for RN50, 512 for RN101.
    pub output_dim: usize,
    /// Height and width of images; 224. The attention's positions fit this size alone.
    pub image_size: usize,
    /// Which vector is the feature.
    pub feature: ClipResNetFeature,
}

/// OpenAI's RN50.
pub const RN50: ClipResNetConfig = ClipResNetConfig {
    blocks: [3, 4, 6, 3],
    width: 64,
    heads: 32,
    output_dim: 1024,
    image_size: 224,
    feature: ClipResNetFeature::Projected,
};

/// OpenAI's RN101.
pub const RN101: ClipResNetConfig = ClipResNetConfig {
    blocks: [3, 4, 23, 3],
    output_dim: 512,
    ..RN50
};

/// The tensors as the configuration's net needs them: the attention's positions interpolated to its image size, the
/// projection dropped where it has none.
///
/// # Errors
/// Positions that aren't those of a square grid.
pub fn for_config(
    net: &ClipResNetConfig,
    mut tensors: Tensors,
    how: Interpolation,
) -> Result<Tensors> {
    if let Some(positions) = tensors.get_mut("attnpool.positional_embedding") {
        let grid = [net.image_size / REDUCTION; 2];
        *positions = interpolate(&positions.unsqueeze(0)?, grid, how)?.squeeze(0)?;
    }
    if net.feature == ClipResNetFeature::Pooled {
        tensors.retain(|name, _| !name.starts_with("attnpool.c_proj."));
    }
    Ok(tensors)
}

/// The net.
#[derive(Debug, Clone)]
pub struct ClipResNet {
    stem: [ConvBn; 3],
    blocks: Vec<Block>,
    pool: AttentionPool,
    head: Classifier,
    classes: usize,
    feature_dim: usize,
}

impl ClipResNet {
    /// Builds the net. [`BuildConfig::dropout`] is not looked at: these nets have none. They are meant for published weights:
    /// without, they start from PyTorch's defaults, and every batch norm's weight at 1.
    ///
    /// # Errors
    /// A stage without blocks, an odd width, an image size that is no multiple of 32, heads that don't divide the
    /// width of the attention, sizes of 0, or those of the `VarBuilder`.
    pub fn new(net: &ClipResNetConfig, config: &BuildConfig, vb: VarBuilder) -> Result<Self> {
        let (blocks, width) = (net.blocks, net.width);
        if blocks.contains(&0) {
            bail!("blocks: each stage needs at least 1, got {blocks:?}")
        }
        if !width.is_multiple_of(2) {
            bail!("width: must be even, got {width}")
        }
        let half = width / 2;
        let widths = [1, 2, 4, 8].map(|factor| factor * width * EXPANSION);
        let path = |stage, block| format!("layer{stage}.{block}");
        let pool = AttentionPool::new(net, widths[3], vb.pp("attnpool"))?;
        let feature_dim = match net.feature {
            ClipResNetFeature::Projected => net.output_dim,
            ClipResNetFeature::Pooled => widths[3],
        };
        Ok(Self {
            stem: [
                unit([config.in_channels, half], 3, 2, ["conv1", "bn1"], &vb)?,
                unit([half, half], 3, 1, ["conv2", "bn2"], &vb)?,
                unit([half, width], 3, 1, ["conv3", "bn3"], &vb)?,
            ],
            blocks: stages(width, widths, blocks, &vb, path, |place, vb| {
                Block::new(place, &vb)
            })?,
            pool,
            head: Classifier::new(
                &config.head,
                feature_dim,
                config.classes,
                [pytorch_default(feature_dim); 2],
                vb.pp("head"),
            )?,
            classes: config.classes,
            feature_dim,
        })
    }
}

impl Backbone for ClipResNet {
    fn features(&self, cx: &Ctx, images: &Act) -> Result<Tensor> {
        let mut x = images.clone();
        for unit in &self.stem {
            x = unit.forward_relu(cx, &x)?;
        }
        x = HALVE.forward(cx, &x)?;
        for block in &self.blocks {
            x = block.forward(cx, &x)?;
        }
        self.pool.forward(&x)
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

/// 1 x 1, 3 x 3 and 1 x 1, and what skips them; at a stride, pixels are averaged before both last convolutions.
#[derive(Debug, Clone)]
struct Block {
    first: [ConvBn; 2],
    last: ConvBn,
    downsample: Option<ConvBn>,
    halves: bool,
}

impl Block {
    fn new(place: Place, vb: &VarBuilder) -> Result<Self> {
        let Place {
            in_channels,
            out_channels,
            stride,
        } = place;
        let inner = out_channels / EXPANSION;
        let (halves, changes) = (stride > 1, in_channels != out_channels);
        let downsample = match halves || changes {
            true => {
                let names = ["downsample.0", "downsample.1"];
                Some(unit([in_channels, out_channels], 1, 1, names, vb)?)
            }
            false => None,
        };
        Ok(Self {
            first: [
                unit([in_channels, inner], 1, 1, ["conv1", "bn1"], vb)?,
                unit([inner, inner], 3, 1, ["conv2", "bn2"], vb)?,
            ],
            last: unit([inner, out_channels], 1, 1, ["conv3", "bn3"], vb)?,
            downsample,
            halves,
        })
    }

    fn forward(&self, cx: &Ctx, x: &Act) -> Result<Act> {
        let mut y = x.clone();
        for unit in &self.first {
            y = unit.forward_relu(cx, &y)?;
        }
        let mut skip = x.clone();
        if self.halves {
            y = HALVE.forward(cx, &y)?;
            skip = HALVE.forward(cx, &skip)?;
        }
        if let Some(unit) = &self.downsample {
            skip = unit.forward(cx, &skip)?;
        }
        self.last.forward_add_relu(cx, &y, &skip)
    }
}

/// A convolution and its batch normalisation, from their names.
fn unit(
    [in_channels, out_channels]: [usize; 2],
    kernel: usize,
    stride: usize,
    [conv_name, bn_name]: [&str; 2],
    vb: &VarBuilder,
) -> Result<ConvBn> {
    let start = pytorch_default(in_channels * kernel * kernel);
    ConvBn::from_parts(
        conv(
            in_channels,
            out_channels,
            kernel,
            stride,
            start,
            vb.pp(conv_name),
        )?,
        BatchNorm2d::new(out_channels, BATCH_NORM, vb.pp(bn_name))?,
    )
}

/// A weight (outputs, inputs) and its bias.
#[derive(Debug, Clone)]
struct Projection {
    weight: Tensor,
    bias: Tensor,
}

impl Projection {
    fn new(outputs: usize, inputs: usize, vb: VarBuilder) -> Result<Self> {
        let weight = Init::Randn {
            mean: 0.0,
            stdev: (inputs as f64).powf(-0.5),
        };
        Ok(Self {
            weight: vb.get_with_hints((outputs, inputs), "weight", weight)?,
            bias: vb.get_with_hints(outputs, "bias", pytorch_default(inputs))?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.matmul(&self.weight.t()?)?.broadcast_add(&self.bias)
    }
}

/// Attention of the mean pixel to itself and all pixels.
#[derive(Debug, Clone)]
struct AttentionPool {
    positions: Tensor,
    query: Projection,
    key: Projection,
    value: Projection,
    out: Option<Projection>,
    heads: usize,
}

impl AttentionPool {
    fn new(net: &ClipResNetConfig, dim: usize, vb: VarBuilder) -> Result<Self> {
        let (heads, size) = (net.heads, net.image_size);
        if heads == 0 || !dim.is_multiple_of(heads) {
            bail!("heads: {heads} must divide the attention's {dim} features")
        }
        if size == 0 || !size.is_multiple_of(REDUCTION) {
            bail!("image_size: must be a multiple of {REDUCTION}, got {size}")
        }
        let tokens = (size / REDUCTION).pow(2) + 1;
        let start = Init::Randn {
            mean: 0.0,
            stdev: (dim as f64).powf(-0.5),
        };
        Ok(Self {
            positions: vb.get_with_hints((tokens, dim), "positional_embedding", start)?,
            query: Projection::new(dim, dim, vb.pp("q_proj"))?,
            key: Projection::new(dim, dim, vb.pp("k_proj"))?,
            value: Projection::new(dim, dim, vb.pp("v_proj"))?,
            out: match net.feature {
                ClipResNetFeature::Pooled => None,
                ClipResNetFeature::Projected => {
                    Some(Projection::new(net.output_dim, dim, vb.pp("c_proj"))?)
                }
            },
            heads,
        })
    }

    /// With one query, keys and values of all tokens need not be computed: a head's scores are the tokens' products with
    /// the query brought back through the keys' weight, and its value is that of the tokens' weighted mean.
    fn forward(&self, x: &Act) -> Result<Tensor> {
        let pixels = x.to_tokens()?;
        let (batch, count, dim) = pixels.dims3()?;
        let tokens = self.positions.dim(0)?;
        if count + 1 != tokens {
            let (.., height, width) = x.dims4();
            bail!(
                "attnpool.positional_embedding: the positions are those of {} pixels, the last feature map has {height} x \
                 {width}; build the net for the images' size and interpolate the positions",
                tokens - 1
            )
        }
        let x = Tensor::cat(&[&pixels.mean_keepdim(1)?, &pixels], 1)?;
        let x = x.broadcast_add(&self.positions)?;
        let (heads, each) = (self.heads, dim / self.heads);
        let per_head = |weight: &Tensor| weight.reshape((heads, each, dim));
        let scale = (each as f64).powf(-0.5);
        let query = (self
            .query
            .forward(&x.narrow(1, 0, 1)?.squeeze(1)?.contiguous()?)?
            * scale)?;
        // (heads, batch, features of a head)
        let query = query.reshape((batch, heads, each))?.transpose(0, 1)?;
        let query = query.contiguous()?;
        let back = query.matmul(&per_head(&self.key.weight)?)?;
        let scores = back.transpose(0, 1)?.contiguous()?.matmul(&x.t()?)?;
        // The same for all tokens of a head, so that it changes nothing; but it is in the paper's net.
        let shift = query.broadcast_mul(&self.key.bias.reshape((heads, 1, each))?)?;
        let shift = shift.sum(D::Minus1)?.t()?.unsqueeze(2)?;
        let attention = softmax(&scores.broadcast_add(&shift)?, D::Minus1)?;
        let mean = attention.matmul(&x)?.transpose(0, 1)?.contiguous()?;
        let value = mean.matmul(&per_head(&self.value.weight)?.transpose(1, 2)?)?;
        let value = value.transpose(0, 1)?.reshape((batch, dim))?;
        let value = value.broadcast_add(&self.value.bias)?;
        match &self.out {
            Some(out) => out.forward(&value),
            None => Ok(value),
        }
    }
}
