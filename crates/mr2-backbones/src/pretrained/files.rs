//! Weights, and the configuration files that are published beside them.
use std::path::{Path, PathBuf};

use super::open::Error;
use super::preprocessing::ConfigKind;
use crate::weights::NAMES;

/// The configuration files that are looked for, and whose they are. open_clip's comes before timm's: its
/// repositories have both.
pub const CONFIGS: [(&str, ConfigKind); 3] = [
    ("preprocessor_config.json", ConfigKind::Transformers),
    ("open_clip_config.json", ConfigKind::OpenClip),
    ("config.json", ConfigKind::Timm),
];

/// What a model is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The file of weights, or the folder that holds it.
    pub weights: PathBuf,
    /// The folder with configuration files, if there is one.
    pub configs: Option<PathBuf>,
    /// How a user would name them: `hf:ORG/NAME@COMMIT`, or the path.
    pub origin: String,
}

impl Files {
    pub(super) fn misfit(&self, cause: impl ToString) -> Error {
        Error::Fit {
            origin: self.origin.clone(),
            cause: cause.to_string(),
        }
    }

    /// A folder of weights and configuration files, or a file of weights: alone, unless it has a name under which weights
    /// are published, as `model.safetensors`; then the configuration files beside it are its own.
    pub fn local(path: &Path) -> Self {
        let name = path.file_name().and_then(|name| name.to_str());
        let configs = match path.is_dir() {
            true => Some(path),
            false if name.is_some_and(|name| NAMES.contains(&name)) => path.parent(),
            false => None,
        };
        Self {
            weights: path.to_path_buf(),
            configs: configs.map(Path::to_path_buf),
            origin: path.display().to_string(),
        }
    }
}
