//! The live view of a grid on stderr: bars on a terminal, a line per run elsewhere, nothing with `--quiet`.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use mr2_train::Event;

use super::plan::PlannedRun;
use crate::progress::evaluating;

/// Shows the runs of one grid.
pub struct View {
    bars: Option<MultiProgress>,
    lines: bool,
    state: Mutex<State>,
    started: Instant,
}

struct State {
    total: ProgressBar,
    workers: Vec<Worker>,
    runs: usize,
    done: usize,
    failed: usize,
    /// Epochs of all runs, and of those that are done: what is left takes as long for each.
    epochs: u64,
    epochs_done: f64,
}

struct Worker {
    bar: ProgressBar,
    label: String,
    since: Instant,
    epochs: u64,
    /// Of its run, the share that was there when it began, and that is there now.
    share: (f64, f64),
    busy: bool,
}

impl View {
    /// For `runs`, trained by so many workers; `title` says what they are for.
    pub fn new(title: &str, runs: &[PlannedRun], workers: usize, quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bars = (terminal && !quiet)
            .then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(5)));
        let bar = |template: &str| {
            let style = ProgressStyle::with_template(template);
            let bar = ProgressBar::hidden();
            // The templates are constants of ours; a default bar is still a bar.
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            match &bars {
                Some(bars) => bars.add(bar),
                None => bar,
            }
        };
        let total = bar("{prefix} {bar:24.cyan/dim} {msg}");
        total.set_length(1000);
        total.set_prefix(title.to_string());
        let worker = |_| Worker {
            bar: bar("  {prefix} {msg}"),
            label: String::new(),
            since: Instant::now(),
            epochs: 0,
            share: (0.0, 0.0),
            busy: false,
        };
        let view = Self {
            lines: !terminal && !quiet,
            started: Instant::now(),
            state: Mutex::new(State {
                workers: (0..workers).map(worker).collect(),
                total,
                runs: runs.len(),
                done: 0,
                failed: 0,
                epochs: runs.iter().map(epochs).sum(),
                epochs_done: 0.0,
            }),
            bars,
        };
        view.refresh(&mut view.state());
        view
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker takes a run.
    pub fn begin(&self, worker: usize, run: &PlannedRun) {
        let mut state = self.state();
        let worker = &mut state.workers[worker];
        worker.label.clone_from(&run.label);
        worker.since = Instant::now();
        worker.epochs = epochs(run);
        worker.share = (0.0, 0.0);
        worker.busy = true;
        worker.bar.set_prefix(run.label.clone());
        worker.bar.set_message("starting");
        self.refresh(&mut state);
    }

    /// Something happens in a worker's run.
    pub fn event(&self, worker: usize, event: &Event<'_>) {
        let mut state = self.state();
        let one = &mut state.workers[worker];
        match event {
            Event::Started {
                step, total_steps, ..
            } => {
                let share = *step as f64 / (*total_steps).max(1) as f64;
                one.share = (share, share);
                one.bar.set_length(*total_steps);
            }
            Event::Step {
                record,
                images_per_second,
            } => {
                let steps = one.bar.length().unwrap_or(1).max(1);
                one.share.1 = record.step as f64 / steps as f64;
                one.bar.set_message(format!(
                    "step {} of {steps} · loss {:.3} · {images_per_second:.0} images/s",
                    record.step, record.loss
                ));
                if self.bars.is_some() && record.step % 20 == 0 {
                    self.refresh(&mut state);
                }
            }
            Event::Evaluating(part) => one.bar.set_message(evaluating(part)),
            Event::Warning(message) => {
                let text = format!("{}: warning: {message}", one.label);
                drop(state);
                // A grid has hundreds of runs: their warnings are in their results.
                tracing::info!("{text}");
            }
            _ => {}
        }
    }

    /// A worker's run is done.
    pub fn finished(&self, worker: usize, run: &PlannedRun) {
        let seconds = self.end(worker, true);
        let state = self.state();
        let (done, runs) = (state.done + state.failed, state.runs);
        let left = self.left(&state);
        drop(state);
        if self.lines {
            write_line(&format!(
                "[{done}/{runs}] {} done in {seconds:.0} s{left}",
                run.label
            ));
        }
    }

    /// Another process has the worker's run.
    pub fn elsewhere(&self, worker: usize) {
        let mut state = self.state();
        state.workers[worker].busy = false;
        state.workers[worker]
            .bar
            .set_message("trained by another process; waiting");
    }

    /// A worker's run failed, and is tried `again` or not.
    pub fn failed(&self, worker: usize, run: &PlannedRun, error: &anyhow::Error, again: bool) {
        if again {
            self.state().workers[worker].busy = false;
        } else {
            self.end(worker, false);
        }
        let what = if again {
            "will be tried once more"
        } else {
            "given up"
        };
        self.note(&format!("{}: {error:#}; {what}", run.label));
    }

    fn end(&self, worker: usize, finished: bool) -> f64 {
        let mut state = self.state();
        let one = &mut state.workers[worker];
        one.busy = false;
        one.bar.set_message("");
        let epochs = one.epochs as f64 * (1.0 - one.share.0);
        let seconds = one.since.elapsed().as_secs_f64();
        state.epochs_done += epochs;
        match finished {
            true => state.done += 1,
            false => state.failed += 1,
        }
        self.refresh(&mut state);
        seconds
    }

    /// A line that doesn't tear the bars.
    pub fn note(&self, text: &str) {
        match &self.bars {
            Some(bars) => bars.suspend(|| write_line(text)),
            None if self.lines => write_line(text),
            None => {}
        }
    }

    fn refresh(&self, state: &mut State) {
        if self.bars.is_none() {
            return;
        }
        let running = state.workers.iter().filter(|w| w.busy).count();
        let done = state.epochs_done + in_work(state);
        let share = done / (state.epochs.max(1)) as f64;
        state.total.set_position((share * 1000.0) as u64);
        let message = format!(
            "{} of {} runs done, {running} running, {} failed{}",
            state.done,
            state.runs,
            state.failed,
            self.left(state)
        );
        state.total.set_message(message);
    }

    /// ", 1:20 h left", once there is something to judge by.
    fn left(&self, state: &State) -> String {
        let done = state.epochs_done + in_work(state);
        let left = state.epochs as f64 - done;
        if done <= 0.0 || left <= 0.0 {
            return String::new();
        }
        let seconds = self.started.elapsed().as_secs_f64() / done * left;
        format!(", {} left", duration(Duration::from_secs_f64(seconds)))
    }

    /// Takes the bars away.
    pub fn finish(&self) {
        if let Some(bars) = &self.bars {
            // Bars that can't be cleared do no harm.
            let _ = bars.clear();
        }
    }
}

/// An error's message must not begin in a bar's line.
impl Drop for View {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Epochs done in runs under way.
fn in_work(state: &State) -> f64 {
    let busy = state.workers.iter().filter(|worker| worker.busy);
    busy.map(|w| w.epochs as f64 * (w.share.1 - w.share.0))
        .sum()
}

fn epochs(run: &PlannedRun) -> u64 {
    run.file.config.training.epochs
}

/// "45 s", "12 min", "3:20 h".
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..=99 => format!("{seconds} s"),
        100..=5999 => format!("{} min", (seconds + 30) / 60),
        _ => format!("{}:{:02} h", seconds / 3600, seconds % 3600 / 60),
    }
}

fn write_line(text: &str) {
    // Progress that can't be shown must not stop a training.
    let _ = writeln!(std::io::stderr(), "{text}");
}
