//! Vector scaling: each class's logit has a factor and a shift of its own.
use candle_core::{Result, Tensor};

use super::arguments::{
    batch_and_classes, check_counts, check_not_negative, check_per_class, constant,
};
use super::logit_adjustment::scaled_log_prior;
use crate::{Target, cross_entropy};

/// Cross-entropy of `Δ_k z_k + ι_k` per sample, with `Δ_k = (n_k / n_max)^gamma` and
/// `ι_k = τ log π_k` (Kini et al., NeurIPS 2021, arXiv 2103.01550; orparask/VS-Loss losses.py, with
/// gamma 0.3 and τ = 1). Predict by `z` itself.
///
/// `Δ_k` multiplies logit `k` of *every* sample. MR²'s logit margin divides *all* logits of a sample
/// by the margin of its own label ([`crate::logit_margin`]): another loss, whatever the numbers.
/// `π` is relative to the most frequent class, as in [`super::logit_adjusted`]; with equal counts
/// this is cross-entropy, to the bit.
///
/// # Shapes
/// `logits` (batch, classes), f32 or f64; `counts` (classes); the result is (batch).
///
/// # Errors
/// Another shape, a label that is no class, a class without training samples, a negative `gamma` or
/// `tau`.
pub fn vector_scaling(
    logits: &Tensor,
    labels: &[u32],
    counts: &[u64],
    gamma: f64,
    tau: f64,
) -> Result<Tensor> {
    check_not_negative("vector_scaling: gamma", gamma)?;
    check_not_negative("vector_scaling: tau", tau)?;
    let (_, classes) = batch_and_classes("vector_scaling: logits", logits)?;
    check_per_class("vector_scaling: counts", counts.len(), classes)?;
    check_counts(counts)?;
    let largest = counts.iter().copied().fold(1, u64::max) as f64;
    let factors = counts
        .iter()
        .map(|&count| (count as f64 / largest).powf(gamma));
    let factors = constant(factors.collect(), (1, classes), logits)?;
    let scaled = logits.broadcast_mul(&factors)?;
    let scaled = scaled.broadcast_add(&scaled_log_prior(counts, tau, logits)?)?;
    cross_entropy(&scaled, Target::Hard(labels), None)
}
