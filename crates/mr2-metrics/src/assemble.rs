//! From runs to the table: choose the classes per seed, score every run on them, compare.

use std::collections::{BTreeMap, BTreeSet};

use crate::class_report::{
    ClassReport, MethodRow, MethodRuns, MetricCell, ReportConfig, SeedRun, SeedSplit,
};
use crate::compare::Comparer;
use crate::confusion::Confusion;
use crate::cross_fit::{SplitSource, cross_fitted, mean_accuracies};
use crate::error::{Error, check_finite, check_length, check_open_unit};
use crate::metric::{Metric, ScoredRun, evaluate};
use crate::per_class::PerClass;
use crate::summary::mean_sd;
use crate::thirds::thirds;
use crate::worst::{worst_class, worst_decile};

/// The splits by seed.
pub(crate) type Splits = BTreeMap<u64, SeedSplit>;

/// A method's runs by seed, counted once.
pub(crate) struct Scored<'a> {
    pub name: &'a str,
    pub runs: BTreeMap<u64, (SeedRun<'a>, ScoredRun)>,
}

impl ClassReport {
    /// Scores every run of `reference` and of `others` on the classes chosen by the other
    /// seeds of `reference`, and compares the others with it seed by seed.
    ///
    /// `reference` alone gives the class-wise report of one method, without comparison.
    ///
    /// # Errors
    /// A method without runs or with a repeated name or seed, labels that differ between
    /// runs, a class out of range, a NaN, or settings out of range.
    pub fn new(
        reference: &MethodRuns<'_>,
        others: &[MethodRuns<'_>],
        classes: usize,
        config: &ReportConfig,
    ) -> Result<Self, Error> {
        check_open_unit("level", config.level)?;
        let labels = check_methods(reference, others)?;
        let base = score(reference, classes)?;
        let others = others
            .iter()
            .map(|method| score(method, classes))
            .collect::<Result<Vec<_>, _>>()?;
        let splits = choose_splits(&base, &others)?;
        let base_row = row(&base, None, &splits, config)?;
        let mut rows = vec![base_row.clone()];
        for method in &others {
            let comparer = Comparer::new(method, &base_row, &base, &splits, config)?;
            rows.push(row(method, Some(&comparer), &splits, config)?);
        }
        Ok(Self {
            classes,
            class_counts: PerClass::from_predictions(labels, labels, classes)?.count,
            reference: reference.name.clone(),
            config: config.clone(),
            splits: splits.into_values().collect(),
            rows,
        })
    }
}

/// Refuses methods that can't stand in one table; returns the labels that all runs share.
fn check_methods<'a>(
    reference: &MethodRuns<'a>,
    others: &[MethodRuns<'a>],
) -> Result<&'a [u32], Error> {
    let no_runs = |method: &MethodRuns<'_>| Error::NoRuns {
        method: method.name.clone(),
    };
    let labels = reference
        .runs
        .first()
        .ok_or_else(|| no_runs(reference))?
        .labels;
    let mut names = BTreeSet::new();
    for method in std::iter::once(reference).chain(others) {
        if !names.insert(&method.name) {
            return Err(Error::DuplicateMethod {
                name: method.name.clone(),
            });
        }
        if method.runs.is_empty() {
            return Err(no_runs(method));
        }
        let mut seeds = BTreeSet::new();
        for run in &method.runs {
            let (method, seed) = (method.name.clone(), run.seed);
            if !seeds.insert(seed) {
                return Err(Error::DuplicateSeed { method, seed });
            }
            let in_run = |source| Error::Run {
                method: method.clone(),
                seed,
                source: Box::new(source),
            };
            check_length("labels", labels.len(), run.labels.len()).map_err(in_run)?;
            if let Some(index) = labels.iter().zip(run.labels).position(|(a, b)| a != b) {
                return Err(Error::DifferentTestSet {
                    method,
                    seed,
                    index,
                });
            }
        }
    }
    Ok(labels)
}

/// Counts a method's runs.
fn score<'a>(method: &'a MethodRuns<'a>, classes: usize) -> Result<Scored<'a>, Error> {
    let score_run = |run: &SeedRun<'a>| {
        check_finite("top5", run.top5)?;
        check_finite("ece", run.ece)?;
        let per_class = PerClass::from_predictions(run.labels, run.predictions, classes)?;
        let confusion = Confusion::from_predictions(run.labels, run.predictions, classes)?;
        let accuracies = per_class.accuracies();
        Ok(ScoredRun {
            per_class,
            accuracies,
            confusion,
            top5: run.top5,
            ece: run.ece,
        })
    };
    let in_run = |seed, source| Error::Run {
        method: method.name.clone(),
        seed,
        source: Box::new(source),
    };
    let runs = method
        .runs
        .iter()
        .map(|run| match score_run(run) {
            Ok(scored) => Ok((run.seed, (*run, scored))),
            Err(source) => Err(in_run(run.seed, source)),
        })
        .collect::<Result<_, _>>()?;
    Ok(Scored {
        name: &method.name,
        runs,
    })
}

/// The classes for every seed that occurs, chosen on the reference's other seeds.
fn choose_splits(base: &Scored<'_>, others: &[Scored<'_>]) -> Result<Splits, Error> {
    let reference_seeds: Vec<u64> = base.runs.keys().copied().collect();
    let reference_runs: Vec<Vec<Option<f64>>> = base
        .runs
        .values()
        .map(|(_, scored)| scored.accuracies.clone())
        .collect();
    let seeds: BTreeSet<u64> = std::iter::once(base)
        .chain(others)
        .flat_map(|m| m.runs.keys().copied())
        .collect();
    let mut splits = Splits::new();
    for seed in seeds {
        let own = reference_seeds.iter().position(|&other| other == seed);
        let reference = cross_fitted(&reference_runs, own)?;
        let split = SeedSplit {
            seed,
            source: reference.source,
            thirds: thirds(&reference.accuracy)?,
            worst_class: worst_class(&reference.accuracy)?.ok_or(Error::Empty {
                what: "labels",
                minimum: 1,
            })?,
            worst_decile: worst_decile(&reference.accuracy)?,
        };
        splits.insert(seed, split);
    }
    Ok(splits)
}

/// One method's row; the reference's own has no `comparer`.
fn row(
    method: &Scored<'_>,
    comparer: Option<&Comparer<'_>>,
    splits: &Splits,
    config: &ReportConfig,
) -> Result<MethodRow, Error> {
    let seeds: Vec<u64> = method.runs.keys().copied().collect();
    let mut metrics = BTreeMap::new();
    for metric in Metric::ALL {
        let per_seed = method
            .runs
            .iter()
            .map(|(seed, (_, run))| evaluate(metric, run, &splits[seed], config.cvar_alpha))
            .collect::<Result<Option<Vec<f64>>, _>>();
        let Some(per_seed) = per_seed? else { continue };
        let summary = mean_sd(&per_seed)?;
        let against_reference = match comparer {
            Some(comparer) => comparer.compare(metric, &seeds, &per_seed)?,
            None => None,
        };
        let (mean, sd, n) = (summary.mean, summary.sd, summary.n);
        metrics.insert(
            metric,
            MetricCell {
                per_seed,
                mean,
                sd,
                n,
                against_reference,
            },
        );
    }
    let optimistic = seeds
        .iter()
        .any(|seed| splits[seed].source == SplitSource::SameRunOptimistic);
    let accuracies: Vec<&[Option<f64>]> = method
        .runs
        .values()
        .map(|(_, run)| run.accuracies.as_slice())
        .collect();
    Ok(MethodRow {
        name: method.name.to_owned(),
        split_source: if optimistic {
            SplitSource::SameRunOptimistic
        } else {
            SplitSource::CrossFitted
        },
        class_accuracy: mean_accuracies(&accuracies),
        seeds,
        metrics,
    })
}
