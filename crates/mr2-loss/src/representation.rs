//! The loss that draws the features of one class together.
use candle_core::{Result, Tensor, bail};
use mr2_nn::ops::{pair_distances, segment_log1p_sum_exp};
use mr2_stats::Pairs;

use crate::config::ExponentScale;

/// `ln(1 + Σ exp((‖φ − φ⁺‖² − 2 s̄) / scale))` per sample, summed over the other samples `φ⁺` of
/// its class in the batch (arXiv 2602.00205); 0 for a sample without another. Stable for any
/// distance; distances are taken by differences, so large class means don't cost accuracy.
/// `spread_threshold` is a constant in the backward pass.
///
/// # Shapes
/// `features` (batch, dim), f32 or f64; `spread_threshold` scalar; the result is (batch).
///
/// # Errors
/// Another shape or batch than `pairs`, a constant scale that is not positive.
///
/// ```
/// use mr2_loss::candle_core::{Device, Tensor};
/// use mr2_loss::{ExponentScale, Pairs, representation_margin};
/// let features = Tensor::new(&[[0f64, 0.], [1., 1.], [5., 5.]], &Device::Cpu)?;
/// let threshold = Tensor::new(1f64, &Device::Cpu)?; // 2 s̄ is the squared distance of the pair
/// let pairs = Pairs::new(&[7, 7, 3], 10)?;
/// let losses = representation_margin(&features, &pairs, &threshold, ExponentScale::One)?;
/// assert_eq!(losses.to_vec1::<f64>()?, [2f64.ln(), 2f64.ln(), 0.0]);
/// # Ok::<(), mr2_loss::candle_core::Error>(())
/// ```
pub fn representation_margin(
    features: &Tensor,
    pairs: &Pairs,
    spread_threshold: &Tensor,
    scale: ExponentScale,
) -> Result<Tensor> {
    let &[batch, dim] = features.dims() else {
        bail!("features must be (batch, dim), got {:?}", features.dims())
    };
    if batch != pairs.batch() {
        bail!(
            "features must have {} rows, as many as pairs, got {batch}",
            pairs.batch()
        )
    }
    if spread_threshold.rank() != 0 {
        bail!(
            "spread_threshold must be a scalar, got {:?}",
            spread_threshold.dims()
        )
    }
    let scale = match scale {
        ExponentScale::One => 1.0,
        ExponentScale::Constant(scale) => scale,
        ExponentScale::TenTimesDim => 10.0 * dim as f64,
    };
    if !(scale > 0.0 && scale.is_finite()) {
        bail!("scale must be positive and finite, got {scale}")
    }
    if pairs.first().is_empty() {
        return Tensor::zeros(batch, features.dtype(), features.device());
    }
    let threshold = (spread_threshold.detach().to_dtype(features.dtype())? * 2.0)?;
    let distances = pair_distances(features, pairs.first(), pairs.second())?;
    let exponents = (distances.broadcast_sub(&threshold)? / scale)?;
    segment_log1p_sum_exp(&exponents, pairs.first(), pairs.second(), batch)
}
