//! The checkpoint folder: which files are kept, and which one a run continues from.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};

use super::container;
use crate::error::{Error, Result};
use crate::run_folder::{ASIDE, RunDir};

/// Checkpoints of the two last saves are kept, so that one damaged file costs little.
const KEPT: usize = 2;
pub(crate) const FOLDER: &str = "checkpoint";

/// What a checkpoint was saved for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// To continue from.
    Last,
    /// Because no earlier epoch was better on validation.
    Best,
}

impl Kind {
    fn prefix(self) -> &'static str {
        match self {
            Kind::Last => "last",
            Kind::Best => "best",
        }
    }
}

/// A checkpoint read back.
pub(crate) struct Loaded {
    pub(crate) path: PathBuf,
    pub(crate) tensors: HashMap<String, Tensor>,
    pub(crate) state: serde_json::Value,
}

/// Saves a checkpoint, then removes those of its kind that are no longer kept.
///
/// The two newest of the best are kept as well, because the older of the two kept checkpoints may
/// still refer to the older best.
pub(crate) fn save(
    dir: &RunDir,
    kind: Kind,
    step: u64,
    tensors: &[(String, Tensor)],
    state: &serde_json::Value,
) -> Result<PathBuf> {
    let name = format!("{FOLDER}/{}-{step:09}.safetensors", kind.prefix());
    let path = dir.file(&name);
    let bytes = container::encode(tensors, state).map_err(|reason| Error::Checkpoint {
        path: path.clone(),
        reason,
    })?;
    dir.write(&name, &bytes)?;
    let mut files = list(dir.path(), kind)?;
    files.retain(|(other, _)| *other <= step);
    for (_, old) in files.iter().rev().skip(KEPT) {
        dir.files()
            .remove(old)
            .map_err(Error::io(old, "remove the old checkpoint"))?;
    }
    Ok(path)
}

/// The newest usable checkpoint, or `None` where none was saved yet.
///
/// `accept` looks at the content; what it refuses counts as unusable, and the next older file is
/// tried. Each unusable file is handed to `warn`.
pub(crate) fn newest<T>(
    dir: &RunDir,
    device: &Device,
    mut accept: impl FnMut(Loaded) -> Result<T>,
    mut warn: impl FnMut(String),
) -> Result<Option<T>> {
    let files = list(dir.path(), Kind::Last)?;
    let mut reasons = Vec::new();
    for (_, path) in files.iter().rev() {
        match read(path.clone(), device).and_then(&mut accept) {
            Ok(accepted) => {
                for reason in reasons {
                    warn(format!("{reason}; continuing from {}", path.display()));
                }
                return Ok(Some(accepted));
            }
            Err(error) => reasons.push(error.with_sources()),
        }
    }
    if reasons.is_empty() {
        return Ok(None);
    }
    Err(Error::NoUsableCheckpoint {
        path: dir.file(FOLDER),
        reasons: reasons.join("\n"),
    })
}

/// The best checkpoint of `step`.
pub(crate) fn best(dir: &RunDir, step: u64, device: &Device) -> Result<Loaded> {
    let name = format!("{FOLDER}/{}-{step:09}.safetensors", Kind::Best.prefix());
    read(dir.file(&name), device)
}

/// Removes checkpoints past `step`, which the run will write again, and unfinished writes.
pub(crate) fn discard_after(dir: &RunDir, step: u64) -> Result<()> {
    let mut stale = Vec::new();
    for kind in [Kind::Last, Kind::Best] {
        stale.extend(
            list(dir.path(), kind)?
                .into_iter()
                .filter(|(s, _)| *s > step)
                .map(|(_, p)| p),
        );
    }
    stale.extend(
        entries(dir.path())?
            .into_iter()
            .filter(|p| p.extension().is_some_and(|e| e == ASIDE)),
    );
    for path in stale {
        dir.files()
            .remove(&path)
            .map_err(Error::io(&path, "remove it"))?;
    }
    Ok(())
}

/// Reads and checks one checkpoint.
pub(crate) fn read(path: PathBuf, device: &Device) -> Result<Loaded> {
    let bytes = fs::read(&path).map_err(Error::io(&path, "read the checkpoint"))?;
    let (tensors, state) =
        container::decode(&bytes, device).map_err(|reason| Error::Checkpoint {
            path: path.clone(),
            reason,
        })?;
    Ok(Loaded {
        path,
        tensors,
        state,
    })
}

/// Files of a kind with their steps, ascending.
pub(crate) fn list(run_folder: &Path, kind: Kind) -> Result<Vec<(u64, PathBuf)>> {
    let mut files: Vec<(u64, PathBuf)> = entries(run_folder)?
        .into_iter()
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?;
            let step = name.strip_prefix(kind.prefix())?.strip_prefix('-')?;
            Some((step.strip_suffix(".safetensors")?.parse().ok()?, path))
        })
        .collect();
    files.sort();
    Ok(files)
}

fn entries(run_folder: &Path) -> Result<Vec<PathBuf>> {
    let folder = run_folder.join(FOLDER);
    let listing = fs::read_dir(&folder).map_err(Error::io(&folder, "list the folder"))?;
    listing
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()
        .map_err(Error::io(&folder, "list the folder"))
}
