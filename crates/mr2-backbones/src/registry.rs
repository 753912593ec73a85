//! All architectures by name. A new one is a module and a line of [`ENTRIES`].
use candle_core::{Result, bail};
use candle_nn::VarBuilder;
use mr2_nn::model::Backbone;
use serde::{Deserialize, Serialize};

use crate::cifar_resnet::{CifarResNet, CifarResNetConfig, Shortcut};
use crate::efficientnet_lite::{self, EfficientNetLite, LITE0};
use crate::head::Head;
use crate::preact_resnet::{PreActResNet, PreActResNetConfig};
use crate::resnet::{BlockKind, ResNet, ResNetConfig};
use crate::stages::BATCH_NORM;
use crate::vit::Vit;
use crate::vit::sizes::{self, VitSize};
use crate::wide_resnet::{WideResNet, WideResNetConfig};

/// What an architecture leaves open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildConfig {
    /// Channels of the images: 1 or 3, as a rule.
    pub in_channels: usize,
    /// Classes of the head.
    pub classes: usize,
    /// The kind of head.
    pub head: Head,
    /// The probability of dropout, in `[0, 1)`; 0 for architectures without it.
    pub dropout: f64,
}

/// An architecture.
#[derive(Debug)]
pub struct Entry {
    /// What [`build`] is asked for.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// The paper.
    pub source: &'static str,
    /// Trainable parameters for 3 channels, 10 classes and the linear head.
    pub parameters: usize,
    /// Whether [`BuildConfig::dropout`] has an effect.
    pub has_dropout: bool,
    /// Height and width of the only images it takes; nothing where any will do.
    pub image_size: Option<usize>,
    /// How many pixels of an image, in height and in width, become one of the last feature map.
    pub reduction: usize,
    architecture: Architecture,
}

#[derive(Debug)]
enum Architecture {
    Cifar {
        depth: usize,
        shortcut: Shortcut,
    },
    PreAct {
        depth: usize,
    },
    Wide {
        depth: usize,
        widen: usize,
    },
    Vit(VitSize),
    Photo {
        block: BlockKind,
        blocks: [usize; 4],
    },
    EfficientNetLite,
}

const RESNET: &str = "He et al. 2015, arXiv 1512.03385";
const PREACT: &str = "He et al. 2016, arXiv 1603.05027";
const WIDE: &str = "Zagoruyko and Komodakis 2016, arXiv 1605.07146";

/// Two of three stages halve height and width; for photographs the stem does twice, three of four stages once.
const CIFAR_REDUCTION: usize = 4;
const PHOTO_REDUCTION: usize = 32;

const fn resnet(name: &'static str, depth: usize, shortcut: Shortcut, parameters: usize) -> Entry {
    let architecture = Architecture::Cifar { depth, shortcut };
    let summary = match shortcut {
        Shortcut::A => "residual net for small images",
        Shortcut::B => "residual net for small images, projections between stages",
    };
    Entry {
        name,
        summary,
        source: RESNET,
        parameters,
        has_dropout: false,
        image_size: None,
        reduction: CIFAR_REDUCTION,
        architecture,
    }
}

const fn preact(name: &'static str, depth: usize, parameters: usize) -> Entry {
    let architecture = Architecture::PreAct { depth };
    let summary = "residual net for small images, normalisation before convolution";
    Entry {
        name,
        summary,
        source: PREACT,
        parameters,
        has_dropout: false,
        image_size: None,
        reduction: CIFAR_REDUCTION,
        architecture,
    }
}

const fn wide(name: &'static str, depth: usize, widen: usize, parameters: usize) -> Entry {
    let architecture = Architecture::Wide { depth, widen };
    let summary = "wide residual net for small images, with dropout";
    Entry {
        name,
        summary,
        source: WIDE,
        parameters,
        has_dropout: true,
        image_size: None,
        reduction: CIFAR_REDUCTION,
        architecture,
    }
}

/// Image and patch of the paper's vision transformers that start from nothing here.
const VIT_IMAGE: usize = 224;
const VIT_PATCH: usize = 16;

const fn vit(name: &'static str, size: VitSize, parameters: usize) -> Entry {
    Entry {
        name,
        summary: "vision transformer for images of 224 x 224 pixels, patches of 16 x 16",
        source: "Dosovitskiy et al. 2020, arXiv 2010.11929",
        parameters,
        has_dropout: false,
        image_size: Some(VIT_IMAGE),
        reduction: VIT_PATCH,
        architecture: Architecture::Vit(size),
    }
}

const fn photo(
    name: &'static str,
    block: BlockKind,
    blocks: [usize; 4],
    parameters: usize,
) -> Entry {
    let architecture = Architecture::Photo { block, blocks };
    let summary = match block {
        BlockKind::Basic => "residual net for photographs, as in torchvision",
        BlockKind::Bottleneck => "residual net for photographs with bottlenecks, as in torchvision",
    };
    Entry {
        name,
        summary,
        source: RESNET,
        parameters,
        has_dropout: false,
        image_size: None,
        reduction: PHOTO_REDUCTION,
        architecture,
    }
}

static ENTRIES: [Entry; 30] = [
    resnet("resnet8", 8, Shortcut::A, 75_290),
    resnet("resnet20", 20, Shortcut::A, 269_722),
    resnet("resnet32", 32, Shortcut::A, 464_154),
    resnet("resnet44", 44, Shortcut::A, 658_586),
    resnet("resnet56", 56, Shortcut::A, 853_018),
    resnet("resnet110", 110, Shortcut::A, 1_727_962),
    resnet("resnet8-b", 8, Shortcut::B, 78_042),
    resnet("resnet20-b", 20, Shortcut::B, 272_474),
    resnet("resnet32-b", 32, Shortcut::B, 466_906),
    resnet("resnet44-b", 44, Shortcut::B, 661_338),
    resnet("resnet56-b", 56, Shortcut::B, 855_770),
    resnet("resnet110-b", 110, Shortcut::B, 1_730_714),
    preact("preact-resnet20", 20, 272_282),
    preact("preact-resnet32", 32, 466_714),
    preact("preact-resnet44", 44, 661_146),
    preact("preact-resnet56", 56, 855_578),
    preact("preact-resnet110", 110, 1_730_522),
    wide("wrn-16-8", 16, 8, 10_961_370),
    wide("wrn-28-2", 28, 2, 1_467_610),
    wide("wrn-28-10", 28, 10, 36_479_194),
    wide("wrn-40-2", 40, 2, 2_243_546),
    vit("vit-ti16", VitSize::Tiny, 5_526_346),
    vit("vit-s16", VitSize::Small, 21_669_514),
    vit("vit-b16", VitSize::Base, 85_806_346),
    photo("resnet18", BlockKind::Basic, [2, 2, 2, 2], 11_181_642),
    photo("resnet34", BlockKind::Basic, [3, 4, 6, 3], 21_289_802),
    photo("resnet50", BlockKind::Bottleneck, [3, 4, 6, 3], 23_528_522),
    photo(
        "resnet101",
        BlockKind::Bottleneck,
        [3, 4, 23, 3],
        42_520_650,
    ),
    photo(
        "resnet152",
        BlockKind::Bottleneck,
        [3, 8, 36, 3],
        58_164_298,
    ),
    Entry {
        name: "efficientnet-lite0",
        summary: "small net for photographs and small devices",
        source: "Tan and Le 2019, arXiv 1905.11946",
        parameters: 3_383_818,
        has_dropout: false,
        image_size: None,
        reduction: PHOTO_REDUCTION,
        architecture: Architecture::EfficientNetLite,
    },
];

/// What the layers of an architecture are made with; published weights for the same sizes may need others.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LayerSettings {
    /// Between its layers.
    pub activation: &'static str,
    /// Added to the variances of its normalisations.
    pub eps: f64,
}

impl Entry {
    /// The activation, and the ε of the normalisations.
    pub fn layer_settings(&self) -> LayerSettings {
        let (activation, eps) = match self.architecture {
            Architecture::Vit(size) => ("gelu", sizes::vit(size, VIT_PATCH).eps),
            Architecture::EfficientNetLite => ("relu6", efficientnet_lite::BATCH_NORM.eps),
            Architecture::Cifar { .. }
            | Architecture::PreAct { .. }
            | Architecture::Wide { .. }
            | Architecture::Photo { .. } => ("relu", BATCH_NORM.eps),
        };
        LayerSettings { activation, eps }
    }
}

/// All architectures.
pub fn entries() -> &'static [Entry] {
    &ENTRIES
}

/// The architecture called `name`.
///
/// # Errors
/// An unknown name; the error lists the valid ones.
pub fn find(name: &str) -> Result<&'static Entry> {
    let Some(entry) = ENTRIES.iter().find(|entry| entry.name == name) else {
        let names: Vec<_> = ENTRIES.iter().map(|entry| entry.name).collect();
        bail!(
            "unknown backbone {name:?}, expected one of: {}",
            names.join(", ")
        )
    };
    Ok(entry)
}

/// Builds the architecture called `name`.
///
/// # Errors
/// An unknown name (the error lists the valid ones), sizes of 0, dropout for an architecture that
/// has none, or those of the `VarBuilder`.
pub fn build(name: &str, config: &BuildConfig, vb: VarBuilder) -> Result<Box<dyn Backbone>> {
    let entry = find(name)?;
    if config.in_channels == 0 || config.classes == 0 {
        bail!(
            "{name}: in_channels and classes must be at least 1, got {} and {}",
            config.in_channels,
            config.classes
        )
    }
    if !entry.has_dropout && config.dropout != 0.0 {
        bail!(
            "{name}: has no dropout, so dropout must be 0, got {}",
            config.dropout
        )
    }
    let width = 16;
    Ok(match entry.architecture {
        Architecture::Cifar { depth, shortcut } => {
            let net = CifarResNetConfig {
                depth,
                width,
                shortcut,
            };
            Box::new(CifarResNet::new(&net, config, vb)?)
        }
        Architecture::PreAct { depth } => Box::new(PreActResNet::new(
            &PreActResNetConfig { depth, width },
            config,
            vb,
        )?),
        Architecture::Wide { depth, widen } => Box::new(WideResNet::new(
            &WideResNetConfig {
                depth,
                widen,
                width,
            },
            config,
            vb,
        )?),
        Architecture::Vit(size) => Box::new(Vit::new(&sizes::vit(size, VIT_PATCH), config, vb)?),
        Architecture::Photo { block, blocks } => {
            let net = ResNetConfig {
                block,
                blocks,
                width: 64,
            };
            Box::new(ResNet::new(&net, config, vb)?)
        }
        Architecture::EfficientNetLite => Box::new(EfficientNetLite::new(&LITE0, config, vb)?),
    })
}
