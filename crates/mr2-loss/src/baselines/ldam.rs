//! LDAM: label-distribution-aware additive margins on a cosine head.
use candle_core::{DType, Result, Tensor, bail};

use super::arguments::{
    batch_and_classes, check_counts, check_finite_not_negative, check_labels, check_per_class,
    check_positive, constant, of_labels,
};
use crate::{Target, cross_entropy};

/// How far beyond ±1 rounding takes a cosine.
const COSINE_TOLERANCE: f64 = 1e-2;

/// `m_k = max_margin · (n_min / n_k)^(1/4)`: the rarest class has `max_margin` (Cao et al., NeurIPS
/// 2019, arXiv 1906.07413; kaidic/LDAM-DRW losses.py, with 0.5).
///
/// # Errors
/// No classes, a class without training samples, a `max_margin` that is not positive and finite.
pub fn ldam_margins(counts: &[u64], max_margin: f64) -> Result<Vec<f64>> {
    check_positive("ldam_margins: max_margin", max_margin)?;
    check_counts(counts)?;
    let smallest = counts.iter().copied().fold(u64::MAX, u64::min) as f64;
    let margin = |&count: &u64| max_margin * (smallest / count as f64).powf(0.25);
    Ok(counts.iter().map(margin).collect())
}

/// Cross-entropy of `scale · (cos − m_y on the label)` per sample, times the weight of its class
/// (kaidic/LDAM-DRW losses.py, with scale 30). Its mean with weights is
/// [`super::class_weighted_mean`]. Deferred re-weighting (DRW) passes
/// [`super::class_balanced_weights`] from a late epoch on (there 160 of 200) and no weights before.
///
/// With equal counts every margin is `max_margin`: what is left is a cosine head with a constant
/// margin (CosFace), not cross-entropy. Only the classes are treated alike.
///
/// # Shapes
/// `cosines` (batch, classes) between features and class vectors, f32 or f64; `margins` and
/// `class_weights` (classes); the result is (batch).
///
/// # Errors
/// Another shape, a label that is no class, a margin or weight that is negative or not finite, a
/// `scale` that is not positive and finite, logits that are no cosines (checked on the CPU).
pub fn ldam(
    cosines: &Tensor,
    labels: &[u32],
    margins: &[f64],
    scale: f64,
    class_weights: Option<&[f64]>,
) -> Result<Tensor> {
    check_positive("ldam: scale", scale)?;
    let (batch, classes) = batch_and_classes("ldam: cosines", cosines)?;
    check_labels(labels, batch, classes)?;
    check_per_class("ldam: margins", margins.len(), classes)?;
    check_finite_not_negative("ldam: margins", margins)?;
    check_cosines(cosines)?;
    let mut subtracted = vec![0.0; batch * classes];
    for (row, &label) in subtracted.chunks_mut(classes).zip(labels) {
        row[label as usize] = margins[label as usize];
    }
    let subtracted = constant(subtracted, (batch, classes), cosines)?;
    let logits = ((cosines - subtracted)? * scale)?;
    let losses = cross_entropy(&logits, Target::Hard(labels), None)?;
    match class_weights {
        None => Ok(losses),
        Some(weights) => {
            check_per_class("ldam: class_weights", weights.len(), classes)?;
            check_finite_not_negative("ldam: class_weights", weights)?;
            let weights = of_labels(weights, labels, &losses)?;
            losses * weights
        }
    }
}

/// The logits of a linear head, which the scale would blow up, are the likely mistake. NaN passes
/// through, to be met where the loss is.
fn check_cosines(cosines: &Tensor) -> Result<()> {
    if !cosines.device().is_cpu() {
        return Ok(()); // Elsewhere this would wait for the device.
    }
    let values: Vec<Vec<f64>> = cosines.to_dtype(DType::F64)?.to_vec2()?;
    for (sample, row) in values.iter().enumerate() {
        let beyond = row.iter().position(|x| x.abs() > 1.0 + COSINE_TOLERANCE);
        if let Some(class) = beyond {
            bail!(
                "ldam: cosines must be in [-1, 1], sample {sample} has {} for class {class}: the \
                 head must be a cosine head",
                row[class]
            )
        }
    }
    Ok(())
}
