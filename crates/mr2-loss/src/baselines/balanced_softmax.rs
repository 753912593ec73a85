//! Balanced softmax: cross-entropy of a softmax that counts each class by its samples.
use candle_core::{Result, Tensor};

use super::logit_adjustment::logit_adjusted;

/// Cross-entropy of `z + log n` per sample, `n` being the training samples of each class (Ren et al.,
/// NeurIPS 2020; jiawei-ren/BalancedMetaSoftmax-Classification loss/BalancedSoftmaxLoss.py). It is
/// [`logit_adjusted`] with τ = 1; predict by `z` itself. With equal counts it is cross-entropy, to
/// the bit.
///
/// # Shapes
/// `logits` (batch, classes), f32 or f64; `counts` (classes); the result is (batch).
///
/// # Errors
/// Another shape, a label that is no class, a class without training samples.
pub fn balanced_softmax(logits: &Tensor, labels: &[u32], counts: &[u64]) -> Result<Tensor> {
    logit_adjusted(logits, labels, counts, 1.0)
}
