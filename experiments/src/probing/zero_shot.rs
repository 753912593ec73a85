//! A classifier made of the names of classes, for CLIP: nothing is fitted and nothing chosen.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor};
use mr2_backbones::clip_text::{Template, own_templates, zero_shot_head, zero_shot_logits};
use mr2_backbones::pretrained::TextTower;
use mr2_metrics::arg_max;
use mr2_nn::graph::{Ctx, Mode};
use mr2_train::features::Features;
use serde::Serialize;

use super::run::Classifier;

/// What result rows call it, as a protocol and as a method.
pub const NAME: &str = "zero_shot";

/// What is said of images, for the result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Texts {
    /// With `{}` for a class.
    pub templates: Vec<Template>,
    /// What each class is called in them.
    pub classes: Vec<String>,
}

impl Texts {
    /// The templates of the command line and of a file, one a line, or else our own; classes as the folders are called,
    /// with blanks for `_`, or as the lines of a file say, in the order of the classes.
    ///
    /// # Errors
    /// A template without `{}`; a file that can't be read or has another number of lines than there are classes; two
    /// classes of one name.
    pub fn new(
        templates: &[String],
        templates_file: Option<&Path>,
        classes: &[String],
        classes_file: Option<&Path>,
    ) -> Result<Self> {
        let mut given = templates.to_vec();
        if let Some(path) = templates_file {
            given.extend(lines(path, "--templates")?);
        }
        let templates = match given.is_empty() {
            true => own_templates(),
            false => given
                .iter()
                .map(|text| Ok(Template::new(text)?))
                .collect::<Result<_>>()?,
        };
        let names = match classes_file {
            Some(path) => {
                let names = lines(path, "--class-names")?;
                if names.len() != classes.len() {
                    bail!(
                        "--class-names {}: {} names for {} classes; write one a line, in the order {}",
                        path.display(),
                        names.len(),
                        classes.len(),
                        shortened(classes)
                    );
                }
                names
            }
            None => classes.iter().map(|name| name.replace('_', " ")).collect(),
        };
        let mut seen = HashMap::new();
        for (name, class) in names.iter().zip(classes) {
            if let Some(other) = seen.insert(name, class) {
                bail!(
                    "the classes {other} and {class} are both called {name:?}, so no text tells them apart: name them \
                     with --class-names FILE"
                );
            }
        }
        Ok(Self {
            templates,
            classes: names,
        })
    }
}

/// The first classes, for a message.
fn shortened(classes: &[String]) -> String {
    let first: Vec<&str> = classes.iter().take(4).map(String::as_str).collect();
    let more = if classes.len() > first.len() {
        ", …"
    } else {
        ""
    };
    format!("{}{more}", first.join(", "))
}

/// A file's lines, without those that are blank.
fn lines(path: &Path, option: &str) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("{option}: cannot read {}", path.display()))?;
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    let lines: Vec<String> = lines
        .filter(|line| !line.is_empty())
        .map(str::to_string)
        .collect();
    if lines.is_empty() {
        bail!("{option} {}: the file is empty", path.display());
    }
    Ok(lines)
}

/// Classifies test images by their features.
///
/// # Errors
/// A text that can't be encoded; towers of different models; logits that aren't finite.
pub fn classify(
    text: &TextTower,
    texts: &Texts,
    test: &Features,
    device: &Device,
) -> Result<Classifier> {
    let cx = Ctx::new(device, DType::F32, Mode::Eval)?;
    let head = zero_shot_head(
        &cx,
        &text.network,
        &text.tokenizer,
        &texts.classes,
        &texts.templates,
    )?;
    let images = (test.labels.len(), test.dim);
    let features = Tensor::from_slice(&test.values, images, device)?;
    let logits = zero_shot_logits(&features, &head)?;
    let logits: Vec<f32> = logits.flatten_all()?.to_vec1()?;
    if let Some(place) = logits.iter().position(|logit| !logit.is_finite()) {
        let classes = texts.classes.len();
        bail!(
            "the logit of test image {} and {:?} isn't finite: the weights of one of the towers are wrong",
            place / classes,
            texts.classes[place % classes]
        );
    }
    let predictions = arg_max(&logits, texts.classes.len())?;
    let count = texts.templates.len();
    Ok(Classifier {
        method: NAME.to_string(),
        seed: 0,
        chosen: None,
        refit: None,
        features: None,
        setting: format!("{count} template{}", if count == 1 { "" } else { "s" }),
        margins: Vec::new(),
        predictions,
        logits: Some(logits),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn named(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn folders_give_names_with_blanks_and_files_their_lines() {
        let classes = named(&["grey_wolf", "tench"]);
        let own = Texts::new(&[], None, &classes, None).unwrap();
        assert_eq!(own.classes, ["grey wolf", "tench"]);
        assert_eq!(own.templates, own_templates());
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let names = path("names", "\u{feff}timber wolf\r\n\n tench, a fish \n");
        let templates = path("templates", "a drawing of a {}.\n{}\n");
        let first = named(&["my {}"]);
        let given = Texts::new(&first, Some(&templates), &classes, Some(&names)).unwrap();
        assert_eq!(given.classes, ["timber wolf", "tench, a fish"]);
        let said: Vec<String> = given.templates.iter().map(|t| t.of("cat")).collect();
        assert_eq!(said, ["my cat", "a drawing of a cat.", "cat"]);

        let error = |result: Result<Texts>| format!("{:#}", result.unwrap_err());
        let short = path("short", "wolf\n");
        let message = error(Texts::new(&[], None, &classes, Some(&short)));
        assert!(message.contains("1 names for 2 classes"), "{message}");
        let message = error(Texts::new(&named(&["a photo"]), None, &classes, None));
        assert!(message.contains("has no {} for the class"), "{message}");
        let message = error(Texts::new(&[], None, &named(&["a_b", "a b"]), None));
        assert!(message.contains("no text tells them apart"), "{message}");
        let message = error(Texts::new(&[], Some(&path("no", "\n")), &classes, None));
        assert!(message.contains("the file is empty"), "{message}");
    }

    #[test]
    fn of_equal_logits_the_first_wins() {
        assert_eq!(arg_max(&[0.5, 2.0, 2.0, -1.0], 4).unwrap(), [1]);
    }
}
