//! From files to CLIP's text tower and its tokenizer.
use std::path::Path;

use candle_core::{DType, Device};
use mr2_nn::params::ParamStore;

use super::activation;
use super::configs::{self, Found};
use super::files::Files;
use super::open::{Error, Request};
use crate::clip_text::weights::{Unseen, config_of};
use crate::clip_text::{ClipText, Tokenizer};
use crate::weights;
use crate::weights::keys::Family;

/// CLIP's, where no configuration says it.
const EPS: f64 = 1e-5;

/// A text tower with published weights.
pub struct TextTower {
    /// The tower.
    pub network: ClipText,
    /// Its parameters.
    pub params: ParamStore,
    /// What makes its tokens.
    pub tokenizer: Tokenizer,
}

/// Opens the text tower of a CLIP in f32; the files are those of [`open`](super::open()), with both towers in the file
/// of weights. The tokenizer comes from the folder `tokenizer`, or else from that of the configuration files.
///
/// Configuration files say ε, heads and the activation; the request says it where they don't.
///
/// # Errors
/// A model that isn't CLIP; files that can't be read, have no text tower or aren't complete; no tokenizer; weights
/// whose activation nothing tells, or the configuration and the request in two ways.
pub fn open_text(
    request: &Request,
    files: &Files,
    tokenizer: Option<&Path>,
    device: &Device,
) -> Result<TextTower, Error> {
    let entry = request.entry;
    if !matches!(entry.family, Family::Clip | Family::ClipResNet) {
        return Err(Error::Request {
            name: entry.name,
            reason: "it has no text tower; those named clip-* have one".to_string(),
        });
    }
    let found = match &files.configs {
        Some(folder) => configs::read(folder)?,
        None => Found::default(),
    };
    let Some(folder) = tokenizer.or(files.configs.as_deref()) else {
        return Err(Error::Request {
            name: entry.name,
            reason: format!(
                "{} is a file of weights alone: name the folder of its tokenizer.json with --tokenizer",
                files.origin
            ),
        });
    };
    let tokenizer = Tokenizer::read(folder)?;
    let activation = activation::of_texts(request, &found, files)?;
    let fit = |cause: String| Error::Fit {
        origin: files.origin.clone(),
        cause,
    };
    let tensors = Family::ClipText
        .to_ours(weights::read(&files.weights)?.tensors)
        .map_err(|error| fit(error.to_string()))?;
    let unseen = Unseen {
        heads: found.text.heads,
        activation,
        eps: found.text.eps.unwrap_or(EPS),
    };
    let net = config_of(&tensors, unseen).map_err(|error| fit(error.to_string()))?;
    let params = ParamStore::new(0, DType::F32, device);
    let network =
        ClipText::new(&net, params.var_builder()).map_err(|error| fit(error.to_string()))?;
    weights::fit(&params, tensors, &[]).map_err(|error| fit(error.to_string()))?;
    Ok(TextTower {
        network,
        params,
        tokenizer,
    })
}
