//! What of a run goes into a checkpoint, and back.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use mr2_nn::optim::Optimizer;
use mr2_nn::params::ParamStore;
use mr2_stats::ClassStats;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::checkpoint::{self, Kind, Loaded};
use crate::error::{Error, Result};
use crate::evaluate::sum;
use crate::event::Event;
use crate::objective::Objective;
use crate::progress::Progress;
use crate::run::Run;
use crate::run_folder::RunDir;

/// What the names of weights and buffers begin with in a checkpoint.
pub(crate) const MODEL: &str = "model.";
const OPTIMIZER: &str = "optimizer.";
const OBJECTIVE: &str = "objective.";
const STATISTICS: &str = "statistics.";

/// What a checkpoint says beside its tensors.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    pub(crate) progress: Progress,
    /// [`crate::Job::about`].
    pub(crate) about: Value,
}

impl State {
    /// Reads what a checkpoint says; one from before says how far its run is and no more.
    pub(crate) fn read(state: Value) -> serde_json::Result<Self> {
        match state.get("progress") {
            Some(_) => serde_json::from_value(state),
            None => Ok(Self {
                progress: serde_json::from_value(state)?,
                about: Value::Null,
            }),
        }
    }
}

/// A checkpoint that fits the run, not yet put into place.
pub(crate) struct Saved {
    tensors: HashMap<String, Tensor>,
    pub(crate) progress: Progress,
}

impl Saved {
    fn new(loaded: Loaded, steps_per_epoch: u64) -> Result<Self> {
        let Loaded {
            path,
            tensors,
            state,
        } = loaded;
        let refuse = |reason| Error::Checkpoint {
            path: path.clone(),
            reason,
        };
        let State { progress, .. } =
            State::read(state).map_err(|e| refuse(format!("its state: {e}")))?;
        if progress.steps_per_epoch != steps_per_epoch {
            return Err(refuse(format!(
                "it was saved with {} steps an epoch, and the training data now gives \
                 {steps_per_epoch}",
                progress.steps_per_epoch
            )));
        }
        Ok(Self { tensors, progress })
    }

    /// Puts weights, optimiser, objective and statistics into place; returns the position.
    pub(crate) fn restore(
        self,
        params: &ParamStore,
        optimizer: &mut dyn Optimizer,
        objective: &mut dyn Objective,
        statistics: &mut ClassStats,
    ) -> Result<Progress> {
        let part = |prefix| part(&self.tensors, prefix);
        params.load(&part(MODEL))?;
        optimizer.load_state(&part(OPTIMIZER))?;
        objective.load(&part(OBJECTIVE))?;
        statistics.load(&part(STATISTICS))?;
        Ok(self.progress)
    }
}

/// The tensors whose names begin with `prefix`, without it.
pub(crate) fn part(tensors: &HashMap<String, Tensor>, prefix: &str) -> HashMap<String, Tensor> {
    let named = tensors.iter();
    named
        .filter_map(|(name, t)| Some((name.strip_prefix(prefix)?.to_string(), t.clone())))
        .collect()
}

/// The newest usable checkpoint of the folder.
pub(crate) fn newest(
    dir: &RunDir,
    device: &Device,
    steps_per_epoch: u64,
    warnings: &mut Vec<String>,
) -> Result<Option<Saved>> {
    let accept = |loaded| Saved::new(loaded, steps_per_epoch);
    checkpoint::newest(dir, device, accept, |warning| warnings.push(warning))
}

impl Run<'_> {
    /// Saves the run to continue from.
    pub(crate) fn save(&mut self) -> Result<()> {
        self.save_as(Kind::Last)
    }

    /// Saves the run as the best so far.
    pub(crate) fn save_best(&mut self) -> Result<()> {
        self.save_as(Kind::Best)
    }

    fn save_as(&mut self, kind: Kind) -> Result<()> {
        let (started, before) = self.started;
        self.progress.timings.total_seconds = before + started.elapsed().as_secs_f64();
        // A stop may have been asked for since it was last seen that nothing is due.
        let records = self.read_steps()?;
        self.log_steps(records)?;
        self.refuse_overflown_weights()?;
        self.metrics.sync()?;
        self.events.sync()?;
        let tensors = self.tensors()?;
        let state = State {
            progress: self.progress.clone(),
            about: self.job.about.clone(),
        };
        let state = serde_json::to_value(&state)
            .map_err(|e| Error::malformed(Path::new("checkpoint"), e))?;
        let path = checkpoint::save(self.dir, kind, self.progress.step, &tensors, &state)?;
        (self.observer)(&Event::Saved(&path));
        Ok(())
    }

    /// An update can overflow although its gradient was finite; saved, it would be a run that
    /// can't be continued.
    fn refuse_overflown_weights(&self) -> Result<()> {
        let weights = self.job.params.tensors().into_iter();
        let of_objective = self.objective.tensors()?.into_iter();
        let of_objective =
            of_objective.map(|(name, tensor)| (format!("{OBJECTIVE}{name}"), tensor));
        for (name, tensor) in weights.chain(of_objective) {
            if !sum(&tensor)?.is_finite() {
                let what = format!("the weight {name}");
                return Err(self.not_finite(&what, self.progress.step, &[]));
            }
        }
        Ok(())
    }

    /// Goes back to the best epoch's weights and state.
    pub(crate) fn restore_best(&mut self, step: u64) -> Result<()> {
        let device = self.job.model.head_weight().device().clone();
        let loaded = checkpoint::best(self.dir, step, &device)?;
        let saved = Saved::new(loaded, self.progress.steps_per_epoch)?;
        saved.restore(
            self.job.params,
            self.optimizer.as_mut(),
            self.objective.as_mut(),
            &mut self.statistics,
        )?;
        Ok(())
    }

    /// Everything that a checkpoint holds, by name.
    pub(crate) fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        let parts = [
            (MODEL, self.job.params.tensors()),
            (OPTIMIZER, self.optimizer.state()?),
            (OBJECTIVE, self.objective.tensors()?),
            (STATISTICS, self.statistics.tensors()?),
        ];
        Ok(parts
            .into_iter()
            .flat_map(|(prefix, part)| {
                part.into_iter()
                    .map(move |(name, tensor)| (format!("{prefix}{name}"), tensor))
            })
            .collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_said_of_weights_is_read_back_and_a_checkpoint_from_before_has_nothing_of_it() {
        let progress = Progress::start(10, 2);
        let about = json!({"layers": {"activation": "relu", "eps": 1e-5}});
        let state = State {
            progress: progress.clone(),
            about: about.clone(),
        };
        let read = State::read(serde_json::to_value(&state).unwrap()).unwrap();
        assert_eq!((&read.progress, &read.about), (&progress, &about));
        let before = State::read(serde_json::to_value(&progress).unwrap()).unwrap();
        assert_eq!((before.progress, before.about), (progress, Value::Null));
    }
}
