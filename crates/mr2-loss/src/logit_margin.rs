//! Cross-entropy at the temperature of each sample's own class.
use candle_core::{Result, Tensor, bail};
use mr2_nn::ops::{Target, cross_entropy};

/// `−log softmax(z / γ_y)[y]` per sample: every logit of a sample is divided by the margin of the
/// sample's own label (arXiv 2602.00205). `gamma` is a constant in the backward pass.
///
/// With [`Target::Smoothed`] and [`Target::Soft`] the target is on `z / γ_y` with `y` from
/// `labels`, the hard label.
///
/// # Shapes
/// `logits` (batch, classes), f32 or f64; `gamma` (classes), positive; `labels` (batch); the result
/// is (batch).
///
/// # Errors
/// Another shape, a label that is no class (the error names the sample), a margin that is not
/// positive.
///
/// ```
/// use mr2_loss::candle_core::{Device, Tensor};
/// use mr2_loss::{Target, cross_entropy, logit_margin};
/// let logits = Tensor::new(&[[4f32, 0., -2.]], &Device::Cpu)?;
/// let gamma = Tensor::new(&[2f32, 1., 1.], &Device::Cpu)?;
/// let loss = logit_margin(&logits, Target::Hard(&[0]), &gamma, &[0])?;
/// let halved = cross_entropy(&(logits * 0.5)?, Target::Hard(&[0]), None)?;
/// assert_eq!(loss.to_vec1::<f32>()?, halved.to_vec1::<f32>()?);
/// # Ok::<(), mr2_loss::candle_core::Error>(())
/// ```
pub fn logit_margin(
    logits: &Tensor,
    target: Target,
    gamma: &Tensor,
    labels: &[u32],
) -> Result<Tensor> {
    let scale = inverse_margins(logits, gamma, labels)?;
    cross_entropy(logits, target, Some(&scale))
}

/// The logit margin loss of samples mixed of two (mixup, CutMix): the weighted sum of the terms of
/// both labels, each at its own margin.
///
/// # Shapes
/// `logits` (batch, classes), f32 or f64; `gamma` (classes); `labels_a`, `labels_b` and `weight_a`,
/// the share of `labels_a`, (batch); the result is (batch).
///
/// # Errors
/// As [`logit_margin`]; a weight outside `[0, 1]`.
pub fn mixed_logit_margin(
    logits: &Tensor,
    labels_a: &[u32],
    labels_b: &[u32],
    weight_a: &[f64],
    gamma: &Tensor,
) -> Result<Tensor> {
    if weight_a.len() != labels_a.len() {
        bail!(
            "weight_a must have one entry per label: {}, got {}",
            labels_a.len(),
            weight_a.len()
        )
    }
    if let Some(sample) = weight_a
        .iter()
        .position(|weight| !(0.0..=1.0).contains(weight))
    {
        bail!(
            "weight_a must be in [0, 1], got {} for sample {sample}",
            weight_a[sample]
        )
    }
    let weight = Tensor::new(weight_a, logits.device())?.to_dtype(logits.dtype())?;
    let a = logit_margin(logits, Target::Hard(labels_a), gamma, labels_a)?;
    let b = logit_margin(logits, Target::Hard(labels_b), gamma, labels_b)?;
    (a * &weight)? + (b * weight.affine(-1.0, 1.0)?)?
}

/// `1 / γ_y` per sample, as a constant.
fn inverse_margins(logits: &Tensor, gamma: &Tensor, labels: &[u32]) -> Result<Tensor> {
    let &[batch, classes] = logits.dims() else {
        bail!("logits must be (batch, classes), got {:?}", logits.dims())
    };
    if gamma.dims() != [classes] {
        bail!(
            "gamma must be ({classes}), one margin per column of logits, got {:?}",
            gamma.dims()
        )
    }
    if labels.len() != batch {
        bail!(
            "labels must have one entry per row of logits: {batch}, got {}",
            labels.len()
        )
    }
    if let Some(sample) = labels.iter().position(|&label| label as usize >= classes) {
        let label = labels[sample];
        bail!("sample {sample} has label {label}, expected below {classes} classes")
    }
    let labels = Tensor::new(labels, logits.device())?;
    gamma
        .detach()
        .index_select(&labels, 0)?
        .recip()?
        .to_dtype(logits.dtype())
}
