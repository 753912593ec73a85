//! `metrics.jsonl`: one JSON object a line, in the order of steps, each step once.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::report::EpochRecord;
use crate::run_folder::{RunDir, SyncFile, append};

const NAME: &str = "metrics.jsonl";

/// One line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Line {
    /// Every `log_every_steps` steps.
    Step(StepRecord),
    /// At the end of each epoch.
    Epoch(Box<EpochRecord>),
}

impl Line {
    fn step(&self) -> u64 {
        match self {
            Line::Step(record) => record.step,
            Line::Epoch(record) => record.step,
        }
    }
}

/// One step of training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepRecord {
    /// The step, counted from 1.
    pub step: u64,
    /// The epoch, counted from 1.
    pub epoch: u64,
    /// The total loss of the step's batch.
    pub loss: f64,
    /// The classification term of the loss.
    pub classification_loss: f64,
    /// The representation term before its weight; 0 where the objective has none.
    pub representation_loss: f64,
    /// The learning rate of the step.
    pub lr: f64,
    /// The gradient's norm before clipping.
    pub grad_norm: f64,
}

/// The open log of a run.
pub(crate) struct MetricsLog {
    file: Box<dyn SyncFile>,
    path: PathBuf,
}

impl MetricsLog {
    /// Opens the log as it was after `step` steps with `epochs` of them measured: later lines and a
    /// half-written one are dropped.
    ///
    /// Returns the records of the epochs that are kept.
    pub(crate) fn open_at(
        dir: &RunDir,
        step: u64,
        epochs: u64,
    ) -> Result<(Self, Vec<EpochRecord>)> {
        let path = dir.file(NAME);
        let text = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(Error::io(&path, "read the metrics")(e)),
        };
        let (kept, records) =
            lines_until(&text, step, epochs).map_err(|reason| Error::malformed(&path, reason))?;
        if kept.len() != text.len() {
            dir.write(NAME, kept)?;
        }
        let file = append(dir.files(), &path)?;
        Ok((Self { file, path }, records))
    }

    pub(crate) fn append(&mut self, line: &Line) -> Result<()> {
        let mut text = serde_json::to_string(line).map_err(|e| Error::malformed(&self.path, e))?;
        text.push('\n');
        self.file
            .write_all(text.as_bytes())
            .map_err(Error::io(&self.path, "write a line of metrics"))
    }

    /// Brings the lines to the disk: a checkpoint must never be ahead of its metrics.
    pub(crate) fn sync(&mut self) -> Result<()> {
        self.file
            .sync()
            .map_err(Error::io(&self.path, "sync the metrics"))
    }
}

/// The leading lines up to `step`, with those of the first `epochs` epochs; `Err` is a sentence.
///
/// Only the last line can have been cut off in the middle. Another one that isn't metrics was damaged
/// or written by another program: what follows it is not ours to drop.
fn lines_until(
    text: &[u8],
    step: u64,
    epochs: u64,
) -> std::result::Result<(&[u8], Vec<EpochRecord>), String> {
    let mut end = 0;
    let mut records = Vec::new();
    for (number, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        if !line.ends_with(b"\n") {
            break;
        }
        let parsed: Line = serde_json::from_slice(line)
            .map_err(|e| format!("line {} is no line of metrics: {e}", number + 1))?;
        if parsed.step() > step {
            break;
        }
        if let Line::Epoch(record) = parsed {
            if record.epoch > epochs {
                break;
            }
            records.push(*record);
        }
        end += line.len();
    }
    Ok((&text[..end], records))
}
