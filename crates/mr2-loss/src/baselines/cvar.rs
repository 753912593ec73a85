//! CVaR: the mean of the worst losses of a batch.
use candle_core::{DType, Result, Tensor, bail};

use super::arguments::constant;

/// The mean of the worst share `alpha` of the batch (Levy et al., NeurIPS 2020, arXiv 2010.05893;
/// daniellevy/fast-dro robust_losses.py without regularisation). Where `alpha · batch` is no whole
/// number, the weight that is left goes to the next sample, so the weights always sum to 1. They are
/// constants in the backward pass; `alpha` = 1 is the mean.
///
/// # Shapes
/// `per_sample` (batch), f32 or f64; the result is a scalar.
///
/// # Errors
/// Another shape, an empty batch, `alpha` outside `(0, 1]`.
///
/// ```
/// use mr2_loss::baselines::cvar;
/// use mr2_loss::candle_core::{Device, Tensor};
/// let losses = Tensor::new(&[1f64, 4., 2., 3.], &Device::Cpu)?;
/// assert_eq!(cvar(&losses, 0.5)?.to_scalar::<f64>()?, 3.5);
/// // One and a half samples: all of the worst and half of the next, over 1.5.
/// let worst = cvar(&losses, 0.375)?.to_scalar::<f64>()?;
/// assert!((worst - (4.0 + 0.5 * 3.0) / 1.5).abs() < 1e-15);
/// # Ok::<(), mr2_loss::candle_core::Error>(())
/// ```
pub fn cvar(per_sample: &Tensor, alpha: f64) -> Result<Tensor> {
    if !(alpha > 0.0 && alpha <= 1.0) {
        bail!("cvar: alpha must be in (0, 1], got {alpha}")
    }
    let batch = match per_sample.dims() {
        &[batch] if batch > 0 => batch,
        dims => bail!("cvar: per_sample must be (batch) and not empty, got {dims:?}"),
    };
    let share = alpha * batch as f64;
    let whole = (share as usize).min(batch);
    let mut by_rank = vec![0.0; batch];
    by_rank[..whole].fill(1.0 / share);
    if let Some(next) = by_rank.get_mut(whole) {
        *next = 1.0 - whole as f64 / share;
    }
    let by_rank = constant(by_rank, batch, per_sample)?;
    let weights = by_rank.index_select(&ranks(&per_sample.detach())?, 0)?;
    (per_sample * weights)?.sum_all()
}

/// How many losses are worse than each, of equal ones those before it; nothing is read from the device.
fn ranks(losses: &Tensor) -> Result<Tensor> {
    let (batch, device) = (losses.dim(0)?, losses.device());
    let (rows, columns) = (losses.unsqueeze(1)?, losses.unsqueeze(0)?);
    let place = Tensor::arange(0, batch as u32, device)?;
    let before = place.unsqueeze(0)?.broadcast_lt(&place.unsqueeze(1)?)?;
    let worse = columns.broadcast_gt(&rows)?;
    let equal_before = (columns.broadcast_eq(&rows)? * before)?;
    // In f32, which counts exactly as far as 2^24.
    let counted = (worse + equal_before)?.to_dtype(DType::F32)?;
    counted.sum(1)?.to_dtype(DType::U32)
}
