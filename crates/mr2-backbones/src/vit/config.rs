//! What a vision transformer is made of.
use candle_core::{Result, bail};
use mr2_nn::layers::Activation;
use serde::{Deserialize, Serialize};

use super::block::BlockConfig;

/// What becomes of the last tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The class token, normalised (`norm`).
    Class,
    /// The mean of the patches' tokens, normalised afterwards (`fc_norm`).
    Mean,
    /// The class tokens of the last `count` blocks one after the other, each normalised (`norm`), and, with
    /// `mean`, the mean of the normalised patches' tokens of the last block: the features that DINOv2's linear
    /// evaluation sweeps over (Oquab et al. 2023, arXiv 2304.07193).
    LastBlocks {
        /// At least 1, at most all blocks.
        count: usize,
        /// Whether the mean over the patches follows.
        mean: bool,
    },
}

/// Sizes, and what libraries do differently. [`sizes`](super::sizes) has the published ones.
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
    /// Between the layers of a block's perceptron.
    pub activation: Activation,
    /// Added to the variances of all normalisations: 1e-6 in timm, MAE and DINOv2, 1e-5 in CLIP, 1e-12 in
    /// transformers' ViT and ViTMAE.
    pub eps: f64,
    /// Whether the patches' convolution has a bias; CLIP's has none.
    pub patch_bias: bool,
    /// Whether queries, keys and values have biases.
    pub qkv_bias: bool,
    /// Whether tokens are normalised before the first block (`norm_pre`), as in CLIP.
    pub norm_pre: bool,
    /// What the factors of both branches of a block start from (`ls1.gamma`, `ls2.gamma`); nothing without
    /// LayerScale.
    pub layer_scale: Option<f64>,
    /// What becomes of the last tokens.
    pub pooling: Pooling,
    /// Features after a linear map without bias behind the pooling (`projection`), CLIP's way into the space
    /// that images share with texts; nothing without it.
    pub projection: Option<usize>,
}

impl VitConfig {
    /// Patches along a side of the image.
    pub fn grid(&self) -> usize {
        self.image_size / self.patch
    }

    /// The length of a feature: after the projection, if there is one.
    pub fn feature_dim(&self) -> usize {
        self.projection.unwrap_or_else(|| self.pooled_dim())
    }

    pub(super) fn pooled_dim(&self) -> usize {
        match self.pooling {
            Pooling::Class | Pooling::Mean => self.dim,
            Pooling::LastBlocks { count, mean } => (count + usize::from(mean)) * self.dim,
        }
    }

    pub(super) fn block(&self) -> BlockConfig {
        BlockConfig {
            dim: self.dim,
            heads: self.heads,
            causal: false,
            mlp_dim: self.mlp_dim,
            activation: self.activation,
            eps: self.eps,
            qkv_bias: self.qkv_bias,
            layer_scale: self.layer_scale,
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        let Self {
            image_size,
            patch,
            dim,
            depth,
            heads,
            mlp_dim,
            ..
        } = *self;
        let sizes = [image_size, patch, dim, depth, heads, mlp_dim];
        if sizes.contains(&0) || self.projection == Some(0) {
            bail!("vit: sizes must be at least 1, got {self:?}")
        }
        if !image_size.is_multiple_of(patch) {
            bail!("vit: patch {patch} must divide image_size {image_size}")
        }
        if !dim.is_multiple_of(heads) {
            bail!("vit: heads {heads} must divide dim {dim}")
        }
        match self.pooling {
            Pooling::LastBlocks { count, .. } if count == 0 || count > depth => {
                bail!("vit: pooling takes 1 to {depth} last blocks, got {count}")
            }
            _ => Ok(()),
        }
    }
}
