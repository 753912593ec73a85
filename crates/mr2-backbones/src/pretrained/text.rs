//! From files to CLIP's text tower and its tokenizer.
use std::path::Path;

use candle_core::{DType, Device};
use mr2_nn::params::ParamStore;

use super::configs::{self, Found};
use super::entries::Entry;
use super::files::Files;
use super::open::{Error, Pretrained, Request};
use super::{activation, open};
use crate::clip_text::weights::{Unseen, config_of};
use crate::clip_text::{ClipText, Tokenizer};
use crate::weights::keys::Family;
use crate::weights::{self, Tensors};

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
    check_has_text(request.entry)?;
    let (found, tokenizer) = (
        configs::of(files)?,
        tokenizer_of(request, files, tokenizer)?,
    );
    let unseen = unseen(request, files, &found)?;
    let file = weights::read(&files.weights)?;
    of_tensors(files, unseen, file.tensors, tokenizer, device)
}

/// What [`open`](super::open()) and [`open_text`] open, from files that are read once. An activation that is asked for is
/// that of both towers; beside a residual net, which has its own, that of the texts alone.
///
/// # Errors
/// As both.
pub fn open_both(
    request: &Request,
    files: &Files,
    tokenizer: Option<&Path>,
    device: &Device,
) -> Result<(Pretrained, TextTower), Error> {
    check_has_text(request.entry)?;
    let images = Request {
        activation: request
            .activation
            .filter(|_| request.entry.family == Family::Clip),
        ..request.clone()
    };
    open::check(&images)?;
    let (found, tokenizer) = (
        configs::of(files)?,
        tokenizer_of(request, files, tokenizer)?,
    );
    let unseen = unseen(request, files, &found)?;
    let file = weights::read(&files.weights)?;
    let texts = of_tensors(files, unseen, file.tensors.clone(), tokenizer, device)?;
    Ok((open::of_file(&images, files, &found, file, device)?, texts))
}

/// Whether the entry is of a model that has a text tower.
///
/// # Errors
/// When it isn't CLIP.
pub fn check_has_text(entry: &Entry) -> Result<(), Error> {
    match entry.family {
        Family::Clip | Family::ClipResNet => Ok(()),
        _ => Err(Error::request(
            entry,
            "it has no text tower; those named clip-* have one",
        )),
    }
}

fn tokenizer_of(
    request: &Request,
    files: &Files,
    folder: Option<&Path>,
) -> Result<Tokenizer, Error> {
    let Some(folder) = folder.or(files.configs.as_deref()) else {
        let reason = format!(
            "{} is a file of weights alone: name the folder of its tokenizer.json with --tokenizer",
            files.origin
        );
        return Err(Error::request(request.entry, reason));
    };
    Ok(Tokenizer::read(folder)?)
}

/// What the tensors' shapes don't say.
fn unseen(request: &Request, files: &Files, found: &Found) -> Result<Unseen, Error> {
    Ok(Unseen {
        heads: found.text.heads,
        activation: activation::of_texts(request, found, files)?,
        eps: found.text.eps.unwrap_or(EPS),
    })
}

fn of_tensors(
    files: &Files,
    unseen: Unseen,
    tensors: Tensors,
    tokenizer: Tokenizer,
    device: &Device,
) -> Result<TextTower, Error> {
    let tensors = Family::ClipText
        .to_ours(tensors)
        .map_err(|error| files.misfit(error))?;
    let net = config_of(&tensors, unseen).map_err(|error| files.misfit(error))?;
    let params = ParamStore::zeros(DType::F32, device);
    let network = ClipText::new(&net, params.var_builder()).map_err(|error| files.misfit(error))?;
    weights::fit(&params, tensors, &[]).map_err(|error| files.misfit(error))?;
    Ok(TextTower {
        network,
        params,
        tokenizer,
    })
}
