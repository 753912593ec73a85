//! Which activation the transformers of weights have: CLIP's are published with two.
use mr2_nn::layers::Activation;

use super::configs::Found;
use super::entries::Entry;
use super::files::Files;
use super::open::{Error, Request};
use crate::weights::keys::Family;

/// That of an image tower: the files', or else the one that was asked for, or else (nothing is returned) the entry's.
/// Weights of CLIP's family that come without configuration, and not from the entry's own repository, could have either.
pub(super) fn of_images(
    request: &Request,
    found: &Found,
    files: &Files,
) -> Result<Option<Activation>, Error> {
    let entry = request.entry;
    if request.activation.is_some() && entry.family != Family::Clip {
        return Err(Error::request(
            entry,
            "its activation is the same in all published weights: leave --activation out",
        ));
    }
    let told = told(request, found.activation.clone())?;
    if told.is_none() && entry.family == Family::Clip && !is_own(entry, files) {
        return Err(untold(entry, files));
    }
    Ok(told)
}

/// That of CLIP's text tower, in the same order.
pub(super) fn of_texts(
    request: &Request,
    found: &Found,
    files: &Files,
) -> Result<Activation, Error> {
    let entry = request.entry;
    let texts = found.text.activation.clone();
    // All entries are OpenAI's weights.
    let published = is_own(entry, files).then_some(Activation::QuickGelu);
    let told = match entry.family {
        // Residual towers have no GELU; that a configuration doesn't say quick is no word on the texts' either.
        Family::ClipResNet => {
            let images = said(entry, found.activation.clone())?;
            told(request, texts)?.or(published).or(images)
        }
        _ => told(request, texts.or(found.activation.clone()))?.or(published),
    };
    told.ok_or_else(|| untold(entry, files))
}

/// What the configuration says, or else the request; they must agree.
fn told(
    request: &Request,
    found: Option<Result<Activation, String>>,
) -> Result<Option<Activation>, Error> {
    let said = said(request.entry, found)?;
    match (request.activation, said) {
        (Some(wanted), Some(said)) if wanted != said => Err(Error::request(
            request.entry,
            format!(
                "--activation says {wanted:?}, the configuration beside the weights {said:?}: leave --activation out"
            ),
        )),
        (wanted, said) => Ok(said.or(wanted)),
    }
}

fn said(
    entry: &Entry,
    found: Option<Result<Activation, String>>,
) -> Result<Option<Activation>, Error> {
    found
        .transpose()
        .map_err(|reason| Error::request(entry, reason))
}

fn untold(entry: &Entry, files: &Files) -> Error {
    let reason = format!(
        "no configuration beside {} says its activation, and CLIP's weights come with two: give --activation quick_gelu \
         for OpenAI's weights, gelu for most of open_clip's",
        files.origin
    );
    Error::request(entry, reason)
}

/// Whether the files come from the repository that the entry is published in.
fn is_own(entry: &Entry, files: &Files) -> bool {
    let repository = |id: &str| -> Option<String> {
        let rest = id.strip_prefix("hf:")?;
        Some(rest.split(['@', ':']).next()?.to_string())
    };
    entry.published.and_then(repository) == repository(&files.origin) && entry.published.is_some()
}
