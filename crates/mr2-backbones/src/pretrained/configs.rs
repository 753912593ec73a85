//! What the configuration files beside weights say of the model.
use std::path::{Path, PathBuf};

use mr2_nn::layers::Activation;
use serde_json::Value;

use super::files::{CONFIGS, Files};
use super::open::Error;
use super::preprocessing::{ConfigKind, Preprocessing};

/// What was found; each is nothing where no file says it.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub preprocessing: Option<Preprocessing>,
    /// An activation that isn't known is an error where it matters.
    pub activation: Option<Result<Activation, String>>,
    pub eps: Option<f64>,
    /// Of attention, which no tensor's shape tells.
    pub heads: Option<usize>,
    pub text: FoundText,
}

/// What is said of CLIP's text tower.
#[derive(Debug, Default)]
pub(super) struct FoundText {
    pub activation: Option<Result<Activation, String>>,
    pub eps: Option<f64>,
    pub heads: Option<usize>,
}

/// What the configuration files beside weights say, if there are any.
pub(super) fn of(files: &Files) -> Result<Found, Error> {
    match &files.configs {
        Some(folder) => read(folder),
        None => Ok(Found::default()),
    }
}

/// Reads the configuration files of a folder.
fn read(folder: &Path) -> Result<Found, Error> {
    let mut found = Found::default();
    for (name, kind) in CONFIGS {
        let path = folder.join(name);
        let Some(text) = text_of(&path)? else {
            continue;
        };
        let refuse = |reason| Error::config(&path, reason);
        let config: Value = serde_json::from_str(&text)
            .map_err(|error| refuse(format!("not valid JSON: {error}")))?;
        if name == "config.json" {
            transformers(&config, &mut found);
            if config.get("pretrained_cfg").is_none() {
                continue;
            }
        }
        if kind == ConfigKind::OpenClip {
            found.text.heads = number(&config, "/model_cfg/text_cfg/heads").or(found.text.heads);
        }
        if kind == ConfigKind::OpenClip && found.activation.is_none() {
            let quick = config
                .pointer("/model_cfg/quick_gelu")
                .and_then(Value::as_bool);
            found.activation = Some(Ok(match quick {
                Some(true) => Activation::QuickGelu,
                _ => Activation::Gelu,
            }));
        }
        if found.preprocessing.is_none() {
            let read = Preprocessing::from_config(kind, &text).map_err(refuse)?;
            found.preprocessing = Some(read);
        }
    }
    Ok(found)
}

fn text_of(path: &PathBuf) -> Result<Option<String>, Error> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::config(path, format!("cannot be read: {error}"))),
    }
}

/// The activation and the ε of transformers' models; CLIP's two towers have a configuration each, of which only what
/// differs from the usual may be written.
fn transformers(config: &Value, found: &mut Found) {
    let vision = config.get("vision_config").unwrap_or(config);
    let kind = config.get("model_type").and_then(Value::as_str);
    let clip = matches!(kind, Some("clip" | "clip_vision_model"));
    let unsaid = clip.then_some(Activation::QuickGelu);
    found.activation = activation(vision, unsaid).or(found.activation.take());
    found.eps = eps(vision);
    found.heads = number(vision, "/num_attention_heads");
    let text = config.get("text_config").unwrap_or(&Value::Null);
    found.text = FoundText {
        activation: activation(text, unsaid),
        eps: eps(text),
        heads: number(text, "/num_attention_heads").or(found.text.heads),
    };
}

fn activation(tower: &Value, unsaid: Option<Activation>) -> Option<Result<Activation, String>> {
    let Some(said) = tower.get("hidden_act") else {
        return unsaid.map(Ok);
    };
    Some(match said.as_str() {
        Some("gelu") => Ok(Activation::Gelu),
        Some("quick_gelu") => Ok(Activation::QuickGelu),
        _ => Err(format!(
            "config.json: `hidden_act`: expected gelu or quick_gelu, got {said}"
        )),
    })
}

fn eps(tower: &Value) -> Option<f64> {
    tower.get("layer_norm_eps").and_then(Value::as_f64)
}

fn number(config: &Value, pointer: &str) -> Option<usize> {
    let number = config.pointer(pointer)?.as_u64()?;
    usize::try_from(number).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read_with(files: &[(&str, &str)]) -> Result<Found, Error> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        read(folder.path())
    }

    #[test]
    fn activation_and_epsilon_are_those_of_the_image_tower() {
        let both = r#"{"model_type": "clip", "vision_config": {"hidden_act": "gelu", "layer_norm_eps": 1e-5, "num_attention_heads": 3}, "text_config": {"hidden_act": "quick_gelu"}}"#;
        let found = read_with(&[("config.json", both)]).unwrap();
        assert_eq!(found.activation, Some(Ok(Activation::Gelu)));
        assert_eq!((found.eps, found.heads), (Some(1e-5), Some(3)));
        assert_eq!(found.text.activation, Some(Ok(Activation::QuickGelu)));
        assert_eq!(found.text.eps, None);
        let short = r#"{"model_type": "clip", "vision_config": {}}"#;
        let found = read_with(&[("config.json", short)]).unwrap();
        assert_eq!(found.activation, Some(Ok(Activation::QuickGelu)));
        assert_eq!(found.text.activation, Some(Ok(Activation::QuickGelu)));
        let resnet = r#"{"model_type": "resnet", "hidden_act": "relu"}"#;
        let found = read_with(&[("config.json", resnet)]).unwrap();
        assert!(matches!(found.activation, Some(Err(_))) && found.preprocessing.is_none());
    }

    #[test]
    fn open_clip_says_quick_gelu_or_means_the_exact_one() {
        let preprocess = r#""preprocess_cfg": {"size": 224, "mean": [0, 0, 0], "std": [1, 1, 1]}"#;
        for (model, activation) in [
            (r#"{"quick_gelu": true}"#, Activation::QuickGelu),
            ("{}", Activation::Gelu),
        ] {
            let text = format!("{{\"model_cfg\": {model}, {preprocess}}}");
            // timm's configuration, which doesn't say it, is beside it.
            let timm = ("config.json", r#"{"architecture": "resnet50_clip"}"#);
            let found = read_with(&[("open_clip_config.json", &text), timm]).unwrap();
            assert_eq!(found.activation, Some(Ok(activation)));
            assert!(found.text.activation.is_none());
            assert_eq!(found.preprocessing.unwrap().crop, 224);
        }
    }

    #[test]
    fn a_file_that_is_wrong_is_named() {
        let error = read_with(&[("config.json", "{")]).unwrap_err().to_string();
        assert!(
            error.contains("config.json") && error.contains("not valid JSON"),
            "{error}"
        );
        let error = read_with(&[("preprocessor_config.json", "{}")])
            .unwrap_err()
            .to_string();
        assert!(error.contains("preprocessor_config.json"), "{error}");
    }
}
