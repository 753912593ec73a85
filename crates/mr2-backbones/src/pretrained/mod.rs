//! Pretrained models by name: architecture, published weights, and the preprocessing that belongs to them.
//!
//! [`entries()`] lists them, [`find`] takes one by name. [`Files`] are the weights and the configurations beside
//! them, from a file or folder ([`Files::local`]) or, with the feature `hub`, from the Hugging Face Hub.
//! [`open`] reads them into a network whose last layer is fresh, [`open_text`] into CLIP's text tower.
//!
//! What configuration files say wins over the entry: the preprocessing always; for transformers the activation
//! and the ε of the normalisations. Everything that decides a feature is in the [`Description`].
mod activation;
mod configs;
mod entries;
mod files;
mod open;
mod preprocessing;
mod text;

use candle_core::Result;
use candle_nn::VarBuilder;
use mr2_nn::model::Backbone;
use serde::{Deserialize, Serialize};

use crate::clip_resnet::{ClipResNet, ClipResNetConfig};
use crate::efficientnet_lite::{EfficientNetLite, EfficientNetLiteConfig};
use crate::registry::BuildConfig;
use crate::resnet::{ResNet, ResNetConfig};
use crate::vit::{Vit, VitConfig};

pub use entries::{Entry, entries, find};
pub use files::{CONFIGS, Files};
pub use open::{Description, Error, Feature, Pretrained, Request, open};
pub use preprocessing::{ConfigKind, Interpolation, Preprocessing, Resize};
pub use text::{TextTower, check_has_text, open_both, open_text};

/// A net with all its sizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Architecture {
    /// Residual nets for photographs.
    Resnet(ResNetConfig),
    /// CLIP's residual nets with attention pooling.
    ClipResnet(ClipResNetConfig),
    /// Vision transformers of all families.
    Vit(VitConfig),
    /// EfficientNet without squeeze and excitation.
    EfficientnetLite(EfficientNetLiteConfig),
}

impl Architecture {
    /// Builds the net.
    ///
    /// # Errors
    /// Those of the net's own constructor.
    pub fn build(&self, config: &BuildConfig, vb: VarBuilder) -> Result<Box<dyn Backbone>> {
        Ok(match self {
            Self::Resnet(net) => Box::new(ResNet::new(net, config, vb)?),
            Self::ClipResnet(net) => Box::new(ClipResNet::new(net, config, vb)?),
            Self::Vit(net) => Box::new(Vit::new(net, config, vb)?),
            Self::EfficientnetLite(net) => Box::new(EfficientNetLite::new(net, config, vb)?),
        })
    }

    /// How the names of the last layer's parameters begin.
    fn last_layer(&self) -> &'static str {
        match self {
            Self::Resnet(_) => "fc.",
            Self::ClipResnet(_) | Self::Vit(_) => "head.",
            Self::EfficientnetLite(_) => "classifier.",
        }
    }
}
