//! From runs to the table: choose the classes per seed, score every run on them, compare.

use std::collections::{BTreeMap, BTreeSet};

use crate::class_report::{
    ClassReport, MethodRow, MetricCell, ReportConfig, SameRunSplit, SeedSplit,
};
use crate::compare::{Comparer, adjust};
use crate::cross_fit::{SplitSource, cross_fitted, mean_accuracies};
use crate::error::{Error, check_open_unit};
use crate::metric::{Metric, ScoredRun, evaluate};
use crate::phantom_gain::{ClassGroup, PhantomGain, phantom_gain};
use crate::runs::{MethodRuns, SeedRun, check_methods};
use crate::summary::mean_sd;
use crate::thirds::thirds;
use crate::worst::{worst_class, worst_decile};

/// The splits by seed.
pub(crate) type Splits = BTreeMap<u64, SeedSplit>;

/// A method's runs by seed.
pub(crate) struct Scored<'a> {
    pub name: &'a str,
    pub runs: BTreeMap<u64, ScoredRun<'a>>,
}

impl ClassReport {
    /// Scores every run of `reference` and of `others` on the classes chosen by the other
    /// seeds of `reference`, and compares the others with it seed by seed.
    ///
    /// `reference` alone gives the class-wise report of one method, without comparison.
    ///
    /// # Errors
    /// A method without runs or with a repeated name or seed, labels or numbers of test images
    /// that differ between runs, counts that contradict each other, a class out of range, a NaN,
    /// or settings out of range.
    pub fn new(
        reference: &MethodRuns<'_>,
        others: &[MethodRuns<'_>],
        classes: usize,
        config: &ReportConfig,
    ) -> Result<Self, Error> {
        check_open_unit("level", config.level)?;
        let class_counts = check_methods(reference, others, classes)?;
        let base = score(reference);
        let others: Vec<Scored<'_>> = others.iter().map(score).collect();
        let splits = choose_splits(&base, &others)?;
        let base_row = row(&base, None, &splits, config)?;
        let mut rows = vec![base_row.clone()];
        for method in &others {
            let comparer = Comparer::new(method, &base_row, &base, &splits, config)?;
            rows.push(row(method, Some(&comparer), &splits, config)?);
        }
        adjust(&mut rows[1..])?;
        Ok(Self {
            classes,
            class_counts,
            reference: reference.name.clone(),
            config: config.clone(),
            splits: splits.into_values().collect(),
            phantom_gains: phantom_gains(&base, config.level)?,
            rows,
        })
    }
}

/// A method's runs by seed.
fn score<'a>(method: &'a MethodRuns<'a>) -> Scored<'a> {
    let scored = |run: &'a SeedRun<'a>| {
        let accuracies = run.per_class.accuracies();
        (run.seed, ScoredRun { run, accuracies })
    };
    Scored {
        name: &method.name,
        runs: method.runs.iter().map(scored).collect(),
    }
}

/// The classes for every seed that occurs, chosen on the reference's other seeds.
fn choose_splits(base: &Scored<'_>, others: &[Scored<'_>]) -> Result<Splits, Error> {
    let reference_seeds: Vec<u64> = base.runs.keys().copied().collect();
    let reference_runs = accuracies(base);
    let seeds: BTreeSet<u64> = std::iter::once(base)
        .chain(others)
        .flat_map(|m| m.runs.keys().copied())
        .collect();
    let worst = |accuracies: &[Option<f64>]| {
        let what = "images of each class";
        worst_class(accuracies)?.ok_or(Error::Empty { what, minimum: 1 })
    };
    let mut splits = Splits::new();
    for seed in seeds {
        let own = reference_seeds.iter().position(|&other| other == seed);
        let reference = cross_fitted(&reference_runs, own)?;
        let split = SeedSplit {
            seed,
            source: reference.source,
            thirds: thirds(&reference.accuracy)?,
            worst_class: worst(&reference.accuracy)?,
            worst_decile: worst_decile(&reference.accuracy)?,
            same_run: match base.runs.get(&seed) {
                Some(ScoredRun { accuracies, .. }) => Some(SameRunSplit {
                    thirds: thirds(accuracies)?,
                    worst_class: worst(accuracies)?,
                }),
                None => None,
            },
        };
        splits.insert(seed, split);
    }
    Ok(splits)
}

/// Per-class accuracies of a method's runs, ascending by seed.
fn accuracies(method: &Scored<'_>) -> Vec<Vec<Option<f64>>> {
    let runs = method.runs.values();
    runs.map(|run| run.accuracies.clone()).collect()
}

/// The reference's phantom gain on every group that there is.
fn phantom_gains(
    base: &Scored<'_>,
    level: f64,
) -> Result<BTreeMap<ClassGroup, PhantomGain>, Error> {
    let runs = accuracies(base);
    let mut gains = BTreeMap::new();
    for group in ClassGroup::ALL {
        if let Some(gain) = phantom_gain(&runs, group, level)? {
            gains.insert(group, gain);
        }
    }
    Ok(gains)
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
            .map(|(seed, run)| evaluate(metric, run, &splits[seed], config.cvar_alpha))
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
        .map(|run| run.accuracies.as_slice())
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
