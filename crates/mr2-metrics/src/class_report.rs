//! The class-wise table of several methods over several seeds, as data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bootstrap::{BootstrapConfig, BootstrapInterval};
use crate::cross_fit::SplitSource;
use crate::metric::Metric;
use crate::paired::PairedDifference;
use crate::phantom_gain::{ClassGroup, PhantomGain};
use crate::thirds::Thirds;
use crate::verdict::Verdict;

/// The choices behind a report's numbers; saved with them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportConfig {
    /// Confidence level of the paired intervals over seeds.
    pub level: f64,
    /// Share of the classes that CVaR looks at, in (0, 1].
    pub cvar_alpha: f64,
    /// The bootstrap over test images, or none.
    pub bootstrap: Option<BootstrapConfig>,
}

impl ReportConfig {
    /// 95 % intervals, CVaR over the worst tenth of the classes, 2,000 bootstrap resamples.
    pub fn standard() -> Self {
        let bootstrap = BootstrapConfig {
            resamples: 2000,
            level: 0.95,
            seed: 0,
        };
        Self {
            level: 0.95,
            cvar_alpha: 0.1,
            bootstrap: Some(bootstrap),
        }
    }
}

/// The classes that the reference's own run with a seed would choose for that seed: thirds and
/// worst class as papers choose them. Optimistic: on the hard classes anything compared with
/// that run looks better than it is, on the easy ones worse ([`phantom_gain`](fn@crate::phantom_gain)
/// is by how much).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SameRunSplit {
    /// The thirds; `None` for fewer than three classes with images.
    pub thirds: Option<Thirds>,
    /// The worst class.
    pub worst_class: usize,
}

/// The classes on which every method's run with one seed is scored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeedSplit {
    /// The seed.
    pub seed: u64,
    /// Which reference runs chose the classes.
    pub source: SplitSource,
    /// The thirds; `None` for fewer than three classes with images.
    pub thirds: Option<Thirds>,
    /// The worst class.
    pub worst_class: usize,
    /// The worst tenth of the classes.
    pub worst_decile: Vec<usize>,
    /// The classes of the metrics that are [chosen on the same run](Metric::is_same_run);
    /// `None` where the reference has no run with this seed.
    pub same_run: Option<SameRunSplit>,
}

/// A method against the reference on one metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Paired difference over the seeds that both have.
    pub paired: PairedDifference,
    /// What it allows one to say, looked at alone.
    pub verdict: Verdict,
    /// Its p adjusted by [Holm](fn@crate::holm) for the number of methods that have one on this
    /// metric; `None` where it has none.
    pub holm_p: Option<f64>,
    /// What it allows one to say as one of those methods: better or worse where
    /// [`Comparison::holm_p`] is at or below 1 − level.
    pub holm_verdict: Verdict,
    /// The interval over test images of the same mean difference, classes as chosen; `None`
    /// if not asked for, if the metric is no sum over images, or if the images of a run that is
    /// compared are not known.
    pub image_bootstrap: Option<BootstrapInterval>,
}

/// One metric of one method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricCell {
    /// The value of every seed, in the order of [`MethodRow::seeds`].
    pub per_seed: Vec<f64>,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation (divisor n − 1); `None` for one seed.
    pub sd: Option<f64>,
    /// Number of seeds.
    pub n: usize,
    /// Against the reference; `None` in the reference's own row and where no seed or no
    /// value is shared.
    pub against_reference: Option<Comparison>,
}

/// One method of the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MethodRow {
    /// Its name.
    pub name: String,
    /// Its seeds, ascending.
    pub seeds: Vec<u64>,
    /// Optimistic if the split of any of its seeds is.
    pub split_source: SplitSource,
    /// The metrics that every run of the method has.
    pub metrics: BTreeMap<Metric, MetricCell>,
    /// Mean accuracy of each class over the seeds; `None` for absent classes.
    pub class_accuracy: Vec<Option<f64>>,
}

impl MethodRow {
    /// A metric of the row; `None` where the method doesn't have it.
    pub fn cell(&self, metric: Metric) -> Option<&MetricCell> {
        self.metrics.get(&metric)
    }
}

/// The table: the reference method first, then the others in the order given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassReport {
    /// Number of classes, absent ones included.
    pub classes: usize,
    /// Test images of each class.
    pub class_counts: Vec<u64>,
    /// Name of the method whose runs choose the classes and that the others are compared to.
    pub reference: String,
    /// The choices behind the numbers.
    pub config: ReportConfig,
    /// The classes chosen for every seed, ascending by seed.
    pub splits: Vec<SeedSplit>,
    /// What a fresh run of the reference seems to gain over the run that chose the classes, for
    /// the groups that there are; empty for one run.
    pub phantom_gains: BTreeMap<ClassGroup, PhantomGain>,
    /// The methods.
    pub rows: Vec<MethodRow>,
}

impl ClassReport {
    /// The row of a method.
    pub fn row(&self, name: &str) -> Option<&MethodRow> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// The classes chosen for a seed.
    pub fn split(&self, seed: u64) -> Option<&SeedSplit> {
        self.splits.iter().find(|split| split.seed == seed)
    }
}
