//! The weights of a run, read from its checkpoints without touching its folder.

use std::path::{Path, PathBuf};

use mr2_nn::params::ParamStore;
use serde_json::Value;

use crate::checkpoint::{FOLDER, Kind, list, read};
use crate::error::{Error, Result};
use crate::result::RunResult;
use crate::saved_state::{MODEL, State, part};

/// Which weights of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Weights {
    /// Those that the finished run tested.
    Tested,
    /// Those of its newest checkpoint.
    Last,
    /// Those of the best epoch on validation so far.
    Best,
    /// Those of this checkpoint file.
    File(PathBuf),
}

/// Where weights were read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedWeights {
    /// The checkpoint file.
    pub path: PathBuf,
    /// Steps of training behind it.
    pub step: u64,
    /// Whole epochs of training behind it.
    pub epoch: u64,
    /// What the run said of them ([`crate::Job::about`]); null in files from before.
    pub about: Value,
}

/// Sets every parameter and buffer of a model to those of a run; nothing in the folder changes,
/// and it may be training still.
///
/// # Errors
/// Names the file: where the run has no such checkpoint (or no result yet, for
/// [`Weights::Tested`]), where it is damaged, and where its weights don't fit the model; then
/// every tensor that doesn't is listed, and nothing is set.
pub fn load_weights(
    run_folder: &Path,
    which: &Weights,
    params: &ParamStore,
) -> Result<LoadedWeights> {
    let path = match which {
        Weights::File(path) => path.clone(),
        Weights::Last => newest(run_folder, Kind::Last, "checkpoint yet")?,
        Weights::Best => newest(
            run_folder,
            Kind::Best,
            "best checkpoint: only a run with a validation part has one",
        )?,
        Weights::Tested => tested(run_folder)?,
    };
    let device = params.var_builder().device().clone();
    let loaded = read(path.clone(), &device)?;
    let refuse = |reason: String| Error::Checkpoint {
        path: path.clone(),
        reason,
    };
    let State { progress, about } =
        State::read(loaded.state).map_err(|e| refuse(format!("its state: {e}")))?;
    params
        .load(&part(&loaded.tensors, MODEL))
        .map_err(|e| refuse(Error::reason(&e)))?;
    Ok(LoadedWeights {
        path,
        step: progress.step,
        epoch: progress.epochs_done(),
        about,
    })
}

fn newest(run_folder: &Path, kind: Kind, wanted: &str) -> Result<PathBuf> {
    let newest = list(run_folder, kind)?.pop();
    newest
        .map(|(_, path)| path)
        .ok_or_else(|| Error::NoCheckpoint {
            path: run_folder.join(FOLDER),
            wanted: wanted.to_string(),
        })
}

/// The checkpoint of the step that the result names; those of both kinds hold the same weights.
fn tested(run_folder: &Path) -> Result<PathBuf> {
    let step = RunResult::read(run_folder)?.selected.step;
    let mut files = list(run_folder, Kind::Best)?;
    files.extend(list(run_folder, Kind::Last)?);
    let found = files.into_iter().find(|(of, _)| *of == step);
    found
        .map(|(_, path)| path)
        .ok_or_else(|| Error::NoCheckpoint {
            path: run_folder.join(FOLDER),
            wanted: format!("checkpoint of step {step}, which the run tested"),
        })
}
