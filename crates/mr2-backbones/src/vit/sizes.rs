//! The published vision transformers.
use mr2_nn::layers::Activation;

use super::{Pooling, VitConfig};

/// The widths and depths that all families share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VitSize {
    /// 192 features, 12 blocks, 3 heads.
    Tiny,
    /// 384 features, 12 blocks, 6 heads.
    Small,
    /// 768 features, 12 blocks, 12 heads.
    Base,
    /// 1024 features, 24 blocks, 16 heads.
    Large,
    /// 1280 features, 32 blocks, 16 heads.
    Huge,
}

impl VitSize {
    /// Features, blocks, heads.
    const fn numbers(self) -> [usize; 3] {
        match self {
            Self::Tiny => [192, 12, 3],
            Self::Small => [384, 12, 6],
            Self::Base => [768, 12, 12],
            Self::Large => [1024, 24, 16],
            Self::Huge => [1280, 32, 16],
        }
    }

    /// The heads of the published net of `dim` features: one for each 64 of them, but for ViT-H's 80. Nothing
    /// for widths that 64 doesn't divide.
    pub const fn heads_of(dim: usize) -> Option<usize> {
        match dim {
            1280 => Some(16),
            _ if dim > 0 && dim.is_multiple_of(64) => Some(dim / 64),
            _ => None,
        }
    }
}

/// Height and width of the images that all are usually read for.
const IMAGE: usize = 224;

/// A vision transformer as in timm (`vit_base_patch16_224`). transformers' are the same with an `eps` of 1e-12
/// (`google/vit-base-patch16-224`). Images of 224 x 224 pixels.
pub const fn vit(size: VitSize, patch: usize) -> VitConfig {
    let [dim, depth, heads] = size.numbers();
    VitConfig {
        image_size: IMAGE,
        patch,
        dim,
        depth,
        heads,
        mlp_dim: 4 * dim,
        activation: Activation::Gelu,
        eps: 1e-6,
        patch_bias: true,
        qkv_bias: true,
        norm_pre: false,
        layer_scale: None,
        pooling: Pooling::Class,
        projection: None,
    }
}

/// MAE's encoder without masking: patches of 16 x 16 pixels (ViT-H: 14 x 14), the class token for probing,
/// [`Pooling::Mean`] as it is fine-tuned.
pub const fn mae(size: VitSize, pooling: Pooling) -> VitConfig {
    let patch = match size {
        VitSize::Huge => 14,
        _ => 16,
    };
    VitConfig {
        pooling,
        ..vit(size, patch)
    }
}

/// CLIP's image tower. OpenAI's has the quick GELU; open_clip's own have the exact one, as do checkpoints on
/// the Hub whose configuration says `gelu`.
///
/// The feature before the projection is that of `projection: None`.
pub const fn clip(size: VitSize, patch: usize, activation: Activation) -> VitConfig {
    let projection = match size {
        VitSize::Large => 768,
        VitSize::Huge => 1024,
        _ => 512,
    };
    VitConfig {
        activation,
        eps: 1e-5,
        patch_bias: false,
        norm_pre: true,
        projection: Some(projection),
        ..vit(size, patch)
    }
}

/// DINOv2 without registers. Its positions are published for images of 518 x 518 pixels and interpolated to 224.
pub const fn dinov2(size: VitSize, pooling: Pooling) -> VitConfig {
    VitConfig {
        layer_scale: Some(1e-5),
        pooling,
        ..vit(size, 14)
    }
}
