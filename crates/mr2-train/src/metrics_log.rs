//! `metrics.jsonl`: one JSON object a line, in the order of steps, each step once.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::report::EpochRecord;
use crate::run_folder::RunDir;

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
#[derive(Debug)]
pub(crate) struct MetricsLog {
    file: File,
    path: PathBuf,
}

impl MetricsLog {
    /// Opens the log as it was at `step`: later lines and a half-written one are dropped.
    ///
    /// Returns the records of the epochs that are kept.
    pub(crate) fn open_at(dir: &RunDir, step: u64) -> Result<(Self, Vec<EpochRecord>)> {
        let path = dir.file(NAME);
        let text = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(Error::io(&path, "read the metrics")(e)),
        };
        let (kept, epochs) = lines_until(&text, step);
        if kept.len() != text.len() {
            dir.write(NAME, kept)?;
        }
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(Error::io(&path, "open the metrics"))?;
        Ok((Self { file, path }, epochs))
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
            .sync_data()
            .map_err(Error::io(&self.path, "sync the metrics"))
    }
}

/// The leading lines that are whole and not past `step`.
fn lines_until(text: &[u8], step: u64) -> (&[u8], Vec<EpochRecord>) {
    let mut end = 0;
    let mut epochs = Vec::new();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        if !line.ends_with(b"\n") {
            break;
        }
        match serde_json::from_slice::<Line>(line) {
            Ok(line) if line.step() <= step => {
                if let Line::Epoch(record) = line {
                    epochs.push(*record);
                }
            }
            _ => break,
        }
        end += line.len();
    }
    (&text[..end], epochs)
}
