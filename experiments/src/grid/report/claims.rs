//! The claims list: what the paper says, what was found, and whether it holds, fails or is undecided.

use std::collections::BTreeMap;

use anyhow::Result;
use mr2_metrics::{
    ClassReport, Direction, MethodRow, Metric, PairedDifference, Premise, Verdict, holm, mean_sd,
    paired_interval, premise, verdict,
};
use mr2_train::result::RunResult;

use super::collected::CollectedBlock;
use crate::grid::plan::Row;
use crate::grid::table_file::{Claim as Claimed, ClaimTest, Expect, Quantity};
use crate::report::document::{Claim, Tone};
use crate::report::{Cell, Scale};

/// Permutations behind the p of a rank correlation.
const PERMUTATIONS: usize = 10_000;

/// Tests the claims that are about a block.
///
/// # Errors
/// When a statistic can't be computed.
pub fn claims(
    claims: &[Claimed],
    block: &CollectedBlock<'_>,
    report: &ClassReport,
) -> Result<Vec<Claim>> {
    let about = claims
        .iter()
        .filter(|claim| claim.block == block.block.name);
    about.map(|claim| test(claim, block, report)).collect()
}

fn test(claim: &Claimed, block: &CollectedBlock<'_>, report: &ClassReport) -> Result<Claim> {
    let (ours, outcome) = match &claim.test {
        ClaimTest::Difference {
            arm,
            against,
            metric,
            expect,
        } => {
            let [arm, against] = [arm, against].map(|name| row_name(block, name));
            difference(report, arm, against, *metric, *expect)?
        }
        ClaimTest::HarderClassesHaveMore { quantity } => harder_have_more(block, *quantity)?,
        ClaimTest::BestArm { arm, metric } => best_arm(report, arm, *metric)?,
    };
    Ok(judged(claim, ours, outcome))
}

/// The claims about a block without a table: its reference has no run.
pub fn without_runs(claims: &[Claimed], block: &CollectedBlock<'_>) -> Vec<Claim> {
    let about = claims
        .iter()
        .filter(|claim| claim.block == block.block.name);
    about
        .map(|claim| {
            let (ours, outcome) = no_runs();
            judged(claim, ours, outcome)
        })
        .collect()
}

/// The row that an arm's numbers stand in: the reference's, where the objective is the same.
fn row_name<'b>(block: &'b CollectedBlock<'_>, name: &'b str) -> &'b str {
    match block.arm(name).map(|arm| arm.row) {
        Some(Row::SameAsReference) => &block.arms[0].arm.name,
        _ => name,
    }
}

fn judged(claim: &Claimed, ours: String, outcome: Outcome) -> Claim {
    let (verdict, tone) = match outcome {
        Outcome::Holds => ("holds".to_string(), Tone::For),
        Outcome::Fails => ("fails".to_string(), Tone::Against),
        Outcome::Undecided { n } => (format!("undecided at n = {n}"), Tone::Open),
        Outcome::NoRuns => ("no runs".to_string(), Tone::Open),
    };
    Claim {
        claim: claim.claim.clone(),
        paper: Some(claim.paper.clone()),
        ours,
        verdict,
        tone,
    }
}

enum Outcome {
    Holds,
    Fails,
    Undecided { n: usize },
    NoRuns,
}

type Tested = (String, Outcome);

fn no_runs() -> Tested {
    (crate::report::cell::ABSENT.into(), Outcome::NoRuns)
}

/// Over the seeds that both arms have; against the reference by Holm over the block's arms.
fn difference(
    report: &ClassReport,
    arm: &str,
    against: &str,
    metric: Metric,
    expect: Expect,
) -> Result<Tested> {
    let (Some(arm), Some(other)) = (report.row(arm), report.row(against)) else {
        return Ok(no_runs());
    };
    let Some(paired) = paired(arm, other, metric, report.config.level)? else {
        return Ok(no_runs());
    };
    let against_reference = (against == report.reference)
        .then(|| arm.cell(metric))
        .flatten();
    let held = match against_reference.and_then(|cell| cell.against_reference.as_ref()) {
        Some(comparison) => comparison.holm_verdict,
        None => verdict(&paired, Direction::HigherIsBetter),
    };
    let direction = match against_reference {
        Some(_) => metric.direction(),
        None => Direction::HigherIsBetter,
    };
    let outcome = match (signed(held, direction), expect) {
        (Some(true), Expect::Higher) | (Some(false), Expect::Lower) => Outcome::Holds,
        (Some(_), _) => Outcome::Fails,
        (None, _) => Outcome::Undecided { n: paired.n },
    };
    Ok((
        Cell::difference(Some(&paired), Scale::Percent).plain(),
        outcome,
    ))
}

/// The arm's metric minus the other's over the seeds that both have; `None` where there is none.
fn paired(
    arm: &MethodRow,
    other: &MethodRow,
    metric: Metric,
    level: f64,
) -> Result<Option<PairedDifference>> {
    let values = |row: &MethodRow| -> BTreeMap<u64, f64> {
        let of_seeds = row.cell(metric).map_or(&[][..], |cell| &cell.per_seed);
        row.seeds
            .iter()
            .copied()
            .zip(of_seeds.iter().copied())
            .collect()
    };
    let (own, base) = (values(arm), values(other));
    let pairs = own
        .iter()
        .filter_map(|(seed, a)| Some((*a, *base.get(seed)?)));
    let (a, b): (Vec<f64>, Vec<f64>) = pairs.unzip();
    Ok(match a.is_empty() {
        true => None,
        false => Some(paired_interval(&a, &b, level)?),
    })
}

/// Whether the arm's is larger, where that is decided.
fn signed(verdict: Verdict, direction: Direction) -> Option<bool> {
    let better_is_larger = direction == Direction::HigherIsBetter;
    match verdict {
        Verdict::Better => Some(better_is_larger),
        Verdict::Worse => Some(!better_is_larger),
        Verdict::Undecided { .. } | Verdict::Identical => None,
    }
}

/// Of the reference's runs: accuracies and quantities of each class, averaged over the seeds.
fn harder_have_more(block: &CollectedBlock<'_>, quantity: Quantity) -> Result<Tested> {
    let results: Vec<&RunResult> = block.arms[0].runs.iter().map(|run| &run.result).collect();
    let Some(first) = results.first() else {
        return Ok(no_runs());
    };
    let classes = first.class_names.len();
    let accuracy = means(
        classes,
        results.iter().map(|r| r.test.class_accuracy.clone()),
    );
    let values = means(classes, results.iter().map(|r| of(quantity, r)));
    let test = premise(&accuracy, &values, PERMUTATIONS, 0)?;
    let number = |value: Option<f64>| value.map_or("–".into(), |value| format!("{value:.3}"));
    let ours = format!(
        "ρ {} (p {}, {} classes)",
        number(test.rho),
        number(test.p),
        test.classes
    );
    let outcome = match test.verdict {
        Premise::Held => Outcome::Holds,
        Premise::Reversed => Outcome::Fails,
        Premise::Undecided { .. } => Outcome::Undecided { n: results.len() },
    };
    Ok((ours, outcome))
}

/// The quantity of each class in a run.
pub fn of(quantity: Quantity, result: &RunResult) -> Vec<Option<f64>> {
    match quantity {
        Quantity::SecondMoment => result.classes.second_moment.clone(),
        Quantity::Spread => result.classes.v.clone(),
        Quantity::RelativeSpread => result.classes.relative_spread(),
        Quantity::HeadNorm => result.classes.head_norm.clone(),
    }
}

/// The mean over runs of each class's value; `None` where any run lacks it.
pub fn means(classes: usize, runs: impl Iterator<Item = Vec<Option<f64>>>) -> Vec<Option<f64>> {
    let runs: Vec<Vec<Option<f64>>> = runs.collect();
    let of_class = |class: usize| {
        let values: Option<Vec<f64>> = runs.iter().map(|run| *run.get(class)?).collect();
        mean_sd(&values?).ok().map(|summary| summary.mean)
    };
    (0..classes).map(of_class).collect()
}

/// The arm has the highest mean; decided where it is above every other with Holm over them. The reference is
/// left out: it isn't one of the settings that are compared.
fn best_arm(report: &ClassReport, arm: &str, metric: Metric) -> Result<Tested> {
    let Some(arm) = report.row(arm) else {
        return Ok(no_runs());
    };
    let Some(own) = arm.cell(metric) else {
        return Ok(no_runs());
    };
    let others: Vec<_> = report
        .rows
        .iter()
        .filter(|row| row.name != arm.name && row.name != report.reference)
        .filter_map(|row| Some((row, row.cell(metric)?)))
        .collect();
    let Some((best, best_cell)) = others.iter().max_by(|a, b| a.1.mean.total_cmp(&b.1.mean)) else {
        return Ok(no_runs());
    };
    let mut differences = Vec::new();
    for (row, _) in &others {
        differences.extend(paired(arm, row, metric, report.config.level)?);
    }
    if differences.is_empty() {
        return Ok(no_runs());
    }
    let adjusted = holm(&differences.iter().map(|d| d.p).collect::<Vec<_>>())?;
    let decided = |sign: f64| {
        let pairs = differences.iter().zip(&adjusted);
        pairs.map(move |(d, p)| {
            d.mean * sign > 0.0 && p.is_some_and(|p| p <= 1.0 - report.config.level)
        })
    };
    let outcome = if decided(1.0).all(|above| above) {
        Outcome::Holds
    } else if decided(-1.0).any(|below| below) {
        Outcome::Fails
    } else {
        Outcome::Undecided { n: own.n }
    };
    let show = |mean| Scale::Percent.write(mean);
    let ours = match own.mean >= best_cell.mean {
        true => format!(
            "highest, {} (next: {}, {})",
            show(own.mean),
            best.name,
            show(best_cell.mean)
        ),
        false => format!(
            "{}; highest: {}, {}",
            show(own.mean),
            best.name,
            show(best_cell.mean)
        ),
    };
    Ok((ours, outcome))
}
