//! CVaR: the mean of the worst losses of a batch.
use candle_core::{DType, Device, Result, Tensor, bail};

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

/// How many losses are worse than each, of equal ones those before it.
fn ranks(losses: &Tensor) -> Result<Tensor> {
    match losses.device().is_cpu() {
        true => sorted_ranks(losses),
        false => compared_ranks(losses),
    }
}

fn sorted_ranks(losses: &Tensor) -> Result<Tensor> {
    let losses: Vec<f64> = losses.to_dtype(DType::F64)?.to_vec1()?;
    let mut worst_first: Vec<usize> = (0..losses.len()).collect();
    // A stable sort.
    worst_first.sort_by(|&a, &b| losses[b].total_cmp(&losses[a]));
    let mut ranks = vec![0; losses.len()];
    for (rank, &sample) in (0u32..).zip(&worst_first) {
        ranks[sample] = rank;
    }
    Tensor::new(ranks, &Device::Cpu)
}

/// Every loss is compared with every other, since nothing waits for that.
fn compared_ranks(losses: &Tensor) -> Result<Tensor> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparing_gives_the_ranks_of_sorting() -> Result<()> {
        for losses in [vec![1f64, 4., 2., 4., 4., 0.], vec![3.], vec![2.; 9]] {
            let losses = Tensor::new(losses, &Device::Cpu)?;
            let compared: Vec<u32> = compared_ranks(&losses)?.to_vec1()?;
            assert_eq!(compared, sorted_ranks(&losses)?.to_vec1::<u32>()?);
        }
        Ok(())
    }
}
