//! Vision Transformers (Dosovitskiy et al. 2020, arXiv 2010.11929), and those of MAE (He et al. 2021, arXiv
//! 2111.06377), CLIP (Radford et al. 2021, arXiv 2103.00020) and DINOv2 (Oquab et al. 2023, arXiv 2304.07193).
//!
//! Names and start are those of timm's `VisionTransformer` (`cls_token`, `pos_embed`, `patch_embed.proj`,
//! `blocks.0.norm1`, `blocks.0.attn.qkv`, ..., `norm`, `head`): normalisation before each branch, exact
//! GELU, weights of linear layers and positions normal with deviation 0.02 (timm cuts the distribution off
//! at ±2, a hundred deviations away), their biases 0, the class token normal with deviation 1e-6, the
//! patches' convolution PyTorch's default. CLIP's projection, which timm takes for a head, is
//! `projection.weight`; it starts as in CLIP, normal with deviation 1 / sqrt(features).
//!
//! - [`VitConfig`]: what a net is made of; [`sizes`]: the published ones.
//! - [`weights`]: a configuration from published tensors, and published tensors for a configuration.
pub(crate) mod block;
mod config;
pub mod sizes;
pub mod weights;

use candle_core::{Result, Tensor, bail};
use candle_nn::{Linear as Map, Module, VarBuilder};
use mr2_nn::graph::{Act, Ctx};
use mr2_nn::init::{ZEROS, normal};
use mr2_nn::layers::{Conv2d, Conv2dConfig, LayerNorm, TokenEmbedding, TokenEmbeddingInit};
use mr2_nn::model::Backbone;

use crate::head::Classifier;
use crate::registry::BuildConfig;
use block::Block;

pub use config::{Pooling, VitConfig};

/// Deviation of the start of weights and positions.
pub(crate) const DEVIATION: f64 = 0.02;

/// Deviation of the start of the class token.
const CLASS_DEVIATION: f64 = 1e-6;

/// The net; its feature has [`VitConfig::feature_dim`] elements.
#[derive(Debug, Clone)]
pub struct Vit {
    patches: Conv2d,
    embedding: TokenEmbedding,
    norm_pre: Option<LayerNorm>,
    blocks: Vec<Block>,
    norm: LayerNorm,
    projection: Option<Map>,
    head: Classifier,
    config: VitConfig,
    classes: usize,
}

impl Vit {
    /// Builds the net. [`BuildConfig::dropout`] is not looked at: there is none.
    ///
    /// # Errors
    /// A patch that does not divide the image, heads that do not divide the width, sizes of 0, more last blocks
    /// than there are, or those of the `VarBuilder`.
    pub fn new(net: &VitConfig, config: &BuildConfig, vb: VarBuilder) -> Result<Self> {
        net.check()?;
        let (dim, side) = (net.dim, net.grid());
        let embed = Conv2dConfig {
            stride: net.patch,
            padding: 0,
            dilation: 1,
            groups: 1,
            bias: net.patch_bias,
        };
        let patches = vb.pp("patch_embed").pp("proj");
        let start = TokenEmbeddingInit {
            class: Some(normal(CLASS_DEVIATION)),
            positions: normal(DEVIATION),
        };
        let norm = match net.pooling {
            Pooling::Class | Pooling::LastBlocks { .. } => "norm",
            Pooling::Mean => "fc_norm",
        };
        let norm_pre = match net.norm_pre {
            true => Some(LayerNorm::new(dim, net.eps, vb.pp("norm_pre"))?),
            false => None,
        };
        let block = net.block();
        let blocks = (0..net.depth).map(|number| Block::new(&block, vb.pp("blocks").pp(number)));
        Ok(Self {
            embedding: TokenEmbedding::new(side * side, dim, start, vb.clone())?,
            patches: Conv2d::new(config.in_channels, dim, net.patch, embed, patches)?,
            norm_pre,
            blocks: blocks.collect::<Result<_>>()?,
            norm: LayerNorm::new(dim, net.eps, vb.pp(norm))?,
            projection: projection(net, vb.pp("projection"))?,
            head: Classifier::new(
                &config.head,
                net.feature_dim(),
                config.classes,
                [normal(DEVIATION), ZEROS],
                vb.pp("head"),
            )?,
            config: net.clone(),
            classes: config.classes,
        })
    }

    /// The last block's tokens pooled; `classes` are the class tokens of the blocks before it that are asked for.
    fn pooled(&self, cx: &Ctx, x: &Act, mut classes: Vec<Tensor>) -> Result<Tensor> {
        match self.config.pooling {
            Pooling::Class => self.norm.forward(cx, x)?.token(0),
            Pooling::Mean => {
                let means = cx.enter_tokens(&x.mean_tokens(1)?.unsqueeze(1)?)?;
                self.norm.forward(cx, &means)?.token(0)
            }
            Pooling::LastBlocks { mean, .. } => {
                let x = self.norm.forward(cx, x)?;
                classes.push(x.token(0)?);
                if mean {
                    classes.push(x.mean_tokens(1)?);
                }
                Tensor::cat(&classes, 1)
            }
        }
    }
}

fn projection(net: &VitConfig, vb: VarBuilder) -> Result<Option<Map>> {
    let Some(outputs) = net.projection else {
        return Ok(None);
    };
    let inputs = net.pooled_dim();
    let start = normal((inputs as f64).powf(-0.5));
    let weight = vb.get_with_hints((outputs, inputs), "weight", start)?;
    Ok(Some(Map::new(weight, None)))
}

impl Backbone for Vit {
    fn features(&self, cx: &Ctx, images: &Act) -> Result<Tensor> {
        let (_, _, height, width) = images.dims4();
        let size = self.config.image_size;
        if (height, width) != (size, size) {
            bail!("vit: expected images of {size} x {size} pixels, got {height} x {width}")
        }
        let mut x = self
            .embedding
            .forward(cx, &self.patches.forward(cx, images)?)?;
        if let Some(norm) = &self.norm_pre {
            x = norm.forward(cx, &x)?;
        }
        let wanted = match self.config.pooling {
            Pooling::LastBlocks { count, .. } => count,
            Pooling::Class | Pooling::Mean => 1,
        };
        let mut classes = Vec::new();
        for (done, block) in (1..).zip(&self.blocks) {
            x = block.forward(cx, &x)?;
            if (self.blocks.len() - wanted + 1..self.blocks.len()).contains(&done) {
                classes.push(self.norm.forward(cx, &x)?.token(0)?);
            }
        }
        let features = self.pooled(cx, &x, classes)?;
        match &self.projection {
            Some(projection) => projection.forward(&features),
            None => Ok(features),
        }
    }

    fn head(&self, _cx: &Ctx, features: &Tensor) -> Result<Tensor> {
        self.head.forward(features)
    }

    fn feature_dim(&self) -> usize {
        self.config.feature_dim()
    }

    fn classes(&self) -> usize {
        self.classes
    }

    fn head_weight(&self) -> &Tensor {
        self.head.weight()
    }
}
