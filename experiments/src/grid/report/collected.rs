//! The results of a table's runs, as far as there are any.

use anyhow::Result;
use mr2_train::RunResult;

use crate::grid::cost::{Cost, key};
use crate::grid::execute::Failure;
use crate::grid::plan::{PlannedBlock, PlannedSetting, Row};
use crate::grid::store::Store;
use crate::grid::table_file::{Arm, Block, Scale, Setting, TableFile};
use crate::grid::tuning::{self, TunedArms};

/// Everything that a report reads.
pub struct Collected<'a> {
    /// The table's file.
    pub table: &'a TableFile,
    /// What was trained.
    pub scale: Scale,
    /// Each setting's blocks.
    pub blocks: Vec<CollectedBlock<'a>>,
    /// What the representation loss costs.
    pub costs: Vec<Cost>,
    /// Runs that couldn't be trained.
    pub failures: Vec<Failure>,
}

/// A block of arms in a setting.
pub struct CollectedBlock<'a> {
    /// Data, network and length.
    pub setting: &'a Setting,
    /// The block.
    pub block: &'a Block,
    /// Its arms, the reference first.
    pub arms: Vec<CollectedArm<'a>>,
    /// What tuning chose.
    pub tuned: TunedArms,
}

/// An arm's runs.
pub struct CollectedArm<'a> {
    /// The arm.
    pub arm: &'a Arm,
    /// What its row is made of.
    pub row: Row,
    /// Finished runs, by ascending seed. The reference's, where its objective is the same.
    pub runs: Vec<CollectedRun>,
    /// Seeds without a result.
    pub missing: Vec<u64>,
}

/// A finished run.
pub struct CollectedRun {
    /// Its hash.
    pub key: String,
    /// Its seed.
    pub seed: u64,
    /// Its result.
    pub result: RunResult,
}

impl Collected<'_> {
    /// The folders of all runs and costs that the report reads.
    ///
    /// # Errors
    /// When a case can't be written as JSON.
    pub fn keys(&self) -> Result<Vec<String>> {
        let arms = self.blocks.iter().flat_map(|block| &block.arms);
        let runs = arms
            .flat_map(|arm| &arm.runs)
            .map(|run| Ok(run.key.clone()));
        let costs = self.costs.iter().map(|cost| key(&cost.case));
        runs.chain(costs).collect()
    }
}

impl<'a> CollectedBlock<'a> {
    /// Reads the results of a block.
    ///
    /// # Errors
    /// A result that can't be read.
    pub fn read(
        setting: &PlannedSetting<'a>,
        block: &PlannedBlock<'a>,
        store: &Store,
    ) -> Result<Self> {
        let tuned = tuning::choose(setting, block, store)?;
        let mut arms = Vec::new();
        for arm in &block.arms {
            let planned = match arm.row {
                Row::Trained => arm,
                Row::SameAsReference | Row::Unknown => block.reference(),
            };
            let settings = match tuned.get(&planned.arm.name) {
                Some(tuned) => tuned.settings(),
                None => Some(&[][..]),
            };
            let mut collected = CollectedArm {
                arm: arm.arm,
                row: arm.row,
                runs: Vec::new(),
                missing: Vec::new(),
            };
            let seeds = block.seeds.iter().filter(|_| arm.row != Row::Unknown);
            for &seed in seeds {
                let found = match settings {
                    Some(settings) => {
                        let run = planned.run(seed, settings)?;
                        let result = store.result(&run.key, &run.file.config.training)?;
                        result.map(|result| (run.key, result))
                    }
                    None => None,
                };
                match found {
                    Some((key, result)) => collected.runs.push(CollectedRun { key, seed, result }),
                    None => collected.missing.push(seed),
                }
            }
            arms.push(collected);
        }
        Ok(Self {
            setting: setting.setting,
            block: block.block,
            arms,
            tuned,
        })
    }

    /// Whether the reference has no run: without it there is no table.
    pub fn is_empty(&self) -> bool {
        self.arms[0].runs.is_empty()
    }

    /// The arms with a row of numbers.
    pub fn trained(&self) -> impl Iterator<Item = &CollectedArm<'a>> {
        let arms = self.arms.iter();
        arms.filter(|arm| arm.row == Row::Trained && !arm.runs.is_empty())
    }

    /// An arm by its name.
    pub fn arm(&self, name: &str) -> Option<&CollectedArm<'a>> {
        self.arms.iter().find(|arm| arm.arm.name == name)
    }
}
