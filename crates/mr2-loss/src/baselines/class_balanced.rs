//! Weights by the effective number of a class's samples, and class-weighted cross-entropy.
use candle_core::{Result, Tensor, bail};

use super::arguments::{
    batch_and_classes, check_finite_not_negative, check_labels, check_per_class, of_labels,
};
use crate::{Target, cross_entropy};

/// `w_k ∝ (1 − β) / (1 − β^n_k)`, the inverse effective number of samples (Cui et al., CVPR 2019,
/// arXiv 1901.05555; kaidic/LDAM-DRW cifar_train.py, with β = 0.9999). β = 0 weighs every class
/// alike, β → 1 by the inverse count.
///
/// The weights of the classes that have samples sum to their number, so equal counts weigh exactly 1.
/// A class without samples has weight 0 and is not counted; upstream would divide by 0 there.
///
/// # Errors
/// No classes, none with a sample, `beta` outside `[0, 1)`.
///
/// ```
/// use mr2_loss::baselines::class_balanced_weights;
/// let weights = class_balanced_weights(&[500, 50, 0, 500], 0.9999)?;
/// assert!(weights[1] > 9.0 * weights[0] && weights[2] == 0.0);
/// assert_eq!(class_balanced_weights(&[500; 3], 0.9999)?, [1.0; 3]);
/// # Ok::<(), mr2_loss::candle_core::Error>(())
/// ```
pub fn class_balanced_weights(counts: &[u64], beta: f64) -> Result<Vec<f64>> {
    if !(0.0..1.0).contains(&beta) {
        bail!("class_balanced_weights: beta must be in [0, 1), got {beta}")
    }
    let Some(&smallest) = counts.iter().filter(|&&count| count > 0).min() else {
        bail!("class_balanced_weights: counts must have a class with samples, got {counts:?}")
    };
    // 1 − β^n by expm1: with β near 1 the difference would lose its digits.
    let effective = |count: u64| -(count as f64 * beta.ln()).exp_m1();
    // Against the rarest class first, so that equal counts give exactly 1 each.
    let largest = effective(smallest);
    let relative: Vec<f64> = counts
        .iter()
        .map(|&count| match count {
            0 => 0.0,
            count => largest / effective(count),
        })
        .collect();
    let seen = counts.iter().filter(|&&count| count > 0).count();
    let scale = seen as f64 / relative.iter().sum::<f64>();
    Ok(relative.into_iter().map(|weight| weight * scale).collect())
}

/// `w_y · cross-entropy` per sample. PyTorch's mean of it is [`class_weighted_mean`], not the mean
/// over the batch.
///
/// # Shapes
/// `logits` (batch, classes), f32 or f64; `weights` (classes); the result is (batch).
///
/// # Errors
/// Another shape, a label that is no class, a weight that is negative or not finite.
pub fn weighted_cross_entropy(logits: &Tensor, labels: &[u32], weights: &[f64]) -> Result<Tensor> {
    let (batch, classes) = batch_and_classes("weighted_cross_entropy: logits", logits)?;
    check_labels(labels, batch, classes)?;
    check_per_class("weighted_cross_entropy: weights", weights.len(), classes)?;
    check_finite_not_negative("weighted_cross_entropy: weights", weights)?;
    let losses = cross_entropy(logits, Target::Hard(labels), None)?;
    let weights = of_labels(weights, labels, &losses)?;
    losses * weights
}

/// The sum of losses that hold their class weight already, over the sum of the weights `w_y` of the
/// batch: the mean of `torch.nn.CrossEntropyLoss(weight=…)`. So a batch of rare classes has no larger
/// step than one of frequent ones, and a common factor of all weights changes nothing.
///
/// # Shapes
/// `per_sample` (batch), as [`weighted_cross_entropy`] or [`super::ldam`] give it; `weights`
/// (classes); the result is a scalar.
///
/// # Errors
/// Another shape, a label that is no class, a weight that is negative or not finite, a batch whose
/// weights sum to 0.
pub fn class_weighted_mean(per_sample: &Tensor, labels: &[u32], weights: &[f64]) -> Result<Tensor> {
    let &[batch] = per_sample.dims() else {
        bail!(
            "class_weighted_mean: per_sample must be (batch), got {:?}",
            per_sample.dims()
        )
    };
    check_labels(labels, batch, weights.len())?;
    check_finite_not_negative("class_weighted_mean: weights", weights)?;
    let total: f64 = labels.iter().map(|&label| weights[label as usize]).sum();
    if total <= 0.0 {
        bail!("class_weighted_mean: the weights of the batch's labels sum to {total}")
    }
    per_sample.sum_all()? / total
}
