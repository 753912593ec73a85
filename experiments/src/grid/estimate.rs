//! What a grid would cost: some steps of each kind of run are timed, nothing is kept.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mr2_train::{ClassMeasures, Event, Start, StopFlag};
use serde::Serialize;

use super::execute::{Grid, locked};
use super::plan::PlannedRun;
use super::view::duration;
use crate::assemble::Data;
use crate::config::{RunConfig, Shifts};
use crate::device::Compute;
use crate::run::train_into;

/// Steps that are timed, after as many that aren't.
const TIMED_STEPS: u64 = 20;
const WARM_UP: u64 = 5;

/// Runs that differ in their seed only.
#[derive(Clone, Debug, Serialize)]
pub struct Kind {
    /// The first of them.
    pub label: String,
    /// How many are to do.
    pub runs: usize,
    /// Steps of each.
    pub steps: u64,
    /// Seconds of a step, beside as many runs as there are jobs.
    pub seconds_per_step: f64,
    /// Seconds of all of them, one after the other, evaluation included.
    pub seconds: f64,
    /// Bytes of their folders.
    pub bytes: u64,
}

/// The cost of a grid.
#[derive(Clone, Debug, Serialize)]
pub struct Estimate {
    /// By kind.
    pub kinds: Vec<Kind>,
    /// Hours with the jobs asked for.
    pub hours: f64,
    /// Bytes of all run folders.
    pub disk_bytes: u64,
    /// The most memory that this process had while it timed.
    pub memory_bytes: Option<u64>,
}

/// Times the kinds of `runs`, side by side as they would be trained.
///
/// # Errors
/// When a run can't be assembled or trained.
pub fn estimate(runs: &[PlannedRun], grid: &Grid<'_>) -> Result<Estimate> {
    let mut groups: BTreeMap<String, Vec<&PlannedRun>> = BTreeMap::new();
    for run in runs {
        let mut config = run.file.config.clone();
        config.training.seed = 0;
        config.name.clear();
        let kind = serde_json::to_string(&config)?;
        groups.entry(kind).or_default().push(run);
    }
    let mut groups: Vec<Vec<&PlannedRun>> = groups.into_values().collect();
    groups.sort_by(|a, b| a[0].label.cmp(&b[0].label));
    let scratch = tempfile::tempdir().context("cannot make a temporary folder")?;
    let waiting = Mutex::new(groups.iter().enumerate());
    let timed = Mutex::new(BTreeMap::new());
    grid.side_by_side(|by| {
        loop {
            let Some((number, group)) = locked(&waiting).next() else {
                return Ok(());
            };
            let folder = scratch.path().join(number.to_string());
            let kind = by.pool.install(|| time(group, &folder, grid, &by.compute));
            let kind = kind.with_context(|| group[0].label.clone())?;
            std::fs::remove_dir_all(&folder)?;
            locked(&timed).insert(number, kind);
        }
    })?;
    let kinds: Vec<Kind> = std::mem::take(&mut *locked(&timed)).into_values().collect();
    // Not `sum`, which makes −0 of nothing.
    let seconds = kinds.iter().fold(0.0, |sum, kind| sum + kind.seconds);
    Ok(Estimate {
        hours: seconds / 3600.0 / grid.jobs() as f64,
        disk_bytes: kinds.iter().map(|kind| kind.bytes).sum(),
        memory_bytes: peak_memory(),
        kinds,
    })
}

fn time(group: &[&PlannedRun], folder: &Path, grid: &Grid<'_>, compute: &Compute) -> Result<Kind> {
    let run = group[0];
    let data = grid.data(run)?;
    let mut file = run.file.clone();
    if !compute.device.is_cpu() {
        // Its steps are read together where one is logged: the clock is to be looked at after the last of them.
        file.config.training.log_every_steps = WARM_UP;
    }
    let stop = StopFlag::new();
    let (mut steps, mut started, mut seconds) = (0, None, 0.0);
    let observe = &mut |event: &Event<'_>| match event {
        Event::Started { total_steps, .. } => steps = *total_steps,
        Event::Step { record, .. } => {
            let last = (WARM_UP + TIMED_STEPS).min(steps);
            if record.step == WARM_UP.min(last.saturating_sub(1)) {
                started = Some((Instant::now(), record.step));
            }
            if record.step == last {
                if let Some((since, from)) = started {
                    seconds = since.elapsed().as_secs_f64() / (last - from) as f64;
                }
                stop.stop();
            }
        }
        _ => {}
    };
    train_into(&file, &data, compute, folder, Start::Fresh, &stop, observe)?;
    let config = &run.file.config;
    // A forward pass takes about a third of a step's time for each image.
    let images_per_step = config.data.images_per_batch.max(1) as f64;
    let evaluation = evaluated(config, &data) as f64 / images_per_step / 3.0;
    let runs = group.len();
    Ok(Kind {
        label: run.label.clone(),
        runs,
        steps,
        seconds_per_step: seconds,
        seconds: (steps as f64 + evaluation) * seconds * runs as f64,
        bytes: size(folder)? * runs as u64,
    })
}

/// Images that a run sees without learning from them.
fn evaluated(config: &RunConfig, data: &Data) -> u64 {
    let (splits, training) = (&data.splits, &config.training);
    let (epochs, test) = (training.epochs, splits.test.len() as u64);
    let validation = splits.validation.as_ref().map_or(0, |set| set.len() as u64);
    let each_shift = match &config.data.shifts {
        Shifts::Corruptions { per_class, .. } => (per_class * splits.test.classes().len()) as u64,
        Shifts::None {} | Shifts::CifarC { .. } => test,
    };
    let tests = if training.test_every_epoch {
        epochs + 1
    } else {
        1
    };
    let measured = match training.class_measures {
        ClassMeasures::Off => 0,
        ClassMeasures::LastEpoch => 2,
        ClassMeasures::EveryEpoch => epochs + 1,
    };
    tests * test
        + epochs * validation
        + config.data.shifts.each().len() as u64 * each_shift
        + measured * splits.train.len() as u64
}

/// Bytes of the files in a folder.
fn size(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += match metadata.is_dir() {
            true => size(&entry.path())?,
            false => metadata.len(),
        };
    }
    Ok(bytes)
}

/// The most memory that this process has had, where the system tells it.
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

impl Estimate {
    /// Prints it for people.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn print(&self, out: &mut dyn Write) -> Result<()> {
        for kind in &self.kinds {
            let time = duration(Duration::from_secs_f64(kind.seconds));
            let Kind {
                label, runs, steps, ..
            } = kind;
            let milliseconds = kind.seconds_per_step * 1e3;
            writeln!(
                out,
                "{runs:>4} × {label}: {steps} steps of {milliseconds:.1} ms, {time} in all"
            )?;
        }
        let runs: usize = self.kinds.iter().map(|kind| kind.runs).sum();
        let memory = self.memory_bytes.map_or("unknown".into(), mebibytes);
        writeln!(
            out,
            "{runs} runs to do: {:.1} hours, {} of disk, {memory} of memory",
            self.hours,
            mebibytes(self.disk_bytes)
        )?;
        Ok(())
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}
