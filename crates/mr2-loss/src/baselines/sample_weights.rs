//! Losses times a constant weight for each sample.
use candle_core::{Result, Tensor, bail};

use super::arguments::{check_finite_not_negative, constant};

/// `w_i · loss_i`; the weights are constants in the backward pass. For [`super::jtt_weights`].
///
/// # Shapes
/// `per_sample`, `weights` and the result are (batch).
///
/// # Errors
/// Another shape, a weight that is negative or not finite.
pub fn sample_weighted(per_sample: &Tensor, weights: &[f64]) -> Result<Tensor> {
    if per_sample.dims() != [weights.len()] {
        bail!(
            "sample_weighted: per_sample must be ({}), one loss per weight, got {:?}",
            weights.len(),
            per_sample.dims()
        )
    }
    check_finite_not_negative("sample_weighted: weights", weights)?;
    per_sample * constant(weights.to_vec(), weights.len(), per_sample)?
}
