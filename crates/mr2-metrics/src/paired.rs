//! Paired difference of two methods over seeds, with Student's t interval.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::error::{Error, check_finite, check_length, check_open_unit};
use crate::summary::mean_sd;

/// Differences and spreads smaller than this share of the largest value are rounding of equal
/// numbers: the same counts averaged in another order.
const ROUNDING: f64 = 1e-12;

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
    /// Whether the difference is exactly 0 in every seed.
    pub identical: bool,
}

/// Paired Student's t interval of the mean of `method[i] − reference[i]`, where position i is
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
    let interval = summary.sd.filter(|&sd| sd > rounding).map(|sd| {
        let half = student_quantile(summary.n - 1, level) * sd / (summary.n as f64).sqrt();
        Interval {
            low: summary.mean - half,
            high: summary.mean + half,
        }
    });
    Ok(PairedDifference {
        mean: summary.mean,
        sd: summary.sd,
        n: summary.n,
        level,
        interval,
        identical: differences.iter().all(|&difference| difference == 0.0),
        differences,
    })
}

/// The t for which a Student variable lies in [−t, t] with probability `level`.
fn student_quantile(degrees: usize, level: f64) -> f64 {
    match StudentsT::new(0.0, 1.0, degrees as f64) {
        Ok(student) => student.inverse_cdf(0.5 + level / 2.0),
        // Only zero degrees of freedom are refused, and there is no interval for one seed.
        Err(_) => f64::INFINITY,
    }
}
