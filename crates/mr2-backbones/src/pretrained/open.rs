//! From files to a network.
use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use mr2_nn::layers::Activation;
use mr2_nn::model::Backbone;
use mr2_nn::params::ParamStore;
use serde::{Deserialize, Serialize};

use super::Architecture;
use super::activation;
use super::configs::{self, Found};
use super::entries::Entry;
use super::files::Files;
use super::preprocessing::Preprocessing;
use crate::clip_resnet::{self, ClipResNetFeature};
use crate::clip_text::TokenizerError;
use crate::head::Head;
use crate::registry::BuildConfig;
use crate::vit::{self, Pooling};
use crate::weights::keys::Family;
use crate::weights::positions::Interpolation as Positions;
use crate::weights::{self, Tensors, WeightFile};

/// What is wanted of a pretrained model.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Which.
    pub entry: &'a Entry,
    /// Height and width of images; nothing for those of the preprocessing.
    pub image_size: Option<usize>,
    /// Which feature.
    pub feature: Feature,
    /// The activation of a transformer, where no configuration file says it.
    pub activation: Option<Activation>,
    /// How position embeddings are interpolated; nothing for the way of the library that the weights are for.
    pub positions: Option<Positions>,
    /// Patterns of parameters that the file may lack (`head.*`); they keep the values they start from.
    pub allow_missing: &'a [String],
    /// Classes of the last layer, which is a fresh linear one: the file's is left out.
    pub classes: usize,
}

/// Which feature a model gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Feature {
    /// The one that its authors use; CLIP's behind the projection into the space of texts.
    Published,
    /// CLIP's vector before the projection, which the paper's linear probes take.
    BeforeProjection,
    /// A transformer's mean of the patches' tokens, with a fresh normalisation where the file has none for it.
    Mean,
    /// The class tokens of a transformer's last four blocks, each normalised, and the mean of the patches of the last, one
    /// after the other: what DINOv2's linear evaluation chooses among ([`Pooling::LastBlocks`]).
    LastBlocks,
}

/// A pretrained network.
pub struct Pretrained {
    /// The network.
    pub network: Box<dyn Backbone>,
    /// Its parameters and buffers.
    pub params: ParamStore,
    /// What it is.
    pub description: Description,
}

/// Everything that decides a feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// The entry's name.
    pub name: String,
    /// Where the weights come from.
    pub origin: String,
    /// SHA-256 of the weights ([`weights::WeightFile::sha256`]).
    pub sha256: String,
    /// The net as built: sizes, activation, ε, pooling.
    pub architecture: Architecture,
    /// What is done to images.
    pub preprocessing: Preprocessing,
    /// How position embeddings were interpolated, where there are any.
    pub positions: Option<Positions>,
    /// Parameters that the file lacks, which keep what they start from; the last layer isn't counted.
    pub not_in_file: Vec<String>,
}

/// Why a model can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A configuration file is wrong.
    #[error("{}: {reason}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The request doesn't fit the model.
    #[error("{name}: {reason}")]
    Request {
        /// The entry's name.
        name: &'static str,
        /// What doesn't fit, and what would.
        reason: String,
    },
    /// The tokenizer can't be read.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The weights can't be read.
    #[error(transparent)]
    Weights(#[from] weights::Error),
    /// The weights aren't those of the model.
    #[error("{origin}: {cause}")]
    Fit {
        /// Where they come from.
        origin: String,
        /// What doesn't fit.
        cause: String,
    },
}

impl Error {
    pub(super) fn request(entry: &Entry, reason: impl ToString) -> Self {
        let reason = reason.to_string();
        Self::Request {
            name: entry.name,
            reason,
        }
    }

    pub(super) fn config(path: &Path, reason: String) -> Self {
        let path = path.to_path_buf();
        Self::Config { path, reason }
    }
}

/// Opens a pretrained model in f32.
///
/// # Errors
/// Files that can't be read or aren't of this model (one error lists all tensors that are missing, unexpected or
/// of another shape), a feature or an image size that the model doesn't have, a transformer of CLIP's family
/// whose activation nothing tells.
pub fn open(request: &Request, files: &Files, device: &Device) -> Result<Pretrained, Error> {
    let found = configs::of(files)?;
    check(request)?;
    let file = weights::read(&files.weights)?;
    of_file(request, files, &found, file, device)
}

/// Whether the request can be meant, before files are read for it.
pub(super) fn check(request: &Request) -> Result<(), Error> {
    match request.positions.is_some() && request.entry.positions.is_none() {
        true => Err(Error::request(
            request.entry,
            "it has no position embeddings: leave --pos-interpolation out",
        )),
        false => Ok(()),
    }
}

/// [`open`], from what was read.
pub(super) fn of_file(
    request: &Request,
    files: &Files,
    found: &Found,
    file: WeightFile,
    device: &Device,
) -> Result<Pretrained, Error> {
    let entry = request.entry;
    let library = entry.family.library(&file.tensors);
    let mut tensors = entry
        .family
        .to_ours(file.tensors)
        .map_err(|error| files.misfit(error))?;
    let preprocessing = preprocessing(request, found)?;
    let architecture = architecture(request, found, files, preprocessing.crop)?;
    let last_layer = architecture.last_layer();
    tensors.retain(|name, _| !name.starts_with(last_layer));
    let positions = request.positions.or(library).or(entry.positions);
    let tensors =
        adapted(tensors, &architecture, positions).map_err(|error| files.misfit(error))?;
    let params = ParamStore::new(0, DType::F32, device).zeros_for(tensors.keys().cloned());
    let config = BuildConfig {
        in_channels: 3,
        classes: request.classes,
        head: Head::Linear,
        dropout: 0.0,
    };
    let network = architecture
        .build(&config, params.var_builder())
        .map_err(|error| files.misfit(error))?;
    let mut allowed = request.allow_missing.to_vec();
    allowed.push(format!("{last_layer}*"));
    let difference = difference(&architecture, &tensors);
    let mut not_in_file = weights::fit(&params, tensors, &allowed)
        .map_err(|error| files.misfit(format!("{difference}{error}")))?;
    not_in_file.retain(|name| !name.starts_with(last_layer));
    Ok(Pretrained {
        network,
        params,
        description: Description {
            name: entry.name.to_string(),
            origin: files.origin.clone(),
            sha256: file.sha256,
            architecture,
            preprocessing,
            positions,
            not_in_file,
        },
    })
}

/// What tells the file's net from the one that is asked for, in a line before the list of tensors; empty where the list
/// says it all.
fn difference(architecture: &Architecture, tensors: &Tensors) -> String {
    match architecture {
        Architecture::Vit(net) => match vit::weights::check_fits(net, tensors) {
            Ok(()) => String::new(),
            Err(error) => format!("{error}\n"),
        },
        _ => String::new(),
    }
}

/// The one of the configuration files, or else the entry's, at the image size that is wanted.
fn preprocessing(request: &Request, found: &Found) -> Result<Preprocessing, Error> {
    let published = found.preprocessing.as_ref();
    let own = published.unwrap_or(&request.entry.preprocessing);
    Ok(match request.image_size {
        None => own.clone(),
        Some(0) => {
            let reason = "image size 0: give at least 1";
            return Err(Error::request(request.entry, reason));
        }
        Some(side) => own.for_side(side),
    })
}

fn architecture(
    request: &Request,
    found: &Found,
    files: &Files,
    side: usize,
) -> Result<Architecture, Error> {
    let refuse = |reason: &str| Error::request(request.entry, reason);
    let activation_is_fixed = || match request.activation {
        Some(_) => Err(refuse(
            "a convolutional net has one activation: leave --activation out",
        )),
        None => Ok(()),
    };
    let mut architecture = request.entry.architecture.clone();
    match &mut architecture {
        Architecture::Vit(net) => {
            net.image_size = side;
            if let Some(heads) = found.heads.filter(|&heads| heads != net.heads) {
                let reason = format!(
                    "config.json: `num_attention_heads` is {heads}, this model has {}: the weights are of another net",
                    net.heads
                );
                return Err(refuse(&reason));
            }
            if let Some(activation) = activation::of_images(request, found, files)? {
                net.activation = activation;
            }
            // MAE was trained with 1e-6, whatever transformers' configuration says.
            if let Some(eps) = found.eps.filter(|_| request.entry.family != Family::Mae) {
                net.eps = eps;
            }
            match request.feature {
                Feature::Published => {}
                Feature::Mean if !matches!(request.entry.family, Family::Vit | Family::Mae) => {
                    return Err(refuse(
                        "its normalisation is trained for the class token: --feature mean is for ViT and MAE",
                    ));
                }
                Feature::Mean => net.pooling = Pooling::Mean,
                Feature::BeforeProjection if net.projection.is_none() => {
                    return Err(refuse("it has no projection: take another --feature"));
                }
                Feature::BeforeProjection => net.projection = None,
                Feature::LastBlocks => {
                    net.pooling = Pooling::LastBlocks {
                        count: net.depth.min(4),
                        mean: true,
                    };
                    net.projection = None;
                }
            }
        }
        Architecture::ClipResnet(net) => {
            activation_is_fixed()?;
            net.image_size = side;
            net.feature = match request.feature {
                Feature::Published => ClipResNetFeature::Projected,
                Feature::BeforeProjection => ClipResNetFeature::Pooled,
                Feature::Mean | Feature::LastBlocks => {
                    return Err(refuse(
                        "only a transformer has a mean of patches and class tokens",
                    ));
                }
            };
        }
        Architecture::Resnet(_) | Architecture::EfficientnetLite(_) => {
            activation_is_fixed()?;
            if request.feature != Feature::Published {
                return Err(refuse("a convolutional net has only the published feature"));
            }
        }
    }
    Ok(architecture)
}

/// Tensors for the very net: position embeddings interpolated, other parts dropped.
fn adapted(
    tensors: Tensors,
    architecture: &Architecture,
    positions: Option<Positions>,
) -> candle_core::Result<Tensors> {
    let Some(how) = positions else {
        return Ok(tensors);
    };
    match architecture {
        Architecture::Vit(net) => vit::weights::for_config(net, tensors, how),
        Architecture::ClipResnet(net) => clip_resnet::for_config(net, tensors, how),
        Architecture::Resnet(_) | Architecture::EfficientnetLite(_) => Ok(tensors),
    }
}
