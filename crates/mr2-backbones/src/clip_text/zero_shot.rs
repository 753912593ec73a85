//! Classifiers made of texts: no image of a class is needed.
use candle_core::{Result, Tensor, bail};
use mr2_nn::graph::Ctx;
use serde::Serialize;

use super::{ClipText, Tokenizer, normalised};

/// Where a class stands in a template.
const PLACE: &str = "{}";

/// Texts that go through the tower at once.
const BATCH: usize = 64;

/// What is said of an image of a class, with `{}` for the class: `a photo of a {}.`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Template(String);

/// A template without a place for the class.
#[derive(Debug, thiserror::Error)]
#[error("the template {0:?} has no {{}} for the class: write for instance \"a photo of a {{}}.\"")]
pub struct TemplateError(String);

impl Template {
    /// # Errors
    /// A text without `{}`.
    pub fn new(text: &str) -> std::result::Result<Self, TemplateError> {
        match text.contains(PLACE) {
            true => Ok(Self(text.to_string())),
            false => Err(TemplateError(text.to_string())),
        }
    }

    /// What it says of a class.
    pub fn of(&self, class: &str) -> String {
        self.0.replace(PLACE, class)
    }
}

/// Seven templates for photographs: of different sizes, light and sharpness. OpenAI's own lists are per data set.
pub fn own_templates() -> Vec<Template> {
    [
        "a photo of a {}.",
        "a picture that shows a {}.",
        "a close-up of a {}.",
        "a {} seen from far away.",
        "a bright picture of a {}.",
        "a dark picture of a {}.",
        "a blurred photo of the {}.",
    ]
    .map(|text| Template(text.to_string()))
    .to_vec()
}

/// The weight of a linear classifier without bias over normalised features of images: of each class the normalised
/// features of all templates' texts, their mean, normalised, times [`ClipText::logit_factor`] (Radford et al. 2021,
/// section 3.1.4; Wortsman et al. 2021, arXiv 2109.01903).
///
/// # Shapes
/// Returns (classes, [`projection`](super::ClipTextConfig::projection)).
///
/// # Errors
/// No class or template; a text that can't be encoded; those of the tower.
pub fn zero_shot_head(
    cx: &Ctx,
    tower: &ClipText,
    tokenizer: &Tokenizer,
    classes: &[String],
    templates: &[Template],
) -> Result<Tensor> {
    if classes.is_empty() || templates.is_empty() {
        bail!(
            "zero-shot: expected classes and templates, got {} and {}",
            classes.len(),
            templates.len()
        )
    }
    let context = tower.config().context;
    let mut texts = Vec::with_capacity(classes.len() * templates.len());
    for class in classes {
        for template in templates {
            let tokens = tokenizer.encode(&template.of(class), context);
            texts.push(tokens.map_err(candle_core::Error::wrap)?);
        }
    }
    let features = texts.chunks(BATCH).map(|texts| tower.features(cx, texts));
    let features = Tensor::cat(&features.collect::<Result<Vec<_>>>()?, 0)?;
    let features = normalised(&features)?;
    let features = features.reshape((classes.len(), templates.len(), tower.config().projection))?;
    normalised(&features.mean(1)?)? * tower.logit_factor()?
}

/// Logits of images under a [`zero_shot_head`]: their features normalised, times the head.
///
/// # Shapes
/// `features`: (images, features), as the image tower projects them; returns (images, classes).
///
/// # Errors
/// Features of another length than the texts'.
pub fn zero_shot_logits(features: &Tensor, head: &Tensor) -> Result<Tensor> {
    let (images, texts) = (features.dim(1)?, head.dim(1)?);
    if images != texts {
        bail!(
            "zero-shot: images have {images} features, texts {texts}: the towers aren't of one model, or the images' \
             isn't projected"
        )
    }
    normalised(features)?.matmul(&head.t()?)
}
