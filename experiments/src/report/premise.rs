//! Whether harder classes have the larger m + v, as the paper says, and what the margins do in fact.

use anyhow::{Context, Result};
use mr2_loss::{GammaSource, Mr2Config};
use mr2_metrics::{ClassReport, Premise, PremiseTest, premise};
use mr2_stats::Centre;
use mr2_train::RunResult;
use mr2_train::objective::ObjectiveConfig;
use serde::Serialize;

use super::comparison::Method;
use super::document::{Claim, Tone};

/// Draws for a p beyond ten classes, and their seed.
const PERMUTATIONS: usize = 100_000;
const PERMUTATION_SEED: u64 = 0;
/// What the paper's margins grow with.
const OF_THE_PAPER: &str = "m + v";

/// Which classes get the larger margin under a method.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Margins {
    /// The method.
    pub method: String,
    /// What its γ is made of: m + v, v, v/m.
    pub source: &'static str,
    /// Whether classes that are harder for the reference get the larger γ.
    pub test: PremiseTest,
}

impl Margins {
    /// Whether γ is made of what the premise speaks of.
    pub fn of_the_paper(&self) -> bool {
        self.source == OF_THE_PAPER
    }
}

/// Whether harder classes have the larger m + v in the runs of the reference, which is the first method.
pub(super) fn of_reference(report: &ClassReport, reference: &Method<'_>) -> Result<PremiseTest> {
    with(report, reference, |result| &result.classes.second_moment)
}

/// The margins of every method in which they differ between classes.
pub(super) fn margins(report: &ClassReport, methods: &[Method<'_>]) -> Result<Vec<Margins>> {
    let mut found = Vec::new();
    for method in methods {
        let ObjectiveConfig::Mr2(config) = &method.runs[0].result.config.objective else {
            continue;
        };
        let Some(source) = source(config) else {
            continue;
        };
        found.push(Margins {
            method: method.name.to_string(),
            source,
            test: with(report, method, |result| &result.classes.gamma)?,
        });
    }
    Ok(found)
}

fn source(config: &Mr2Config) -> Option<&'static str> {
    match (config.gamma.source, config.stats.centre) {
        (GammaSource::SecondMoment, Centre::None) => Some(OF_THE_PAPER),
        (GammaSource::SecondMoment, Centre::GlobalMean) => Some("m + v about the global mean"),
        (GammaSource::Spread, _) => Some("v"),
        (GammaSource::RelativeSpread, _) => Some("v/m"),
        (GammaSource::Uniform, _) => None,
    }
}

/// The reference's test accuracy with a quantity of `method`, both means over seeds.
fn with(
    report: &ClassReport,
    method: &Method<'_>,
    quantity: fn(&RunResult) -> &Vec<Option<f64>>,
) -> Result<PremiseTest> {
    let reference = report.rows.first().context("no reference row")?;
    let mean = |class: usize| {
        let values = method.runs.iter().map(|run| quantity(&run.result));
        let known: Vec<f64> = values
            .filter_map(|v| v.get(class).copied().flatten())
            .collect();
        (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
    };
    let means: Vec<Option<f64>> = (0..report.classes).map(mean).collect();
    let accuracy = &reference.class_accuracy;
    Ok(premise(accuracy, &means, PERMUTATIONS, PERMUTATION_SEED)?)
}

/// The premise and the margins as claims.
pub(super) fn claims(reference: &str, premise: &PremiseTest, margins: &[Margins]) -> Vec<Claim> {
    let of_premise = claim(
        format!("The premise: classes that are harder for {reference} have the larger m + v"),
        "m + v",
        premise,
    );
    let of_margins = margins.iter().map(|Margins { method, source, test }| {
        let claim_of = format!(
            "The margins of {method}, made of {source}: classes that are harder for {reference} get the larger γ"
        );
        claim(claim_of, "γ", test)
    });
    std::iter::once(of_premise).chain(of_margins).collect()
}

fn claim(claim: String, quantity: &str, test: &PremiseTest) -> Claim {
    let rho = test
        .rho
        .map_or("undefined".into(), |rho| format!("{rho:+.2}"));
    let p = match test.p {
        None => "p undefined".to_string(),
        Some(p) if p < 5e-5 => "p < 0.0001".to_string(),
        Some(p) => format!("p = {p:.4}"),
    };
    Claim {
        claim,
        paper: None,
        ours: format!(
            "ρ(test accuracy, {quantity}) = {rho}, {p}, K = {}",
            test.classes
        ),
        verdict: test.verdict.to_string(),
        tone: match test.verdict {
            Premise::Held => Tone::For,
            Premise::Reversed => Tone::Against,
            Premise::Undecided { .. } => Tone::Open,
        },
    }
}
