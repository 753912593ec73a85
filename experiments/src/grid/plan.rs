//! From a table's file to runs: every arm's configuration resolved, for each setting and seed.

mod same_objective;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use mr2_loss::Preset;
use toml::Value;

use super::args::Args;
use super::bases;
use super::store;
use super::table_file::{Arm, Block, Scale, Setting, TableFile, Tuning};
use crate::config::RunFile;
use same_objective::same_objective;

/// What is to be done for a table at one scale.
pub struct Plan<'a> {
    /// One after the other.
    pub settings: Vec<PlannedSetting<'a>>,
}

/// A setting with its blocks.
pub struct PlannedSetting<'a> {
    /// As in the file.
    pub setting: &'a Setting,
    /// In the file's order.
    pub blocks: Vec<PlannedBlock<'a>>,
}

/// A block with its arms; the first is the reference.
pub struct PlannedBlock<'a> {
    /// As in the file.
    pub block: &'a Block,
    /// The seeds of every arm.
    pub seeds: Vec<u64>,
    /// In the file's order.
    pub arms: Vec<PlannedArm<'a>>,
}

/// An arm, and what is to be trained for it.
pub struct PlannedArm<'a> {
    /// As in the file.
    pub arm: &'a Arm,
    /// What its row is made of.
    pub row: Row,
    changes: Changes,
}

/// What a row is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// Runs.
    Trained,
    /// The reference's runs: its objective is the reference's, written otherwise.
    SameAsReference,
    /// Nothing; it says "unknown".
    Unknown,
}

/// One run.
#[derive(Clone)]
pub struct PlannedRun {
    /// The hash that names its folder.
    pub key: String,
    /// Arm and seed, for messages.
    pub label: String,
    /// Its seed.
    pub seed: u64,
    /// Its configuration; the name in it is the key.
    pub file: RunFile,
}

/// Whether the training images of a run are as many for each class.
pub type Balanced<'a> = dyn Fn(&PlannedRun) -> Result<bool> + 'a;

/// A run file and the changes that make an arm of it.
struct Changes {
    base: String,
    origin: String,
    set: Vec<String>,
}

impl<'a> Plan<'a> {
    /// Resolves a table's file at a scale.
    ///
    /// # Errors
    /// Names the arm whose settings don't fit its run file, and arms of `--only` that aren't there.
    pub fn new(table: &'a TableFile, args: &Args, balanced: &Balanced<'_>) -> Result<Self> {
        Self::check_only(table, args)?;
        let settings: Vec<PlannedSetting<'a>> = table
            .settings
            .iter()
            .filter(|setting| setting.scale == args.scale)
            .map(|setting| PlannedSetting::new(setting, table, args, balanced))
            .collect::<Result<_>>()?;
        if settings.is_empty() {
            bail!("this table has no setting of scale `{}`", args.scale.name());
        }
        Ok(Self { settings })
    }

    fn check_only(table: &TableFile, args: &Args) -> Result<()> {
        let arms = table.blocks.iter().flat_map(|block| &block.arms);
        let names: BTreeSet<&str> = arms.map(|arm| arm.name.as_str()).collect();
        match args
            .only
            .iter()
            .find(|only| !names.contains(&only.as_str()))
        {
            Some(missing) => bail!(
                "--only {missing}: no such arm; there are {}",
                names.into_iter().collect::<Vec<_>>().join(", ")
            ),
            None => Ok(()),
        }
    }

    /// Every block with its setting.
    pub fn blocks(&self) -> impl Iterator<Item = (&PlannedSetting<'a>, &PlannedBlock<'a>)> {
        let settings = self.settings.iter();
        settings.flat_map(|setting| setting.blocks.iter().map(move |block| (setting, block)))
    }
}

impl<'a> PlannedSetting<'a> {
    fn new(
        setting: &'a Setting,
        table: &'a TableFile,
        args: &Args,
        balanced: &Balanced<'_>,
    ) -> Result<Self> {
        let belongs = |block: &&Block| {
            let scales = block.scales.as_ref();
            scales.is_none_or(|scales| scales.contains(&setting.scale))
        };
        let blocks = table.blocks.iter().filter(belongs);
        let blocks = blocks
            .map(|block| PlannedBlock::new(setting, block, args, balanced))
            .collect::<Result<_>>()?;
        Ok(Self { setting, blocks })
    }

    /// The held-out images that choose settings, if any do.
    pub fn tunes(&self) -> bool {
        self.setting.tuning != Tuning::Off {}
    }
}

impl<'a> PlannedBlock<'a> {
    fn new(
        setting: &'a Setting,
        block: &'a Block,
        args: &Args,
        balanced: &Balanced<'_>,
    ) -> Result<Self> {
        let mut seeds = match args.seeds {
            Some(seeds) => (1..=seeds).collect(),
            None => setting.seeds.clone(),
        };
        if let (Scale::Rehearsal, Some(most), None) =
            (setting.scale, block.rehearsal_seeds, args.seeds)
        {
            seeds.truncate(most);
        }
        if let Tuning::Validation { seed, .. } = setting.tuning
            && seeds.contains(&seed)
        {
            bail!(
                "--seeds: seed {seed} is that of the tuning runs, and can't be one of the table's"
            );
        }
        let wanted = |(position, arm): &(usize, &Arm)| {
            let named = args.only.is_empty() || args.only.contains(&arm.name);
            let small = setting.scale != Scale::Smoke || arm.smoke == Some(true);
            *position == 0 || (named && small && arm.is_of(setting.scale))
        };
        let mut arms: Vec<PlannedArm<'a>> = Vec::new();
        for (_, arm) in block.arms.iter().enumerate().filter(wanted) {
            let planned = PlannedArm::new(setting, block, arm, arms.first(), seeds[0], balanced)
                .with_context(|| format!("{}: arm `{}`", block.name, arm.name))?;
            arms.push(planned);
        }
        Ok(Self { block, seeds, arms })
    }

    /// The reference.
    pub fn reference(&self) -> &PlannedArm<'a> {
        // A block without arms doesn't get past the file's check.
        &self.arms[0]
    }
}

impl<'a> PlannedArm<'a> {
    fn new(
        setting: &Setting,
        block: &Block,
        arm: &'a Arm,
        reference: Option<&PlannedArm<'_>>,
        seed: u64,
        balanced: &Balanced<'_>,
    ) -> Result<Self> {
        let mut set = setting.set.clone();
        set.extend(block.set.iter().flatten().cloned());
        if let Some(preset) = &arm.preset {
            set.push(format!("training.objective={}", objective(preset)?));
        }
        set.extend(arm.set.iter().flatten().cloned());
        let changes = Changes {
            base: setting.base.clone(),
            origin: format!("experiments/runs/{}", setting.base),
            set,
        };
        let mut planned = Self {
            arm,
            row: Row::Trained,
            changes,
        };
        let tuned = arm.tune.is_some() && setting.tuning != (Tuning::Off {});
        planned.row = match reference {
            _ if arm.unknown.is_some() => Row::Unknown,
            // It may be written as the reference is, but is trained with what validation images choose.
            _ if tuned => Row::Trained,
            Some(reference) => {
                let (own, base) = (planned.run(seed, &[])?, reference.run(seed, &[])?);
                match same_objective(&own, &base, balanced)? {
                    true => Row::SameAsReference,
                    false => Row::Trained,
                }
            }
            None => Row::Trained,
        };
        // What is wrong in an alternative is found before anything is trained.
        for alternative in arm.tune.iter().flatten() {
            planned.run(seed, alternative)?;
        }
        Ok(planned)
    }

    /// The run of a seed, with the changes that tuning has chosen.
    ///
    /// # Errors
    /// Settings that don't fit the run file.
    pub fn run(&self, seed: u64, chosen: &[String]) -> Result<PlannedRun> {
        let label = format!("{} seed {seed}", self.arm.name);
        self.resolve(label, seed, chosen)
    }

    /// The tuning run of an alternative.
    ///
    /// # Errors
    /// Settings that don't fit the run file.
    pub fn tuning_run(&self, tuning: &Tuning, alternative: &[String]) -> Result<PlannedRun> {
        let Tuning::Validation {
            per_class,
            draw,
            seed,
        } = tuning
        else {
            bail!("this setting doesn't tune");
        };
        let mut set = alternative.to_vec();
        set.push(format!(
            "data.validation={{ kind = \"carved\", per_class = {per_class}, seed = {draw} }}"
        ));
        let label = match alternative {
            [] => format!("{} on validation", self.arm.name),
            _ => format!("{} with {}", self.arm.name, alternative.join(", ")),
        };
        self.resolve(label, *seed, &set)
    }

    fn resolve(&self, label: String, seed: u64, more: &[String]) -> Result<PlannedRun> {
        let Changes { base, origin, set } = &self.changes;
        let mut overrides = [&set[..], more].concat();
        overrides.push(format!("training.seed={seed}"));
        let mut file = RunFile::parse(bases::text(base)?, origin, &overrides)?;
        let key = store::key(&file.config)?;
        // One run may have another arm's name in another table; its folder must not depend on it.
        file.set_name(&key);
        Ok(PlannedRun {
            key,
            label,
            seed,
            file,
        })
    }
}

/// An MR² objective as a value to set; `custom`, because arms change values of it.
fn objective(preset: &str) -> Result<Value> {
    let Some(known) = Preset::ALL.iter().find(|known| known.name() == preset) else {
        let names: Vec<&str> = Preset::ALL.iter().map(|known| known.name()).collect();
        bail!("unknown preset `{preset}`; valid: {}", names.join(", "));
    };
    let mut table = toml::Table::try_from(known.config())?;
    table.insert("kind".into(), "mr2".into());
    table.insert("preset".into(), "custom".into());
    Ok(Value::Table(table))
}
