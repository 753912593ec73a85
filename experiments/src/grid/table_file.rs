//! A table's file: settings, blocks of arms, published cells with their source, claims.

mod claim;
#[cfg(test)]
mod tests;

use anyhow::{Context, Result, anyhow, ensure};
use mr2_loss::Positives;
use mr2_metrics::Metric;
use serde::{Deserialize, Serialize};

use crate::config::typed;
use crate::report::published::Source;
pub use claim::{Claim, ClaimTest, Expect, Quantity};

/// How much is trained.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// A check that the program works.
    Smoke,
    /// The carried data and a small network: do the signs of the claims hold?
    Rehearsal,
    /// The paper's data, networks and lengths.
    Full,
}

impl Scale {
    /// Every scale.
    pub const ALL: [Self; 3] = [Self::Smoke, Self::Rehearsal, Self::Full];

    /// Its name in file names and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Smoke => "smoke",
            Self::Rehearsal => "rehearsal",
            Self::Full => "full",
        }
    }
}

/// A file in `experiments/tables/`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TableFile {
    /// Title of the report.
    pub title: String,
    /// Which table or figure of which publication, or "not in the paper".
    pub reproduces: String,
    /// What is shown beside the accuracies.
    pub shows: Vec<Show>,
    /// Data, network and length, by scale; one block of tables each.
    pub settings: Vec<Setting>,
    /// Groups of arms that stand in one table.
    pub blocks: Vec<Block>,
    /// What the paper says, and how it is tested here.
    pub claims: Vec<Claim>,
    /// Cases in which the representation loss alone is timed; a smoke run has the first only.
    pub costs: Option<Vec<CostCase>>,
}

/// A case in which the representation loss is timed.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CostCase {
    /// Classes of the data.
    pub classes: usize,
    /// Samples of a batch.
    pub images_per_batch: usize,
    /// Width of the features.
    pub features: usize,
    /// So many samples of each class in the batch; without, classes are drawn at random.
    pub images_per_class: Option<usize>,
    /// Which samples a sample is drawn to.
    pub positives: Positives,
}

/// What a report shows beside accuracies and differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Show {
    /// Accuracy and spread of each class, sorted (Figure 1).
    ClassSpread,
    /// Norm of each class's row of the head, sorted (Figure 3).
    HeadNorms,
    /// Accuracy over the arms' `at` (Figures 5 and 6).
    Sweep,
    /// How much γ varies over classes and how far its statistics lag.
    Margins,
    /// Accuracy on shifted test sets.
    Shifts,
    /// Neural collapse and γ over the epochs.
    Collapse,
    /// What a class's spread goes with: its pixels, its features before training, its confusions.
    SpreadCauses,
}

/// What is trained on and for how long.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// Heading.
    pub name: String,
    /// The scale that it belongs to.
    pub scale: Scale,
    /// The run file in `experiments/runs/` that every arm changes.
    pub base: String,
    /// Changes of it (`key.path=value`) that every arm has.
    pub set: Vec<String>,
    /// The seeds of every arm. A seed is the same weights, batches and augmentation in every arm.
    pub seeds: Vec<u64>,
    /// How settings of tunable arms are chosen.
    pub tuning: Tuning,
    /// The paper's setting that this is, where it is one: its published cells stand beside ours.
    pub published: Option<String>,
}

/// How settings of tunable arms are chosen.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Tuning {
    /// Not at all: arms have the settings that they are written with.
    Off {},
    /// By the mean of overall accuracy and that of the hard third on held-out training images.
    Validation {
        /// Held-out images of each class.
        per_class: usize,
        /// Seed of their draw.
        draw: u64,
        /// Seed of the tuning runs; none of the table's.
        seed: u64,
    },
}

/// Arms in one table; the first is the reference.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// Heading.
    pub name: String,
    /// The scales that it belongs to, if not all: transforms and lengths differ with the data.
    pub scales: Option<Vec<Scale>>,
    /// Changes (`key.path=value`) that every arm of it has.
    pub set: Option<Vec<String>>,
    /// Only so many seeds in a rehearsal.
    pub rehearsal_seeds: Option<usize>,
    /// The arms.
    pub arms: Vec<Arm>,
}

/// A method with its settings.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    /// Name of the row.
    pub name: String,
    /// The scales that it belongs to, if not all: lengths inside its settings differ with those of the training.
    pub scales: Option<Vec<Scale>>,
    /// The preset of MR² that its objective is, before `set`.
    pub preset: Option<String>,
    /// Changes (`key.path=value`).
    pub set: Option<Vec<String>>,
    /// Alternatives among which validation images choose; each is a list of changes.
    pub tune: Option<Vec<Vec<String>>>,
    /// Where it stands on the axis of a sweep.
    pub at: Option<f64>,
    /// Said below the table.
    pub note: Option<String>,
    /// Why nothing can be trained: the row says "unknown".
    pub unknown: Option<String>,
    /// Smoke runs have only the arms that say so, and the reference.
    pub smoke: Option<bool>,
    /// Published numbers.
    pub published: Option<Vec<PublishedCell>>,
}

/// A published number.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedCell {
    /// The paper's setting.
    pub setting: String,
    /// The column.
    pub metric: Metric,
    /// In percent; absent where there are only words.
    pub percent: Option<f64>,
    /// Words instead of a number; with a number, "≈": it is approximate.
    pub words: Option<String>,
    /// Where it was read.
    pub source: Source,
}

impl Arm {
    /// Whether it is trained at a scale.
    pub fn is_of(&self, scale: Scale) -> bool {
        let scales = self.scales.as_ref();
        scales.is_none_or(|scales| scales.contains(&scale))
    }
}

impl TableFile {
    /// Parses a table's file; `name` names it in errors.
    ///
    /// # Errors
    /// On what isn't TOML, an unknown or missing key, a repeated name, a claim about an arm that isn't there.
    pub fn parse(text: &str, name: &str) -> Result<Self> {
        let value: toml::Value =
            toml::from_str(text).map_err(|e| anyhow!("{name}: not valid TOML: {e}"))?;
        let table: Self = typed(value).with_context(|| name.to_string())?;
        table.check().with_context(|| name.to_string())?;
        Ok(table)
    }

    fn check(&self) -> Result<()> {
        let mut seen = std::collections::BTreeSet::new();
        for block in &self.blocks {
            ensure!(
                seen.insert(&block.name),
                "two blocks are named `{}`",
                block.name
            );
            let mut arms = std::collections::BTreeSet::new();
            for arm in &block.arms {
                let name = &arm.name;
                for scale in Scale::ALL.into_iter().filter(|scale| arm.is_of(*scale)) {
                    ensure!(
                        arms.insert((scale, name)),
                        "block `{}`: two arms are named `{name}`",
                        block.name
                    );
                }
                let trained = arm.preset.is_some() || arm.set.is_some() || arm.tune.is_some();
                ensure!(
                    arm.unknown.is_none() || !trained,
                    "arm `{name}`: what is unknown can't have settings"
                );
                for published in arm.published.iter().flatten() {
                    let paper = Some(&published.setting);
                    ensure!(
                        self.settings
                            .iter()
                            .any(|setting| setting.published.as_ref() == paper),
                        "arm `{name}`: a published cell of `{}`, which is no setting's `published`",
                        published.setting
                    );
                    ensure!(
                        published.percent.is_some() || published.words.is_some(),
                        "arm `{name}`: a published cell without number and words; leave it out, unknown cells say so"
                    );
                }
            }
            ensure!(
                block.rehearsal_seeds != Some(0),
                "block `{}`: expected at least 1 for rehearsal_seeds, found 0",
                block.name
            );
            let first = block.arms.first();
            let first = first.with_context(|| format!("block `{}` has no arms", block.name))?;
            ensure!(
                first.unknown.is_none(),
                "block `{}`: its first arm is the reference and can't be unknown",
                block.name
            );
        }
        for setting in &self.settings {
            let name = &setting.name;
            ensure!(!setting.seeds.is_empty(), "setting `{name}`: no seeds");
            let distinct: std::collections::BTreeSet<_> = setting.seeds.iter().collect();
            ensure!(
                distinct.len() == setting.seeds.len(),
                "setting `{name}`: a seed stands in it twice"
            );
            if let Tuning::Validation { seed, .. } = setting.tuning {
                ensure!(
                    !setting.seeds.contains(&seed),
                    "setting `{name}`: seed {seed} of the tuning runs is one of the table's"
                );
            }
        }
        self.claims
            .iter()
            .try_for_each(|claim| self.check_claim(claim))
    }

    fn check_claim(&self, claim: &Claim) -> Result<()> {
        let block = self.blocks.iter().find(|block| block.name == claim.block);
        let block = block
            .with_context(|| format!("claim `{}`: no block `{}`", claim.claim, claim.block))?;
        let arms = match &claim.test {
            ClaimTest::Difference { arm, against, .. } => vec![arm, against],
            ClaimTest::BestArm { arm, .. } => vec![arm],
            ClaimTest::HarderClassesHaveMore { .. } => Vec::new(),
        };
        for arm in arms {
            ensure!(
                block.arms.iter().any(|known| known.name == *arm),
                "claim `{}`: no arm `{arm}` in block `{}`",
                claim.claim,
                claim.block
            );
        }
        Ok(())
    }
}
