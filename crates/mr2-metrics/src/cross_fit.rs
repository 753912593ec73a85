//! Which runs may choose the classes that a run is scored on.
//!
//! If the hard third is chosen by the run that it is then compared with, that run's bad luck
//! is part of the choice, and anything else looks better on it: regression to the mean.
//! Cross-fitting chooses the classes for seed i on the reference method's *other* seeds.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, check_finite_present, check_length};

/// How the classes of a split were chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SplitSource {
    /// On reference runs other than the one with the seed that is scored.
    CrossFitted,
    /// On the reference run with the same seed, the only one there is: gains on its hard
    /// classes are overstated.
    SameRunOptimistic,
}

impl fmt::Display for SplitSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CrossFitted => "cross-fitted",
            Self::SameRunOptimistic => "same run, optimistic",
        })
    }
}

/// A reference accuracy of every class, with where it comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// Mean over the reference runs used; `None` for a class that none of them has.
    pub accuracy: Vec<Option<f64>>,
    /// Which runs were used.
    pub source: SplitSource,
}

/// The accuracies on which the classes for one seed are chosen: the mean over all runs in
/// `reference_runs` (one slice of per-class accuracies per seed) except `own`, the position
/// of the run with the seed that is scored. `own = None` says that the reference method has
/// no run with that seed, so all of its runs are other runs. With one run, which is `own`,
/// that run itself is used and the result says so.
///
/// # Errors
/// No run, runs with different numbers of classes, `own` beyond the runs, or a NaN.
pub fn cross_fitted(
    reference_runs: &[Vec<Option<f64>>],
    own: Option<usize>,
) -> Result<Reference, Error> {
    let Some(first) = reference_runs.first() else {
        return Err(Error::Empty {
            what: "reference runs",
            minimum: 1,
        });
    };
    if let Some(own) = own.filter(|&own| own >= reference_runs.len()) {
        return Err(Error::Setting {
            name: "own",
            value: own as f64,
            expected: "the position of a reference run",
        });
    }
    for run in reference_runs {
        check_length("reference run", first.len(), run.len())?;
        check_finite_present("reference run", run)?;
    }
    let alone = reference_runs.len() == 1 && own.is_some();
    let others: Vec<&[Option<f64>]> = reference_runs
        .iter()
        .enumerate()
        .filter(|&(position, _)| alone || Some(position) != own)
        .map(|(_, run)| run.as_slice())
        .collect();
    let source = if alone {
        SplitSource::SameRunOptimistic
    } else {
        SplitSource::CrossFitted
    };
    Ok(Reference {
        accuracy: mean_accuracies(&others),
        source,
    })
}

/// Per-class mean over runs of equal length, over the runs that have the class.
pub(crate) fn mean_accuracies(runs: &[&[Option<f64>]]) -> Vec<Option<f64>> {
    let classes = runs.first().map_or(0, |run| run.len());
    let mean = |class: usize| {
        let present: Vec<f64> = runs.iter().filter_map(|run| run[class]).collect();
        (!present.is_empty()).then(|| present.iter().sum::<f64>() / present.len() as f64)
    };
    (0..classes).map(mean).collect()
}
