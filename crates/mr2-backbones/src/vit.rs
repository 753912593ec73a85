//! Vision Transformers (Dosovitskiy et al. 2020, arXiv 2010.11929).
//!
//! Names and start are those of timm's `VisionTransformer` (`cls_token`, `pos_embed`, `patch_embed.proj`,
//! `blocks.0.norm1`, `blocks.0.attn.qkv`, ..., `norm`, `head`): normalisation before each branch, exact
//! GELU, weights of linear layers and positions normal with deviation 0.02 (timm cuts the distribution off
//! at ±2, a hundred deviations away), their biases 0, the class token normal with deviation 1e-6, the
//! patches' convolution PyTorch's default.
use candle_core::{Result, Tensor, bail};
use candle_nn::VarBuilder;
use mr2_nn::graph::{Act, Ctx};
use mr2_nn::init::{ZEROS, normal};
use mr2_nn::layers::{
    Activation, Attention, Conv2d, Conv2dConfig, LayerNorm, Linear, TokenEmbedding,
    TokenEmbeddingInit,
};
use mr2_nn::model::Backbone;
use serde::{Deserialize, Serialize};

use crate::head::Classifier;
use crate::registry::BuildConfig;

/// Added to variances, as in the paper's code.
const EPS: f64 = 1e-6;

/// Deviation of the start of weights and positions.
const DEVIATION: f64 = 0.02;

/// Deviation of the start of the class token.
const CLASS_DEVIATION: f64 = 1e-6;

/// What becomes of the last tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The class token, normalised (`norm`).
    Class,
    /// The mean of the patches' tokens, normalised afterwards (`fc_norm`).
    Mean,
}

/// Sizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VitConfig {
    /// Height and width of images, the only ones that the position embeddings fit.
    pub image_size: usize,
    /// Height and width of a patch.
    pub patch: usize,
    /// Features of a token.
    pub dim: usize,
    /// Blocks.
    pub depth: usize,
    /// Attention heads, which divide `dim`.
    pub heads: usize,
    /// Hidden features of a block's perceptron.
    pub mlp_dim: usize,
    /// Whether queries, keys and values have biases.
    pub qkv_bias: bool,
    /// What becomes of the last tokens.
    pub pooling: Pooling,
}

/// The net; its feature has `dim` elements.
#[derive(Debug, Clone)]
pub struct Vit {
    patches: Conv2d,
    embedding: TokenEmbedding,
    blocks: Vec<Block>,
    norm: LayerNorm,
    head: Classifier,
    config: VitConfig,
    classes: usize,
}

impl Vit {
    /// Builds the net. [`BuildConfig::dropout`] is not looked at: there is none.
    ///
    /// # Errors
    /// A patch that does not divide the image, heads that do not divide the width, sizes of 0, or those of
    /// the `VarBuilder`.
    pub fn new(net: &VitConfig, config: &BuildConfig, vb: VarBuilder) -> Result<Self> {
        check(net)?;
        let (dim, side) = (net.dim, net.image_size / net.patch);
        let embed = Conv2dConfig {
            stride: net.patch,
            padding: 0,
            dilation: 1,
            groups: 1,
            bias: true,
        };
        let patches = vb.pp("patch_embed").pp("proj");
        let start = TokenEmbeddingInit {
            class: Some(normal(CLASS_DEVIATION)),
            positions: normal(DEVIATION),
        };
        let norm = match net.pooling {
            Pooling::Class => "norm",
            Pooling::Mean => "fc_norm",
        };
        let blocks = (0..net.depth).map(|block| Block::new(net, vb.pp("blocks").pp(block)));
        Ok(Self {
            embedding: TokenEmbedding::new(side * side, dim, start, vb.clone())?,
            patches: Conv2d::new(config.in_channels, dim, net.patch, embed, patches)?,
            blocks: blocks.collect::<Result<_>>()?,
            norm: LayerNorm::new(dim, EPS, vb.pp(norm))?,
            head: Classifier::new(
                &config.head,
                dim,
                config.classes,
                [normal(DEVIATION), ZEROS],
                vb.pp("head"),
            )?,
            config: net.clone(),
            classes: config.classes,
        })
    }
}

fn check(net: &VitConfig) -> Result<()> {
    let VitConfig {
        image_size,
        patch,
        dim,
        depth,
        heads,
        mlp_dim,
        ..
    } = *net;
    if [image_size, patch, dim, depth, heads, mlp_dim].contains(&0) {
        bail!("vit: sizes must be at least 1, got {net:?}")
    }
    if !image_size.is_multiple_of(patch) {
        bail!("vit: patch {patch} must divide image_size {image_size}")
    }
    if !dim.is_multiple_of(heads) {
        bail!("vit: heads {heads} must divide dim {dim}")
    }
    Ok(())
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
        for block in &self.blocks {
            x = block.forward(cx, &x)?;
        }
        match self.config.pooling {
            Pooling::Class => self.norm.forward(cx, &x)?.token(0),
            Pooling::Mean => {
                let means = cx.enter_tokens(&x.mean_tokens(1)?.unsqueeze(1)?)?;
                self.norm.forward(cx, &means)?.token(0)
            }
        }
    }

    fn head(&self, _cx: &Ctx, features: &Tensor) -> Result<Tensor> {
        self.head.forward(features)
    }

    fn feature_dim(&self) -> usize {
        self.config.dim
    }

    fn classes(&self) -> usize {
        self.classes
    }

    fn head_weight(&self) -> &Tensor {
        self.head.weight()
    }
}

/// Attention and a perceptron, each behind its normalisation and around a skip connection.
#[derive(Debug, Clone)]
struct Block {
    norm1: LayerNorm,
    qkv: Linear,
    attention: Attention,
    proj: Linear,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
}

impl Block {
    fn new(net: &VitConfig, vb: VarBuilder) -> Result<Self> {
        let VitConfig {
            dim,
            heads,
            mlp_dim,
            qkv_bias,
            ..
        } = *net;
        let linear = |ins, outs, bias: bool, vb| {
            Linear::with_init(ins, outs, normal(DEVIATION), bias.then_some(ZEROS), vb)
        };
        let (attn, mlp) = (vb.pp("attn"), vb.pp("mlp"));
        Ok(Self {
            norm1: LayerNorm::new(dim, EPS, vb.pp("norm1"))?,
            qkv: linear(dim, 3 * dim, qkv_bias, attn.pp("qkv"))?,
            attention: Attention {
                heads,
                causal: false,
            },
            proj: linear(dim, dim, true, attn.pp("proj"))?,
            norm2: LayerNorm::new(dim, EPS, vb.pp("norm2"))?,
            fc1: linear(dim, mlp_dim, true, mlp.pp("fc1"))?,
            fc2: linear(mlp_dim, dim, true, mlp.pp("fc2"))?,
        })
    }

    fn forward(&self, cx: &Ctx, x: &Act) -> Result<Act> {
        let qkv = self.qkv.forward(cx, &self.norm1.forward(cx, x)?)?;
        let x = self
            .proj
            .forward_add(cx, &self.attention.forward(cx, &qkv)?, x)?;
        drop(qkv);
        let hidden = self.norm2.forward(cx, &x)?;
        let hidden = self.fc1.forward_gelu(cx, &hidden, Activation::Gelu)?;
        self.fc2.forward_add(cx, &hidden, &x)
    }
}
