//! Settings of tunable arms, chosen on held-out training images; the runs' test results are not read.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use mr2_metrics::{PerClass, Thirds, group_accuracy, thirds};
use serde::Serialize;

use super::plan::{PlannedArm, PlannedBlock, PlannedRun, PlannedSetting, Row};
use super::store::Store;
use super::table_file::Tuning;
use crate::choice::{highest, overall_and_hard};

/// What an arm was tuned over, and what was chosen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TunedArm {
    /// The arm.
    pub arm: String,
    /// Every alternative, in the file's order.
    pub candidates: Vec<Candidate>,
    /// The place of the chosen one; `None` while none has a result.
    pub chosen: Option<usize>,
    /// Alternatives without a result: not trained yet, or failed.
    pub missing: usize,
}

/// An alternative and how it did on validation images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Candidate {
    /// Its changes.
    pub set: Vec<String>,
    /// Overall validation accuracy.
    pub overall: Option<f64>,
    /// Validation accuracy of the hard third, which the reference's validation run chooses.
    pub hard: Option<f64>,
    /// Their mean; the highest is chosen, the first of equals.
    pub score: Option<f64>,
}

impl TunedArm {
    /// The changes of the chosen alternative.
    pub fn settings(&self) -> Option<&[String]> {
        Some(&self.candidates.get(self.chosen?)?.set)
    }
}

/// Tuned arms of a block, by name.
pub type TunedArms = BTreeMap<String, TunedArm>;

/// The tuning runs of a block: the reference's, which chooses the hard classes, and every alternative.
///
/// # Errors
/// Settings that don't fit the run file.
pub fn runs(setting: &PlannedSetting<'_>, block: &PlannedBlock<'_>) -> Result<Vec<PlannedRun>> {
    let tuning = &setting.setting.tuning;
    let mut runs = Vec::new();
    for arm in tunable(setting, block) {
        if runs.is_empty() {
            runs.push(block.reference().tuning_run(tuning, &[])?);
        }
        for alternative in arm.arm.tune.iter().flatten() {
            runs.push(arm.tuning_run(tuning, alternative)?);
        }
    }
    Ok(runs)
}

/// Chooses among the alternatives that have results.
///
/// # Errors
/// A result that can't be read.
pub fn choose(
    setting: &PlannedSetting<'_>,
    block: &PlannedBlock<'_>,
    store: &Store,
) -> Result<TunedArms> {
    let tuning = &setting.setting.tuning;
    let mut tuned = TunedArms::new();
    let mut hard: Option<Thirds> = None;
    for arm in tunable(setting, block) {
        if hard.is_none() {
            let reference = block.reference().tuning_run(tuning, &[])?;
            let validated = validation(store, &reference)?;
            hard = validated.and_then(|v| thirds(&v.accuracies()).ok().flatten());
        }
        tuned.insert(
            arm.arm.name.clone(),
            judge(arm, tuning, hard.as_ref(), store)?,
        );
    }
    Ok(tuned)
}

fn tunable<'b, 'a>(
    setting: &'b PlannedSetting<'a>,
    block: &'b PlannedBlock<'a>,
) -> impl Iterator<Item = &'b PlannedArm<'a>> {
    let tunes = setting.tunes();
    let arms = block.arms.iter();
    arms.filter(move |arm| tunes && arm.arm.tune.is_some() && arm.row == Row::Trained)
}

fn judge(
    arm: &PlannedArm<'_>,
    tuning: &Tuning,
    hard: Option<&Thirds>,
    store: &Store,
) -> Result<TunedArm> {
    let mut candidates = Vec::new();
    for alternative in arm.arm.tune.iter().flatten() {
        let run = arm.tuning_run(tuning, alternative)?;
        let validated = validation(store, &run)?;
        let overall = validated.as_ref().and_then(PerClass::overall);
        let hard = validated
            .as_ref()
            .zip(hard)
            .and_then(|(v, thirds)| group_accuracy(&v.accuracies(), &thirds.hard));
        candidates.push(Candidate {
            set: alternative.clone(),
            overall,
            hard,
            score: overall
                .zip(hard)
                .map(|(overall, hard)| overall_and_hard(overall, hard)),
        });
    }
    Ok(TunedArm {
        arm: arm.arm.name.clone(),
        chosen: best(&candidates),
        missing: candidates.iter().filter(|c| c.score.is_none()).count(),
        candidates,
    })
}

/// The place of the highest score; the first of equals.
fn best(candidates: &[Candidate]) -> Option<usize> {
    let scored = candidates.iter().enumerate();
    highest(scored.filter_map(|(place, candidate)| Some((place, candidate.score?))))
}

/// All that a choice may see of a run.
fn validation(store: &Store, run: &PlannedRun) -> Result<Option<PerClass>> {
    let result = store.result(&run.key, &run.file.config.training)?;
    result
        .map(|result| {
            let place = || format!("{}: no validation result", run.label);
            result.validation.with_context(place)
        })
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(score: Option<f64>) -> Candidate {
        Candidate {
            set: Vec::new(),
            overall: score,
            hard: score,
            score,
        }
    }

    #[test]
    fn the_highest_score_is_chosen_and_the_first_of_equals() {
        let scores = [Some(0.5), None, Some(0.7), Some(0.7)];
        assert_eq!(best(&scores.map(candidate)), Some(2));
        assert_eq!(best(&[candidate(None)]), None);
    }
}
