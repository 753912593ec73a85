//! What a tuning found: every arm's settings and scores, as a file and as lines.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use mr2_metrics::mean_sd;
use serde::Serialize;

use super::plan::{Choose, Score};

/// What the results file holds.
#[derive(Serialize)]
pub(super) struct Tuned {
    pub(super) seeds: Vec<u64>,
    pub(super) runs: usize,
    pub(super) set: Vec<String>,
    pub(super) stages: Vec<TunedStage>,
    /// The settings of all winners.
    pub(super) chosen: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct TunedStage {
    pub(super) name: String,
    pub(super) score: Score,
    pub(super) choose: Choose,
    /// Where they count.
    pub(super) hard_classes: Option<Vec<String>>,
    pub(super) arms: Vec<TunedArm>,
    pub(super) winner: String,
}

/// An arm's accuracies on validation images, by seed.
#[derive(Serialize)]
pub(super) struct TunedArm {
    pub(super) name: String,
    pub(super) set: Vec<String>,
    /// The mean of `scores`.
    pub(super) score: f64,
    pub(super) scores: Vec<f64>,
    /// To the stage's first arm; null for itself.
    pub(super) difference: Option<Difference>,
    pub(super) overall: Vec<f64>,
    /// Of the hard third, once a stage has chosen it.
    pub(super) hard: Option<Vec<f64>>,
    pub(super) class_accuracy: Vec<Vec<Option<f64>>>,
}

/// How an arm's score differs from that of the stage's first arm, paired over seeds.
#[derive(Serialize)]
pub(super) struct Difference {
    pub(super) mean: f64,
    /// Student's t interval, 95 %; null where the seeds leave no spread to estimate.
    pub(super) interval: Option<[f64; 2]>,
    /// Two-sided, adjusted by Holm for the stage's arms.
    pub(super) p: Option<f64>,
}

/// Refuses a results file that couldn't be written when all is trained; leaves nothing behind.
pub(super) fn check_writable(path: &Path) -> Result<()> {
    let new = !path.exists();
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.with_context(|| format!("cannot write {}", path.display()))?;
    if new {
        std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

impl Tuned {
    pub(super) fn save(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    pub(super) fn print(&self, out: &mut dyn Write) -> Result<()> {
        for stage in &self.stages {
            writeln!(out, "{}", stage.name)?;
            for arm in &stage.arms {
                arm.print(arm.name == stage.winner, out)?;
            }
        }
        writeln!(out, "\nsettings chosen, on validation images only:")?;
        for item in &self.chosen {
            writeln!(out, "  {item}")?;
        }
        Ok(())
    }
}

impl TunedArm {
    fn print(&self, chosen: bool, out: &mut dyn Write) -> Result<()> {
        let percent = |value: f64| format!("{:.2}", value * 100.0);
        let mean = |values: &[f64]| mean_sd(values).map_or("–".into(), |m| percent(m.mean));
        let hard = match &self.hard {
            Some(hard) => format!("  hard {}", mean(hard)),
            None => String::new(),
        };
        let difference = match &self.difference {
            Some(found) => found.text(),
            None => String::new(),
        };
        writeln!(
            out,
            "  {:40} score {}  overall {}{hard}{difference}{}",
            self.name,
            percent(self.score),
            mean(&self.overall),
            if chosen { "  ← chosen" } else { "" }
        )?;
        Ok(())
    }
}

impl Difference {
    fn text(&self) -> String {
        let points = |value: f64| format!("{:+.2}", value * 100.0);
        let interval = match self.interval {
            Some([low, high]) => format!(" [{}, {}]", points(low), points(high)),
            None => String::new(),
        };
        let p = self.p.map_or(String::new(), |p| format!(" p {p:.3}"));
        format!("  {}{interval}{p}", points(self.mean))
    }
}
