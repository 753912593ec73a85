//! Student's t for a mean: interval, and p against 0.

use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::paired::Interval;
use crate::summary::MeanSd;

/// Differences and spreads smaller than this share of the largest value are rounding of equal
/// numbers: the same counts averaged in another order.
pub(crate) const ROUNDING: f64 = 1e-12;

/// What Student's t says of a mean.
pub(crate) struct StudentTest {
    /// The interval of the mean.
    pub interval: Interval,
    /// Two-sided p of the hypothesis that the mean is 0.
    pub p: f64,
}

/// The test of a mean with the standard deviation of its values; `None` for one value, and
/// where the spread is no larger than `rounding`.
pub(crate) fn student_test(summary: &MeanSd, rounding: f64, level: f64) -> Option<StudentTest> {
    let sd = summary.sd.filter(|&sd| sd > rounding)?;
    // Only zero degrees of freedom are refused, and one value has no standard deviation.
    let student = StudentsT::new(0.0, 1.0, (summary.n - 1) as f64).ok()?;
    let error = sd / (summary.n as f64).sqrt();
    let half = student.inverse_cdf(0.5 + level / 2.0) * error;
    Some(StudentTest {
        interval: Interval {
            low: summary.mean - half,
            high: summary.mean + half,
        },
        p: (2.0 * student.sf((summary.mean / error).abs())).min(1.0),
    })
}
