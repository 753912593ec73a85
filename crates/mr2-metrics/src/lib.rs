//! Class-wise evaluation of classifiers: slices in, numbers out. No tensors, no files.
//!
//! - One run: [`PerClass`] (counts and accuracies), [`Confusion`] (mistakes, macro-F1),
//!   [`top_k()`], [`calibration()`] (expected calibration error), [`cvar`], [`own_minimum`].
//! - Which classes are hard: [`thirds()`], [`worst_class`], [`worst_decile`], chosen with
//!   [`cross_fitted`] on other runs than the one that is scored. Chosen on the same run, the
//!   hard third of anything compared with it looks better than it is: by [`phantom_gain()`] if
//!   nothing was changed. [`best_on_test()`] is the paper's way of choosing an epoch.
//! - A classifier without seeds: [`ImageHalves`] chooses on one half of the test images and measures on the other.
//! - Two methods: [`paired_interval`] over seeds with its p and [`verdict()`], and
//!   [`bootstrap_sums`] over test images, an interval of its own name.
//! - Many methods: [`holm()`] corrects p for their number, [`adjusted_verdict`] goes by it.
//! - Two quantities over classes: [`spearman`], [`spearman_permutation_p`], [`premise`].
//! - All of it as one table: [`ClassReport`], from predictions ([`SeedRun::new`]) or from the
//!   counts of each class alone ([`SeedRun::from_counts`]).
//!
//! Every number is a fraction (1 is 100 %). A class without images has no accuracy: it is
//! `None`, never 0. Inputs that can't be measured are an [`Error`] that names the argument.
//!
//! ```
//! use mr2_metrics::{ClassReport, MethodRuns, Metric, ReportConfig, SeedRun, SplitSource};
//!
//! let labels = [0, 0, 1, 1, 2, 2];
//! let erm = MethodRuns {
//!     name: "ERM".into(),
//!     runs: vec![
//!         SeedRun::new(0, &labels, &[0, 0, 1, 2, 1, 0], 3)?,
//!         SeedRun::new(1, &labels, &[0, 0, 1, 1, 2, 1], 3)?,
//!     ],
//! };
//! let ours = MethodRuns {
//!     name: "ours".into(),
//!     runs: vec![
//!         SeedRun::new(0, &labels, &[0, 0, 1, 1, 2, 0], 3)?,
//!         SeedRun::new(1, &labels, &[0, 0, 1, 1, 2, 2], 3)?,
//!     ],
//! };
//! let report = ClassReport::new(&erm, &[ours], 3, &ReportConfig::standard())?;
//! let row = report.row("ours").expect("the method is in the table");
//! assert_eq!(row.split_source, SplitSource::CrossFitted);
//! let hard = row.cell(Metric::Hard).expect("three classes have thirds");
//! assert_eq!(hard.per_seed, [0.5, 1.0]);
//! let comparison = hard.against_reference.as_ref().expect("it is not the reference");
//! assert_eq!(comparison.paired.mean, 0.5);
//! # Ok::<(), mr2_metrics::Error>(())
//! ```

mod assemble;
mod best_on_test;
mod bootstrap;
mod calibration;
mod class_report;
mod compare;
mod confusion;
mod correlation;
mod cross_fit;
mod error;
mod holm;
mod image_halves;
mod metric;
mod paired;
mod per_class;
mod phantom_gain;
mod runs;
mod student;
mod summary;
mod thirds;
mod top_k;
mod verdict;
mod worst;

pub use best_on_test::{BestOnTest, best_on_test};
pub use bootstrap::{BootstrapConfig, BootstrapInterval, bootstrap_sums};
pub use calibration::{Calibration, CalibrationBin, ECE_BINS, calibration, softmax};
pub use class_report::{
    ClassReport, Comparison, MethodRow, MetricCell, ReportConfig, SameRunSplit, SeedSplit,
};
pub use confusion::{Confusion, ConfusionCell};
pub use correlation::{EXACT_PERMUTATION_PAIRS, spearman, spearman_permutation_p};
pub use cross_fit::{Reference, SplitSource, cross_fitted};
pub use error::Error;
pub use holm::holm;
pub use image_halves::ImageHalves;
pub use metric::{Metric, image_weights};
pub use paired::{Interval, PairedDifference, paired_interval};
pub use per_class::{PerClass, group_accuracy};
pub use phantom_gain::{ClassGroup, PhantomGain, phantom_gain};
pub use runs::{Images, MethodRuns, SeedRun};
pub use summary::{MeanSd, mean_sd};
pub use thirds::{Thirds, hardest_first, thirds};
pub use top_k::{arg_max, top_k};
pub use verdict::{
    Direction, PREMISE_LEVEL, Premise, PremiseTest, Verdict, adjusted_verdict, premise, verdict,
};
pub use worst::{cvar, own_minimum, worst_class, worst_decile};
