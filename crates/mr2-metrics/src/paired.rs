//! Paired difference of two methods over seeds, with Student's t interval.

use serde::{Deserialize, Serialize};

use crate::error::{Error, check_finite, check_length, check_open_unit};
use crate::student::{ROUNDING, student_test};
use crate::summary::mean_sd;

/// Two ends of an interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// `method − reference`, seed by seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PairedDifference {
    /// The difference of every seed.
    pub differences: Vec<f64>,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation (divisor n − 1); `None` for one seed.
    pub sd: Option<f64>,
    /// Number of seeds.
    pub n: usize,
    /// Confidence level of the interval.
    pub level: f64,
    /// Student's t interval of the mean; `None` for one seed, and where every seed has the
    /// same difference, which leaves no spread to estimate: accuracies come in steps of one
    /// image, so two equal differences are often a coincidence and never a certainty.
    pub interval: Option<Interval>,
    /// Two-sided p of the paired t-test of no difference; `None` exactly where there is no
    /// interval. It is below 1 − `level` exactly where the interval excludes 0, and not
    /// corrected for the number of tests ([`holm`](fn@crate::holm)).
    pub p: Option<f64>,
    /// Whether the difference is exactly 0 in every seed.
    pub identical: bool,
}

/// Paired Student's t interval and p of the mean of `method[i] − reference[i]`, where position i is
/// the same seed in both.
///
/// ```
/// let paired = mr2_metrics::paired_interval(&[0.72, 0.74, 0.73], &[0.70, 0.73, 0.71], 0.95)?;
/// let interval = paired.interval.expect("three seeds");
/// assert!(interval.low > 0.002 && interval.high < 0.032);
/// # Ok::<(), mr2_metrics::Error>(())
/// ```
///
/// # Errors
/// Lengths that differ, no seed, a NaN, or a level outside (0, 1).
pub fn paired_interval(
    method: &[f64],
    reference: &[f64],
    level: f64,
) -> Result<PairedDifference, Error> {
    check_length("reference", method.len(), reference.len())?;
    check_finite("method", method.iter().copied())?;
    check_finite("reference", reference.iter().copied())?;
    check_open_unit("level", level)?;
    let largest = method
        .iter()
        .chain(reference)
        .fold(0.0, |max, value| f64::max(max, value.abs()));
    let rounding = ROUNDING * largest;
    let difference = |(a, b): (&f64, &f64)| {
        if (a - b).abs() <= rounding {
            0.0
        } else {
            a - b
        }
    };
    let differences: Vec<f64> = method.iter().zip(reference).map(difference).collect();
    let summary = mean_sd(&differences)?;
    let test = student_test(&summary, rounding, level);
    Ok(PairedDifference {
        mean: summary.mean,
        sd: summary.sd,
        n: summary.n,
        level,
        interval: test.as_ref().map(|test| test.interval),
        p: test.map(|test| test.p),
        identical: differences.iter().all(|&difference| difference == 0.0),
        differences,
    })
}
