//! The tuning file: seeds, settings and stages, every arm named.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use serde::{Deserialize, Serialize};

use crate::config::typed;

/// A tuning file.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plan {
    /// Every arm is trained once with each.
    pub(super) seeds: Vec<u64>,
    /// Settings of every run (`key.path=value`).
    pub(super) set: Vec<String>,
    /// In the order in which they choose.
    pub(super) stages: Vec<Stage>,
}

/// A choice of one arm.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stage {
    pub(super) name: String,
    /// The run file, seen from the tuning file.
    pub(super) base: PathBuf,
    pub(super) score: Score,
    pub(super) choose: Choose,
    pub(super) arms: Vec<Arm>,
}

/// How the scores make the choice.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Choose {
    /// The highest mean score.
    Highest,
    /// The first arm, unless another's mean score is higher with p ≤ 0.05: paired over seeds, adjusted by Holm
    /// for the stage's arms. The highest of these, if there are several.
    HighestDecided,
}

/// A candidate.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Arm {
    pub(super) name: String,
    /// Its settings, which stay in force if it wins.
    pub(super) set: Vec<String>,
}

/// What an arm is judged by, on validation images.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Score {
    /// Overall accuracy.
    Overall,
    /// Mean of overall accuracy and that of the hard third, chosen by the mean class accuracies of
    /// the winner of the last stage that was judged by overall accuracy.
    OverallAndHard,
}

impl Plan {
    /// Reads a tuning file.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let name = path.display();
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the tuning file {name}"))?;
        let value: toml::Value =
            toml::from_str(&text).map_err(|e| anyhow!("{name}: not valid TOML: {e}"))?;
        let plan: Self = typed(value).with_context(|| name.to_string())?;
        ensure!(!plan.seeds.is_empty(), "{name}: `seeds` is empty");
        if let Some(stage) = plan.stages.iter().find(|stage| stage.arms.is_empty()) {
            return Err(anyhow!("{name}: stage `{}` has no arms", stage.name));
        }
        let first = plan.stages.first().map(|stage| stage.score);
        ensure!(
            first == Some(Score::Overall),
            "{name}: the first stage must be judged by `overall`; it chooses the hard classes"
        );
        Ok(plan)
    }

    /// Runs to train, if no two have the same settings.
    pub(super) fn runs(&self) -> usize {
        self.seeds.len() * self.stages.iter().map(|s| s.arms.len()).sum::<usize>()
    }
}
