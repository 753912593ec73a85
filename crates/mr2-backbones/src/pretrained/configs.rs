//! What the configuration files beside weights say of the model.
use std::path::{Path, PathBuf};

use mr2_nn::layers::Activation;
use serde_json::Value;

use super::files::PREPROCESSING;
use super::open::Error;
use super::preprocessing::{ConfigKind, Preprocessing};

/// What was found; each is nothing where no file says it.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub preprocessing: Option<Preprocessing>,
    pub activation: Option<Activation>,
    pub eps: Option<f64>,
}

/// Reads the configuration files of a folder.
pub(super) fn read(folder: &Path) -> Result<Found, Error> {
    let mut found = Found::default();
    for (name, kind) in PREPROCESSING {
        let path = folder.join(name);
        let Some(text) = text_of(&path)? else {
            continue;
        };
        let refuse = |reason| Error::config(&path, reason);
        let config: Value = serde_json::from_str(&text)
            .map_err(|error| refuse(format!("not valid JSON: {error}")))?;
        if name == "config.json" {
            transformers(&config, &mut found).map_err(refuse)?;
            if config.get("pretrained_cfg").is_none() {
                continue;
            }
        }
        if kind == ConfigKind::OpenClip && found.activation.is_none() {
            let quick = config
                .pointer("/model_cfg/quick_gelu")
                .and_then(Value::as_bool);
            found.activation = Some(match quick {
                Some(true) => Activation::QuickGelu,
                _ => Activation::Gelu,
            });
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

/// The activation and the ε of transformers' models; CLIP's two towers have a configuration each.
fn transformers(config: &Value, found: &mut Found) -> Result<(), String> {
    let vision = config.get("vision_config").unwrap_or(config);
    if let Some(activation) = vision
        .get("hidden_act")
        .filter(|act| act.as_str() != Some("relu"))
    {
        found.activation = Some(match activation.as_str() {
            Some("gelu") => Activation::Gelu,
            Some("quick_gelu") => Activation::QuickGelu,
            _ => {
                return Err(format!(
                    "`hidden_act`: expected gelu or quick_gelu, got {activation}"
                ));
            }
        });
    }
    found.eps = vision.get("layer_norm_eps").and_then(Value::as_f64);
    Ok(())
}
