//! What a training shows on stderr: a bar on a terminal, a line per epoch elsewhere, nothing with `--quiet`.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mr2_train::{Event, Part};

/// A bar on a terminal, after `prefix`; nothing with `quiet`.
pub fn bar(quiet: bool, template: &str, prefix: String) -> ProgressBar {
    if quiet {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(5));
    // Templates are constants of ours; a default bar is still a bar.
    let style = ProgressStyle::with_template(template);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_prefix(prefix);
    bar
}

/// Shows the progress of one run after another.
pub struct Progress {
    bar: Option<ProgressBar>,
    lines: bool,
    label: String,
    steps_before: u64,
    steps_of_run: u64,
}

impl Progress {
    /// For `runs` runs of about the same length.
    pub fn new(quiet: bool, runs: u64) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = (terminal && !quiet).then(|| {
            // indicatif leaves the colours out where NO_COLOR is set.
            let template = "{prefix} {bar:24.cyan/dim} {percent:>3} % {msg} · {eta} left";
            let bar = bar(quiet, template, String::new());
            bar.enable_steady_tick(Duration::from_millis(500));
            bar
        });
        Self {
            bar,
            lines: !terminal && !quiet,
            label: String::new(),
            steps_before: 0,
            steps_of_run: 0,
        }
        .with_runs(runs)
    }

    fn with_runs(self, runs: u64) -> Self {
        if let Some(bar) = &self.bar {
            bar.set_length(runs.max(1));
        }
        self
    }

    /// A run named `label` begins; `remaining` runs are still to do, this one included.
    pub fn begin(&mut self, label: &str, remaining: u64) {
        self.label = label.to_string();
        self.steps_before += self.steps_of_run;
        self.steps_of_run = 0;
        if let Some(bar) = &self.bar {
            bar.set_prefix(self.label.clone());
            bar.set_message("starting");
            self.remaining(remaining);
        }
    }

    fn remaining(&self, runs: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(self.steps_before + self.steps_of_run.max(1) * runs);
        }
    }

    /// Shows an event of the run under way; `remaining` as in [`Progress::begin`].
    pub fn show(&mut self, event: &Event<'_>, remaining: u64) {
        match event {
            Event::Started {
                step, total_steps, ..
            } => {
                self.steps_of_run = *total_steps;
                self.remaining(remaining);
                if let Some(bar) = &self.bar {
                    bar.set_position(self.steps_before + step);
                    bar.reset_eta();
                }
                if *step > 0 {
                    self.note(&format!(
                        "{}: resumed at step {step} of {total_steps}",
                        self.label
                    ));
                }
            }
            Event::Step {
                record,
                images_per_second,
            } => {
                if let Some(bar) = &self.bar {
                    bar.set_position(self.steps_before + record.step);
                    bar.set_message(format!(
                        "epoch {} · loss {:.3} · {images_per_second:.0} images/s",
                        record.epoch, record.loss
                    ));
                }
            }
            Event::Evaluating(part) => {
                if let Some(bar) = &self.bar {
                    bar.set_message(evaluating(part));
                }
            }
            Event::Epoch(record) if self.lines => {
                let validation = record.validation_accuracy.map_or(String::new(), |a| {
                    format!(", validation {:.1} %", a * 100.0)
                });
                self.note(&format!(
                    "{}: epoch {}, loss {:.4}, training accuracy {:.1} %{validation}, {:.0} images/s",
                    self.label,
                    record.epoch,
                    record.loss,
                    record.train_accuracy.unwrap_or(0.0) * 100.0,
                    record.images_per_second
                ));
            }
            Event::Stopping => self.note(&format!("{}: stopping, saving …", self.label)),
            Event::Warning(message) => self.note(&format!("{}: warning: {message}", self.label)),
            _ => {}
        }
    }

    /// A line on stderr that doesn't tear the bar.
    pub fn note(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.suspend(|| write_line(text));
        } else if self.lines {
            write_line(text);
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// What a pass over images is for.
pub fn evaluating(part: &Part<'_>) -> String {
    match part {
        Part::Validation => "validating".to_string(),
        Part::Test => "testing".to_string(),
        Part::ExtraTest(name) => format!("testing on {name}"),
        Part::Training => "predicting the training images".to_string(),
    }
}

/// An error's message must not begin in the bar's line.
impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

fn write_line(text: &str) {
    // Progress that can't be shown must not stop a training.
    let _ = writeln!(std::io::stderr(), "{text}");
}
