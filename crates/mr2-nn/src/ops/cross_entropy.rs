//! Cross-entropy with a temperature per row, for hard, smoothed and soft targets.
use candle_core::{D, DType, Device, Result, Tensor, bail};

use super::fused_cross_entropy::{NAME, fused};

/// What a row of logits should say.
#[derive(Debug, Clone, Copy)]
pub enum Target<'a> {
    /// One label for each row.
    Hard(&'a [u32]),
    /// One label for each row, with `epsilon` of the weight spread over all classes (PyTorch's
    /// `label_smoothing`).
    Smoothed {
        /// The label of each row.
        labels: &'a [u32],
        /// The share that is spread evenly, in `[0, 1]`.
        epsilon: f64,
    },
    /// A weight for each class, (batch, classes). Rows need not sum to one.
    Soft(&'a Tensor),
}

/// `-sum_k t_ik log softmax(s_i z_i)_k` for every row `i` of the logits `z`, with targets `t` and
/// the row scale `s` (1 if there is none), which are constants in the backward pass.
///
/// # Shapes
/// `logits` (batch, classes), f32 or f64 (on other devices than the CPU also f16 or bf16, with a result in f32);
/// [`Target::Soft`] (batch, classes); `row_scale` (batch), positive; the result is (batch), not negative for
/// targets that are not.
///
/// # Errors
/// Another shape or dtype, a label that is no class (the error names the sample and the label),
/// `epsilon` outside `[0, 1]`, a scale that is not positive and finite (checked on the CPU).
///
/// ```
/// use candle_core::{Device, Tensor};
/// use mr2_nn::ops::{Target, cross_entropy};
/// let logits = Tensor::new(&[[0f32, 0., 0., 0.], [9., 0., 0., 0.]], &Device::Cpu)?;
/// let losses = cross_entropy(&logits, Target::Hard(&[1, 0]), None)?.to_vec1::<f32>()?;
/// assert!((losses[0] - 4f32.ln()).abs() < 1e-6 && losses[1] < 1e-3);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn cross_entropy(
    logits: &Tensor,
    target: Target,
    row_scale: Option<&Tensor>,
) -> Result<Tensor> {
    check(logits, &target, row_scale)?;
    match (logits.device(), logits.dtype()) {
        (Device::Cpu, DType::F32) => fused::<f32>(logits, target, row_scale),
        (Device::Cpu, DType::F64) => fused::<f64>(logits, target, row_scale),
        (Device::Cpu, dtype) => bail!("{NAME}: logits must be f32 or f64, got {dtype:?}"),
        #[cfg(feature = "cuda")]
        (Device::Cuda(_), _) => super::on_device::fused(logits, target, row_scale),
        _ => composed(&not_half(logits)?, target, row_scale),
    }
}

/// Half precision as f32: a loss in it would lose its digits.
pub(super) fn not_half(tensor: &Tensor) -> Result<Tensor> {
    match tensor.dtype() {
        DType::F16 | DType::BF16 => tensor.to_dtype(DType::F32),
        _ => Ok(tensor.clone()),
    }
}

fn check(logits: &Tensor, target: &Target, row_scale: Option<&Tensor>) -> Result<()> {
    let &[batch, classes] = logits.dims() else {
        bail!(
            "{NAME}: logits must be (batch, classes), got {:?}",
            logits.dims()
        )
    };
    if classes == 0 {
        bail!(
            "{NAME}: logits must have at least one class, got {:?}",
            logits.dims()
        )
    }
    match target {
        Target::Hard(labels) | Target::Smoothed { labels, .. } => {
            if labels.len() != batch {
                bail!(
                    "{NAME}: expected {batch} labels, one for each row, got {}",
                    labels.len()
                )
            }
            let wrong = labels.iter().position(|&label| label as usize >= classes);
            if let Some(sample) = wrong {
                let label = labels[sample];
                bail!("{NAME}: sample {sample} has label {label}, expected below {classes}")
            }
        }
        Target::Soft(weights) => {
            if weights.dims() != logits.dims() {
                bail!(
                    "{NAME}: soft targets must have the logits' shape {:?}, got {:?}",
                    logits.dims(),
                    weights.dims()
                )
            }
        }
    }
    if let Target::Smoothed { epsilon, .. } = target
        && !(0.0..=1.0).contains(epsilon)
    {
        bail!("{NAME}: epsilon must lie in [0, 1], got {epsilon}")
    }
    match row_scale {
        Some(scale) if scale.dims() != [batch] => {
            bail!(
                "{NAME}: row_scale must be ({batch}), got {:?}",
                scale.dims()
            )
        }
        _ => Ok(()),
    }
}

/// The same from Candle's ops, for devices without a fused one.
pub(super) fn composed(
    logits: &Tensor,
    target: Target,
    row_scale: Option<&Tensor>,
) -> Result<Tensor> {
    let (batch, classes) = logits.dims2()?;
    let (device, dtype) = (logits.device(), logits.dtype());
    let depth = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?.detach())?;
    let depth = match row_scale {
        Some(scale) => {
            let scale = scale.detach().to_device(device)?.to_dtype(dtype)?;
            depth.broadcast_mul(&scale.unsqueeze(1)?)?
        }
        None => depth,
    };
    let log_sum = depth.exp()?.sum(D::Minus1)?.log()?;
    let on_label = |labels: &[u32]| {
        depth
            .gather(&Tensor::from_slice(labels, (batch, 1), device)?, 1)?
            .squeeze(1)
    };
    match target {
        Target::Hard(labels) => log_sum - on_label(labels)?,
        Target::Smoothed { labels, epsilon } => {
            let even = (depth.sum(D::Minus1)? * (epsilon / classes as f64))?;
            log_sum - (on_label(labels)? * (1.0 - epsilon))? - even
        }
        Target::Soft(weights) => {
            let weights = weights.detach().to_device(device)?.to_dtype(dtype)?;
            let weighted = (&weights * &depth)?.sum(D::Minus1)?;
            (log_sum * weights.sum(D::Minus1)?)? - weighted
        }
    }
}
