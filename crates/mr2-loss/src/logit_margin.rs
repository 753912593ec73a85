//! Cross-entropy at the temperature of each sample's own class.
use candle_core::{DType, Result, Tensor, bail};
use mr2_nn::ops::{Target, cross_entropy};

/// How far from 1 the weights of a soft target may sum: what rounding leaves in half precision.
const SUM_TOLERANCE: f64 = 1e-2;

/// `−log softmax(z / γ_y)[y]` per sample: every logit of a sample is divided by the margin of the
/// sample's own label `y` (arXiv 2602.00205). `gamma` is a constant in the backward pass. With
/// [`Target::Smoothed`] the smoothed target is on `z / γ_y`; for [`Target::Soft`] see
/// [`soft_logit_margin`].
///
/// # Shapes
/// `logits` (batch, classes), f32 or f64; `gamma` (classes), positive; the result is (batch).
///
/// # Errors
/// Another shape, a label that is no class (the error names the sample), soft targets, a margin that
/// is not positive and finite (checked on the CPU; the error names the class).
///
/// ```
/// use mr2_loss::candle_core::{Device, Tensor};
/// use mr2_loss::{Target, cross_entropy, logit_margin};
/// let logits = Tensor::new(&[[4f32, 0., -2.]], &Device::Cpu)?;
/// let gamma = Tensor::new(&[2f32, 1., 1.], &Device::Cpu)?;
/// let loss = logit_margin(&logits, Target::Hard(&[0]), &gamma)?;
/// let halved = cross_entropy(&(logits * 0.5)?, Target::Hard(&[0]), None)?;
/// assert_eq!(loss.to_vec1::<f32>()?, halved.to_vec1::<f32>()?);
/// # Ok::<(), mr2_loss::candle_core::Error>(())
/// ```
pub fn logit_margin(logits: &Tensor, target: Target, gamma: &Tensor) -> Result<Tensor> {
    let (Target::Hard(labels) | Target::Smoothed { labels, .. }) = target else {
        bail!(
            "logit_margin: a soft target doesn't say whose margin applies: pass it to \
             soft_logit_margin with hard labels"
        )
    };
    let scale = inverse_margins(logits, gamma, labels)?;
    cross_entropy(logits, target, Some(&scale))
}

/// [`logit_margin`] of soft targets: cross-entropy with `weights` on `z / γ_y`, `y` being the
/// sample's hard label. Multi-label targets are refused: the margin of a sample is that of one class.
///
/// # Shapes
/// `logits` and `weights` (batch, classes), f32 or f64; `labels` (batch); `gamma` (classes); the
/// result is (batch).
///
/// # Errors
/// As [`logit_margin`]; weights of a sample that are negative or don't sum to 1 (checked on the CPU;
/// the error names the sample).
pub fn soft_logit_margin(
    logits: &Tensor,
    weights: &Tensor,
    labels: &[u32],
    gamma: &Tensor,
) -> Result<Tensor> {
    let scale = inverse_margins(logits, gamma, labels)?;
    let losses = cross_entropy(logits, Target::Soft(weights), Some(&scale))?;
    // After cross_entropy, which knows the shape to be right.
    if weights.device().is_cpu() {
        refuse_multi_label(&weights.to_dtype(DType::F64)?.to_vec2()?)?;
    }
    Ok(losses)
}

fn refuse_multi_label(weights: &[Vec<f64>]) -> Result<()> {
    for (sample, weights) in weights.iter().enumerate() {
        if let Some(negative) = weights.iter().find(|&&weight| weight < 0.0) {
            bail!("soft targets must not be negative: sample {sample} has {negative}")
        }
        let sum: f64 = weights.iter().sum();
        // A sum that is NaN lies in no range.
        if !(0.0..=SUM_TOLERANCE).contains(&(sum - 1.0).abs()) {
            bail!(
                "soft targets must sum to 1, those of sample {sample} sum to {sum}: multi-label \
                 targets are not supported, since a sample's margin is that of one class"
            )
        }
    }
    Ok(())
}

/// The logit margin loss of samples mixed of two (mixup, CutMix): the weighted sum of the terms of
/// both labels, each at its own margin. Having two labels, mixed samples enter neither the statistics
/// nor the representation margin: mask them in [`mr2_stats::Pairs`], and combine the parts of
/// [`crate::mr2()`] as below.
///
/// # Shapes
/// `logits` (batch, classes), f32 or f64; `gamma` (classes); `labels_a`, `labels_b` and `weight_a`,
/// the share of `labels_a`, (batch); the result is (batch).
///
/// # Errors
/// As [`logit_margin`]; a weight outside `[0, 1]`.
///
/// ```
/// use mr2_loss::candle_core::{DType, Device, Tensor};
/// use mr2_loss::{
///     ClassStats, Pairs, Preset, gamma, mixed_logit_margin, reduce, representation_margin,
///     spread_threshold,
/// };
/// let config = Preset::Recommended.config();
/// let term = &config.representation;
/// let mut stats = ClassStats::new(config.stats.clone(), 2, 2, DType::F32, &Device::Cpu)?;
/// let features = Tensor::new(&[[1f32, 0.], [0., 3.], [0., 5.], [1., 2.]], &Device::Cpu)?;
/// let logits = Tensor::new(&[[2f32, 0.], [0., 2.], [0., 1.], [1., 1.]], &Device::Cpu)?;
///
/// // The last image is 70 % of class 0 and 30 % of class 1, the others are plain.
/// let (labels_a, labels_b, weight_a) = ([0, 1, 1, 0], [0, 1, 1, 1], [1., 1., 1., 0.7]);
/// let pairs = Pairs::masked(&labels_a, 2, &[true, true, true, false])?;
/// stats.observe(&features, &pairs)?;
/// let snapshot = stats.snapshot()?;
/// let gamma = gamma(&snapshot, &config.gamma)?;
/// let margin = mixed_logit_margin(&logits, &labels_a, &labels_b, &weight_a, &gamma)?.mean_all()?;
/// let threshold = spread_threshold(&snapshot, term.spread)?;
/// let per_sample = representation_margin(&features, &pairs, &threshold, term.scale)?;
/// let pulled = reduce(&per_sample, &pairs, 2, term.reduction)?;
/// let total = (margin + (pulled * term.weight)?)?;
/// assert!(total.to_scalar::<f32>()? > 0.0);
/// # Ok::<(), mr2_loss::candle_core::Error>(())
/// ```
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
    let a = logit_margin(logits, Target::Hard(labels_a), gamma)?;
    let b = logit_margin(logits, Target::Hard(labels_b), gamma)?;
    let weight = Tensor::new(weight_a, logits.device())?.to_dtype(a.dtype())?;
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
    if gamma.device().is_cpu() {
        // Elsewhere this would wait for the device.
        let margins = gamma.to_dtype(DType::F64)?.to_vec1::<f64>()?;
        let wrong = |&margin: &f64| !(margin > 0.0 && margin.is_finite());
        if let Some(class) = margins.iter().position(wrong) {
            bail!(
                "gamma must be positive and finite: class {class} has {}",
                margins[class]
            )
        }
    }
    let labels = Tensor::new(labels, logits.device())?;
    gamma
        .detach()
        .index_select(&labels, 0)?
        .recip()?
        .to_dtype(match logits.dtype() {
            DType::F16 | DType::BF16 => DType::F32, // as the loss will be
            dtype => dtype,
        })
}
