//! Just train twice: the samples that a first short training gets wrong weigh more in the second.
use candle_core::{Result, bail};

use super::arguments::check_not_negative;

/// Which training samples the first stage predicts wrongly (Liu et al., ICML 2021, arXiv 2107.09044;
/// anniesch/jtt generate_downstream.py). The first stage must be short: a network that has fitted
/// its training set leaves an empty error set and so nothing for the second stage to do.
///
/// # Shapes
/// All (samples of the training set).
///
/// # Errors
/// Different lengths.
pub fn error_set(labels: &[u32], predictions: &[u32]) -> Result<Vec<bool>> {
    if predictions.len() != labels.len() {
        bail!(
            "error_set: predictions must have one entry per label: {}, got {}",
            labels.len(),
            predictions.len()
        )
    }
    let pairs = labels.iter().zip(predictions);
    Ok(pairs
        .map(|(label, prediction)| label != prediction)
        .collect())
}

/// The weight of each sample in the second stage, which starts from scratch: `upweight + 1` in the
/// error set, 1 elsewhere. Upstream *appends* `upweight` copies of the error set to the training set
/// (anniesch/jtt run_expt.py), so a sample of it is seen `upweight + 1` times, and an epoch is longer:
/// to copy that objective, divide the sum of the weighted losses by the sum of the weights.
///
/// # Shapes
/// As `error_set`.
///
/// # Errors
/// A negative `upweight`.
///
/// ```
/// use mr2_loss::baselines::{error_set, jtt_weights};
/// let wrong = error_set(&[0, 1, 2], &[0, 2, 2])?;
/// assert_eq!(jtt_weights(&wrong, 20.0)?, [1.0, 21.0, 1.0]);
/// # Ok::<(), mr2_loss::candle_core::Error>(())
/// ```
pub fn jtt_weights(error_set: &[bool], upweight: f64) -> Result<Vec<f64>> {
    check_not_negative("jtt_weights: upweight", upweight)?;
    let weight = |&wrong: &bool| if wrong { upweight + 1.0 } else { 1.0 };
    Ok(error_set.iter().map(weight).collect())
}
