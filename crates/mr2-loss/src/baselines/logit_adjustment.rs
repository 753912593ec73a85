//! Logit adjustment: the prior of the classes, in the training loss or at test time.
use candle_core::{Result, Tensor};

use super::arguments::{
    batch_and_classes, check_counts, check_not_negative, check_per_class, constant,
};
use crate::{Target, cross_entropy};

/// Cross-entropy of `z + τ log π` per sample, `π` being the shares of the classes in the training set
/// (Menon et al., ICLR 2021, arXiv 2007.07314; google-research/google-research logit_adjustment, with
/// τ = 1). Predict by `z` itself.
///
/// `π` is taken relative to the most frequent class: that shifts all logits alike, so it changes no
/// loss, and with equal counts this *is* cross-entropy, to the bit.
///
/// # Shapes
/// `logits` (batch, classes), f32 or f64; `counts` (classes); the result is (batch).
///
/// # Errors
/// Another shape, a label that is no class, a class without training samples (its log prior is
/// infinite), a negative `tau`.
pub fn logit_adjusted(logits: &Tensor, labels: &[u32], counts: &[u64], tau: f64) -> Result<Tensor> {
    check_not_negative("logit_adjusted: tau", tau)?;
    let adjusted = shifted(logits, counts, tau)?;
    cross_entropy(&adjusted, Target::Hard(labels), None)
}

/// `z − τ log π`, the logits to predict by where training was plain cross-entropy. As in
/// [`logit_adjusted`], `π` is relative to the most frequent class, which changes neither the largest
/// logit nor the softmax.
///
/// # Shapes
/// `logits` (batch, classes), f32 or f64; `counts` (classes); the result is as the logits.
///
/// # Errors
/// As [`logit_adjusted`].
pub fn post_hoc_adjusted(logits: &Tensor, counts: &[u64], tau: f64) -> Result<Tensor> {
    check_not_negative("post_hoc_adjusted: tau", tau)?;
    shifted(logits, counts, -tau)
}

fn shifted(logits: &Tensor, counts: &[u64], factor: f64) -> Result<Tensor> {
    let (_, classes) = batch_and_classes("logits", logits)?;
    check_per_class("counts", counts.len(), classes)?;
    logits.broadcast_add(&scaled_log_prior(counts, factor, logits)?)
}

/// `factor · log(n_k / n_max)` as a row, (1, classes).
pub(super) fn scaled_log_prior(counts: &[u64], factor: f64, like: &Tensor) -> Result<Tensor> {
    check_counts(counts)?;
    let largest = counts.iter().copied().fold(1, u64::max) as f64;
    let offsets = counts
        .iter()
        .map(|&count| factor * (count as f64 / largest).ln());
    constant(offsets.collect(), (1, counts.len()), like)
}
