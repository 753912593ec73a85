//! The loss that draws the features of one class together.
use candle_core::{Result, Tensor, bail};
use mr2_nn::ops::distance_log1p_sum_exp;
use mr2_stats::Pairs;

use crate::config::ExponentScale;

/// `ln(1 + Σ exp((‖φ − φ⁺‖² − 2 s̄) / scale))` per sample, summed over the other samples `φ⁺` of
/// its class in the batch (arXiv 2602.00205); 0 for a sample without another. Stable for any
/// distance; distances are taken by differences and everything is in f64 inside, so large class
/// means and wide features don't cost accuracy. `spread_threshold` is a constant in the backward
/// pass.
///
/// # Shapes
/// `features` (batch, dim), f32 or f64; `spread_threshold` a scalar of any float dtype; the result is
/// (batch).
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
    let scale = match scale {
        ExponentScale::One => 1.0,
        ExponentScale::Constant(scale) => scale,
        ExponentScale::TenTimesDim => 10.0 * dim as f64,
    };
    let threshold = (spread_threshold.detach() * 2.0)?;
    distance_log1p_sum_exp(features, pairs.first(), pairs.second(), &threshold, scale)
}
