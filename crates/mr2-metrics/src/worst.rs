//! The low end: worst class, worst tenth of the classes, own minimum, and CVaR over classes.

use crate::error::{Error, check_finite_present};
use crate::thirds::hardest_first;

/// The class with the lowest reference accuracy, ties by class index; `None` if no class has
/// an accuracy. Choose it on other runs than the one that is scored
/// ([`cross_fitted`](crate::cross_fitted)).
///
/// # Errors
/// A NaN or infinite accuracy.
pub fn worst_class(reference: &[Option<f64>]) -> Result<Option<usize>, Error> {
    Ok(hardest_first(reference)?.first().copied())
}

/// The tenth of the classes with the lowest reference accuracy, rounded up to whole classes,
/// in ascending class order.
///
/// # Errors
/// A NaN or infinite accuracy.
pub fn worst_decile(reference: &[Option<f64>]) -> Result<Vec<usize>, Error> {
    let mut classes = hardest_first(reference)?;
    classes.truncate(classes.len().div_ceil(10));
    classes.sort_unstable();
    Ok(classes)
}

/// The lowest accuracy of a run's own classes; `None` if no class has an accuracy. It is
/// chosen on the run that it describes, so it lies below the accuracy that the same class
/// would have in a new run.
///
/// # Errors
/// A NaN or infinite accuracy.
pub fn own_minimum(accuracies: &[Option<f64>]) -> Result<Option<f64>, Error> {
    check_finite_present("accuracies", accuracies)?;
    Ok(accuracies.iter().copied().flatten().min_by(f64::total_cmp))
}

/// Conditional value at risk over classes: the mean accuracy of the worst share `alpha` of a
/// run's own classes, a class at the edge counted in part. `alpha = 1` is the mean over
/// classes; a small one, the own minimum.
///
/// ```
/// let accuracies = [Some(0.9), Some(0.5), Some(0.7), Some(0.8)];
/// let cvar = mr2_metrics::cvar(&accuracies, 0.375)?.expect("four classes");
/// assert!((cvar - (0.5 + 0.5 * 0.7) / 1.5).abs() < 1e-12);
/// # Ok::<(), mr2_metrics::Error>(())
/// ```
///
/// # Errors
/// A NaN or infinite accuracy, or `alpha` outside (0, 1].
pub fn cvar(accuracies: &[Option<f64>], alpha: f64) -> Result<Option<f64>, Error> {
    if !(alpha > 0.0 && alpha <= 1.0) {
        let expected = "a share above 0 and at most 1";
        return Err(Error::Setting {
            name: "alpha",
            value: alpha,
            expected,
        });
    }
    check_finite_present("accuracies", accuracies)?;
    let mut present: Vec<f64> = accuracies.iter().copied().flatten().collect();
    if present.is_empty() {
        return Ok(None);
    }
    present.sort_unstable_by(f64::total_cmp);
    let mass = alpha * present.len() as f64;
    let weight = |rank: usize| (mass - rank as f64).clamp(0.0, 1.0);
    let sum: f64 = present
        .iter()
        .enumerate()
        .map(|(rank, value)| weight(rank) * value)
        .sum();
    Ok(Some(sum / mass))
}
