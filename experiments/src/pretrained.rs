//! Pretrained backbones: a name and where its weights are → a network, and its preprocessing as a pipeline.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use candle_core::Device;
use mr2_backbones::pretrained::{
    self, Entry, Feature, Files, Interpolation, Preprocessing, Pretrained, Request, Resize,
    TextTower,
};
use mr2_backbones::weights::positions::Interpolation as Positions;
use mr2_data::{EvaluationGeometry, Pipeline, evaluation_transforms};
use mr2_nn::layers::Activation;

/// How a pretrained backbone is read.
#[derive(clap::Args, Clone, Debug)]
pub struct PretrainedArgs {
    /// Weights: hf:ORG/NAME[@REVISION][:FILE], a file, or a folder with its configuration files [default: the
    /// published ones, from the Hugging Face Hub].
    #[arg(long, value_name = "ID|FILE|DIR")]
    weights: Option<String>,
    /// Height and width of images [default: what the weights were made for].
    #[arg(long, value_name = "PIXELS")]
    image_size: Option<usize>,
    /// Which feature: CLIP's behind or before its projection, the mean of a transformer's patches, or its last blocks.
    #[arg(long, value_enum, default_value_t = FeatureArg::Published)]
    feature: FeatureArg,
    /// The activation of CLIP's transformers, where no configuration file beside the weights says it.
    #[arg(long, value_enum)]
    activation: Option<ActivationArg>,
    /// How position embeddings are brought to another image size [default: as the library whose names the weights have].
    #[arg(long, value_enum, value_name = "LIBRARY")]
    pos_interpolation: Option<PositionsArg>,
    /// Parameters that the weights may lack, such as 'norm.*' (repeatable); they keep what they start from.
    #[arg(long, value_name = "PATTERN")]
    allow_missing: Vec<String>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
enum FeatureArg {
    /// What its authors use.
    Published,
    /// CLIP's vector before the projection.
    BeforeProjection,
    /// The mean of the patches' tokens (ViT, MAE).
    Mean,
    /// Class tokens of the last four blocks, and the mean of the patches' tokens (transformers).
    LastBlocks,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
enum ActivationArg {
    /// Exact; most of open_clip's own weights.
    Gelu,
    /// x·σ(1.702x); OpenAI's weights.
    QuickGelu,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
enum PositionsArg {
    /// No antialias.
    Transformers,
    /// Antialias.
    Timm,
    /// As timm.
    OpenClip,
    /// As transformers.
    Mae,
    /// DINOv2's, with its offset of 0.1.
    Meta,
}

impl PretrainedArgs {
    /// Opens the pretrained backbone `name`, without its last layer. Weights of the Hub are downloaded first, once.
    ///
    /// # Errors
    /// An unknown name; weights that can't be had, read or don't fit.
    pub fn open(&self, name: &str, device: &Device, quiet: bool) -> Result<Pretrained> {
        let entry = pretrained::find(name).map_err(|reason| anyhow!(reason))?;
        let files = Self::files(self.named(entry)?, quiet)?;
        Ok(pretrained::open(&self.request(entry), &files, device)?)
    }

    /// Opens both towers of the CLIP `name`. The tokenizer is in a folder or a repository of the Hub (`hf:ORG/NAME`),
    /// by default that of the weights.
    ///
    /// # Errors
    /// As [`PretrainedArgs::open`]; a backbone without a text tower; features of images that aren't in the space of
    /// texts.
    pub fn open_with_text(
        &self,
        name: &str,
        tokenizer: Option<&str>,
        device: &Device,
        quiet: bool,
    ) -> Result<(Pretrained, TextTower)> {
        let entry = pretrained::find(name).map_err(|reason| anyhow!(reason))?;
        pretrained::check_has_text(entry)?;
        if !matches!(self.feature, FeatureArg::Published) {
            bail!("--feature: texts are compared with CLIP's projected feature only; leave it out");
        }
        let named = self.named(entry)?;
        let files = Self::files(named, quiet)?;
        let folder = match tokenizer {
            Some(id) if id.starts_with("hf:") => tokenizer_from_hub(id)?,
            Some(folder) => Some(PathBuf::from(folder)),
            None if named.starts_with("hf:") => tokenizer_from_hub(&files.origin)?,
            None => None,
        };
        let request = self.request(entry);
        let folder = folder.as_deref();
        Ok(pretrained::open_both(&request, &files, folder, device)?)
    }

    fn request<'a>(&'a self, entry: &'a Entry) -> Request<'a> {
        Request {
            entry,
            image_size: self.image_size,
            feature: match self.feature {
                FeatureArg::Published => Feature::Published,
                FeatureArg::BeforeProjection => Feature::BeforeProjection,
                FeatureArg::Mean => Feature::Mean,
                FeatureArg::LastBlocks => Feature::LastBlocks,
            },
            activation: self.activation.map(|activation| match activation {
                ActivationArg::Gelu => Activation::Gelu,
                ActivationArg::QuickGelu => Activation::QuickGelu,
            }),
            positions: self.pos_interpolation.map(|library| match library {
                PositionsArg::Transformers => Positions::Transformers,
                PositionsArg::Timm => Positions::Timm,
                PositionsArg::OpenClip => Positions::OpenClip,
                PositionsArg::Mae => Positions::Mae,
                PositionsArg::Meta => Positions::Meta,
            }),
            allow_missing: &self.allow_missing,
            classes: 1,
        }
    }

    /// With the last blocks of a transformer as the feature, unless another is asked for.
    pub fn with_last_blocks(&self, name: &str) -> Self {
        let mut own = self.clone();
        let is_vit = pretrained::find(name)
            .is_ok_and(|entry| matches!(entry.architecture, pretrained::Architecture::Vit(_)));
        if is_vit && matches!(own.feature, FeatureArg::Published) {
            own.feature = FeatureArg::LastBlocks;
        }
        own
    }

    /// Whether one set of weights is named: then there can be only one backbone.
    pub fn names_weights(&self) -> bool {
        self.weights.is_some()
    }

    /// The weights' id, file or folder.
    fn named(&self, entry: &Entry) -> Result<&str> {
        match (self.weights.as_deref(), entry.published) {
            (Some(named), _) => Ok(named),
            (None, Some(published)) => Ok(published),
            (None, None) => bail!(
                "{}: its weights aren't on the Hub: name their file with --weights FILE",
                entry.name
            ),
        }
    }

    fn files(named: &str, quiet: bool) -> Result<Files> {
        if named.starts_with("hf:") {
            return from_hub(named, quiet);
        }
        let path = Path::new(named);
        if !path.exists() {
            bail!("--weights {named}: no such file or folder; weights of the Hub are hf:ORG/NAME");
        }
        Ok(Files::local(path))
    }
}

#[cfg(feature = "hub")]
fn from_hub(id: &str, quiet: bool) -> Result<Files> {
    crate::hub::files(id, quiet)
}

#[cfg(feature = "hub")]
fn tokenizer_from_hub(id: &str) -> Result<Option<PathBuf>> {
    crate::hub::tokenizer(id)
}

#[cfg(not(feature = "hub"))]
fn tokenizer_from_hub(id: &str) -> Result<Option<PathBuf>> {
    from_hub(id, true).map(|files| files.configs)
}

#[cfg(not(feature = "hub"))]
fn from_hub(id: &str, _quiet: bool) -> Result<Files> {
    bail!(
        "{id}: this build has no access to the Hub (it lacks the feature `hub`): download the weights and name them \
         with --weights FILE"
    )
}

/// What the preprocessing does to an image.
///
/// # Errors
/// Sizes or numbers out of range.
pub fn pipeline(preprocessing: &Preprocessing) -> Result<Pipeline> {
    let Preprocessing {
        resize,
        interpolation,
        crop,
        mean,
        std,
    } = preprocessing;
    let geometry = match *resize {
        Resize::ShortSide(resize) => EvaluationGeometry::ShortSide {
            resize,
            size: *crop,
        },
        Resize::Square => EvaluationGeometry::Whole { size: *crop },
    };
    let filter = match interpolation {
        Interpolation::Bilinear => mr2_data::Interpolation::Bilinear,
        Interpolation::Bicubic => mr2_data::Interpolation::Bicubic,
    };
    evaluation_transforms(geometry, filter, mean, std)
        .and_then(Pipeline::new)
        .context("the weights' preprocessing")
}
