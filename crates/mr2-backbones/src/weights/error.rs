//! What can go wrong between a file of weights and a model. Every message names the file, what was expected,
//! what was found and what to do about it.

use std::path::{Path, PathBuf};

/// The result of this module's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of reading or loading weights.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder cannot be read.
    #[error("{}: cannot be read: {cause}. Check that it exists and is readable", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A folder has none of the files that weights are published in.
    #[error("{}: holds no weights. Looked for: {looked_for}. Name the file itself if it has another name", path.display())]
    NoWeights {
        /// The folder.
        path: PathBuf,
        /// The names that were tried.
        looked_for: String,
    },
    /// The index of a sharded checkpoint is wrong.
    #[error("{}: index of shards: {reason}. Get all files of the checkpoint again, from one revision", path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The content is in none of the formats.
    #[error("{}: {reason}. Expected safetensors or what torch.save writes", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What it is instead, or where it breaks.
        reason: String,
    },
    /// A TorchScript archive: a program with its weights.
    #[error(
        "{}: it is a TorchScript archive, a program rather than a dictionary of tensors. Take the same weights as \
         safetensors (for OpenAI's CLIP: openai/clip-vit-* or timm/*_clip*.openai on the Hub), or convert once in \
         Python: torch.save(torch.jit.load(FILE, map_location=\"cpu\").state_dict(), NEW_FILE)",
        path.display()
    )]
    TorchScript {
        /// The file.
        path: PathBuf,
    },
    /// A pickle is damaged, or asks for something that is not on the list of what it may name.
    #[error(
        "{}: pickle: {reason} (at byte {offset}). Nothing in it was run. If you trust the file, write its tensors \
         alone in Python: torch.save(MODEL.state_dict(), NEW_FILE); if not, get it again from its publisher",
        path.display()
    )]
    Pickle {
        /// The file.
        path: PathBuf,
        /// Byte of the pickle (of the file, in the older format) at which reading stopped.
        offset: usize,
        /// What is wrong.
        reason: String,
    },
    /// A tensor cannot be made of what the file says of it.
    #[error("{}: tensor {name}: {reason}. The file is damaged or of a kind that is not read: get it again, or as safetensors", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// Names, shapes or values don't fit the model.
    #[error("the weights don't fit the model:\n  {}", problems.join("\n  "))]
    Fit {
        /// One line for each tensor that is missing, unexpected, of another shape or not finite.
        problems: Vec<String>,
    },
    /// Candle refused.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl Error {
    pub(super) fn io(path: &Path, cause: std::io::Error) -> Self {
        let path = path.to_path_buf();
        Error::Io { path, cause }
    }

    pub(super) fn format(path: &Path, reason: impl ToString) -> Self {
        let (path, reason) = (path.to_path_buf(), reason.to_string());
        Error::Format { path, reason }
    }

    /// A fault in the pickle that begins at byte `start`.
    pub(super) fn pickle(path: &Path, start: usize, fault: mr2_pickle::Fault) -> Self {
        Error::Pickle {
            path: path.to_path_buf(),
            offset: start + fault.offset,
            reason: fault.reason,
        }
    }

    pub(super) fn tensor(path: &Path, name: &str, reason: impl ToString) -> Self {
        Error::Tensor {
            path: path.to_path_buf(),
            name: name.to_string(),
            reason: reason.to_string(),
        }
    }
}
