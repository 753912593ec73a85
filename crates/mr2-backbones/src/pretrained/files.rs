//! Weights, and the configuration files that are published beside them.
use std::path::{Path, PathBuf};

use super::preprocessing::ConfigKind;

/// The configuration files that are looked for, and whose they are. open_clip's comes before timm's: its
/// repositories have both.
pub(super) const PREPROCESSING: [(&str, ConfigKind); 3] = [
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
    /// A file of weights alone, or a folder of weights and configuration files.
    pub fn local(path: &Path) -> Self {
        Self {
            weights: path.to_path_buf(),
            configs: path.is_dir().then(|| path.to_path_buf()),
            origin: path.display().to_string(),
        }
    }
}
