//! Class-balanced sampling: how likely each training sample is drawn.
use candle_core::{Result, bail};

use super::arguments::{check_finite_not_negative, check_labels};

/// The probability with which each sample of the training set is drawn, in proportion to the weight
/// of its class, for draws with replacement (kaidic/LDAM-DRW utils.py, whose class weights are
/// [`super::class_balanced_weights`]; with β near 1 every class is drawn as often). Plain
/// cross-entropy on batches drawn so has the expectation of the class-weighted one.
///
/// # Shapes
/// `labels` are those of the whole training set; the result has one entry for each and sums to 1.
///
/// # Errors
/// A label that is no class, a weight that is negative or not finite, weights that sum to 0.
///
/// ```
/// use mr2_loss::baselines::{class_balanced_weights, resampling_probabilities};
/// let weights = class_balanced_weights(&[3, 1], 1.0 - 1e-9)?;
/// let probabilities = resampling_probabilities(&[0, 0, 0, 1], &weights)?;
/// assert!((probabilities[3] - 0.5).abs() < 1e-6);
/// # Ok::<(), mr2_loss::candle_core::Error>(())
/// ```
pub fn resampling_probabilities(labels: &[u32], class_weights: &[f64]) -> Result<Vec<f64>> {
    check_labels(labels, labels.len(), class_weights.len())?;
    check_finite_not_negative("resampling_probabilities: class_weights", class_weights)?;
    let weights = || labels.iter().map(|&label| class_weights[label as usize]);
    let total: f64 = weights().sum();
    if total <= 0.0 {
        bail!("resampling_probabilities: the weights of all samples sum to {total}")
    }
    Ok(weights().map(|weight| weight / total).collect())
}
