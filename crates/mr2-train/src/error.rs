//! What can go wrong around a run, with the file, the field and the fix in the message.

use std::io;
use std::path::{Path, PathBuf};

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of training, evaluation or a run folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file operation failed; the message says which file and what stands there now, and the
    /// source why.
    #[error("{}: cannot {action}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was being done, as in "cannot …".
        action: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// Another process holds the run folder.
    #[error(
        "{}: the run folder is in use by {holder}; wait until it ends, or choose another folder",
        path.display()
    )]
    Locked {
        /// The run folder.
        path: PathBuf,
        /// The holder, as it wrote itself into the lock file.
        holder: String,
    },
    /// A new run was asked for in a folder that holds one.
    #[error(
        "{}: the folder already holds a run; resume it, or choose another folder", path.display()
    )]
    HoldsRun {
        /// The run folder.
        path: PathBuf,
    },
    /// A run was to be resumed from a folder that holds none.
    #[error("{}: the folder holds no run to resume; start a new one there", path.display())]
    NothingToResume {
        /// The run folder.
        path: PathBuf,
    },
    /// The given configuration isn't the one that the run was started with.
    #[error(
        "{}: the configuration differs from the one that this run was started with \
         (- saved, + given):\n{difference}\n\
         resume with the saved configuration, or start a new run in another folder",
        path.display()
    )]
    ConfigChanged {
        /// The saved `config.toml`.
        path: PathBuf,
        /// The differing lines.
        difference: String,
    },
    /// One checkpoint can't be used.
    #[error("{}: not a usable checkpoint: {reason}", path.display())]
    Checkpoint {
        /// The checkpoint file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A checkpoint was asked for that the run doesn't have.
    #[error("{}: holds no {wanted}", path.display())]
    NoCheckpoint {
        /// The checkpoint folder.
        path: PathBuf,
        /// What was looked for, and what may be the reason.
        wanted: String,
    },
    /// Checkpoints are there and none can be used.
    #[error(
        "{}: none of the checkpoints can be used; start the run again in another folder:\n{reasons}",
        path.display()
    )]
    NoUsableCheckpoint {
        /// The checkpoint folder.
        path: PathBuf,
        /// One line for each file.
        reasons: String,
    },
    /// A file of the run folder can't be read back.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Stored features that can't be used.
    #[error(
        "{}: not usable features: {reason}; remove the file, or have it computed again",
        path.display()
    )]
    Features {
        /// The file of the shard.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A configuration value that can't be used.
    #[error("config key `{key}`: {reason}")]
    Config {
        /// The key.
        key: &'static str,
        /// What is wrong with it and what would be right.
        reason: String,
    },
    /// A loss, feature, gradient or weight became NaN or infinite.
    #[error(
        "{what} became NaN or infinite at step {step} (epoch {epoch}, batch {batch}){}; \
         training has stopped and the checkpoints before this step are kept: \
         lower the learning rate or clip the gradients{}",
        found_in(images),
        if images.is_empty() { "" } else { ", and look at these images" }
    )]
    NotFinite {
        /// The quantity, such as "the loss".
        what: String,
        /// The step, counted from 1 as in the metrics.
        step: u64,
        /// The epoch, counted from 1 as in the metrics.
        epoch: u64,
        /// The batch within the epoch, counted from 1.
        batch: u64,
        /// The images with such a value, or else the whole batch: files, or the data set and the
        /// place in it as released.
        images: Vec<String>,
    },
    /// The objective's state refused a step, such as, on the CPU, LfF's one at which the twin's loss is NaN; the source says why.
    #[error("the objective at step {step} (epoch {epoch}, batch {batch})")]
    Objective {
        /// The step, counted from 1 as in the metrics.
        step: u64,
        /// The epoch, counted from 1 as in the metrics.
        epoch: u64,
        /// The batch within the epoch, counted from 1.
        batch: u64,
        /// What it refused.
        source: Box<Error>,
    },
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
    /// Data couldn't be read.
    #[error(transparent)]
    Data(#[from] mr2_data::Error),
    /// A metric refused its input.
    #[error(transparent)]
    Metrics(#[from] mr2_metrics::Error),
}

impl Error {
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_path_buf();
        move |source| Error::Io {
            path,
            action,
            source,
        }
    }

    /// The message with that of each source, for a text that holds several errors.
    pub(crate) fn with_sources(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            text.push_str(&format!(": {error}"));
            source = error.source();
        }
        text
    }

    /// The reason in Candle's error, without the backtrace that it carries where `RUST_BACKTRACE` is set: for a
    /// message that names more than the reason.
    pub(crate) fn reason(error: &candle_core::Error) -> String {
        match error {
            candle_core::Error::WithBacktrace { inner, .. } => Error::reason(inner),
            error => error.to_string(),
        }
    }

    /// What an operation of this crate refuses to compute.
    pub(crate) fn refused(reason: impl Into<String>) -> Error {
        Error::Tensor(candle_core::Error::Msg(reason.into()))
    }

    pub(crate) fn malformed(path: &Path, reason: impl ToString) -> Error {
        Error::Malformed {
            path: path.to_path_buf(),
            reason: reason.to_string(),
        }
    }
}

/// ", in a", ", in a, b and c" or, past `SHOWN`, ", in a, b, … and 112 more images".
fn found_in(images: &[String]) -> String {
    const SHOWN: usize = 8;
    match images {
        [] => String::new(),
        [one] => format!(", in {one}"),
        [first @ .., last] if images.len() <= SHOWN => {
            format!(", in {} and {last}", first.join(", "))
        }
        _ => {
            let (shown, more) = (images[..SHOWN].join(", "), images.len() - SHOWN);
            format!(", in {shown} and {more} more images")
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The message and those of all sources, as a program prints them.
    fn chain(error: &dyn std::error::Error) -> Vec<String> {
        let sources = std::iter::successors(Some(error), |error| error.source());
        sources.map(|error| error.to_string()).collect()
    }

    #[test]
    fn each_reason_of_a_chain_shows_once() {
        let io = || io::Error::other("the disk is on fire");
        let own = Error::io(Path::new("run/result.json"), "read the result")(io());
        assert_eq!(own.with_sources(), chain(&own).join(": "));
        let tensor = Error::from(candle_core::Error::from(io()));
        let metrics = Error::from(mr2_metrics::premise(&[None], &[], 1, 0).unwrap_err());
        let loader =
            mr2_data::ImageSet::new("noise", mr2_data::Split::Test, Vec::new(), vec![1], {
                let (pixels, height, width, channels) = (vec![0], 1, 1, 1);
                mr2_data::Source::Memory {
                    pixels,
                    height,
                    width,
                    channels,
                }
            });
        let data = Error::from(loader.unwrap_err());
        for error in [own, tensor, metrics, data] {
            let chain = chain(&error);
            for (depth, message) in chain.iter().enumerate() {
                let inner = chain[depth + 1..].iter();
                let repeated: Vec<_> = inner.filter(|inner| message.contains(*inner)).collect();
                assert!(repeated.is_empty(), "{chain:?}");
            }
        }
    }
}
