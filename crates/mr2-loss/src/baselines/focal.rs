//! Focal loss: samples that are already right count less.
use candle_core::{Result, Tensor};

use super::arguments::{
    batch_and_classes, check_finite_not_negative, check_labels, check_not_negative,
    check_per_class, of_labels,
};
use crate::{Target, cross_entropy};

/// Which probability of the label the factor `(1 − p)^focusing` sees where there are class weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FocalProbability {
    /// The softmax's. Class weights multiply the focal loss from outside, as published.
    OfLogits,
    /// `exp(−w_y · cross-entropy)`, so that a class weight also moves the focus. That is what
    /// kaidic/LDAM-DRW losses.py computes; for reproducing numbers made with it.
    OfWeightedLoss,
}

/// `(1 − p)^focusing · w_y · cross-entropy` per sample, `p` being the probability of the label
/// (Lin et al., arXiv 1708.02002, with `focusing` 2; kaidic/LDAM-DRW losses.py, with 1). The gradient
/// flows through the factor too. With `focusing` 0 it is [`super::weighted_cross_entropy`].
///
/// # Shapes
/// `logits` (batch, classes), f32 or f64; `class_weights` (classes), all 1 if there are none; the
/// result is (batch).
///
/// # Errors
/// Another shape, a label that is no class, a negative `focusing` or class weight.
pub fn focal(
    logits: &Tensor,
    labels: &[u32],
    focusing: f64,
    class_weights: Option<&[f64]>,
    probability: FocalProbability,
) -> Result<Tensor> {
    check_not_negative("focal: focusing", focusing)?;
    let (batch, classes) = batch_and_classes("focal: logits", logits)?;
    check_labels(labels, batch, classes)?;
    let loss = cross_entropy(logits, Target::Hard(labels), None)?;
    let weighted = match class_weights {
        None => loss.clone(),
        Some(weights) => {
            check_per_class("focal: class_weights", weights.len(), classes)?;
            check_finite_not_negative("focal: class_weights", weights)?;
            (&loss * of_labels(weights, labels, &loss)?)?
        }
    };
    if focusing == 0.0 {
        return Ok(weighted);
    }
    let surprise = match probability {
        FocalProbability::OfLogits => one_minus_exp(&loss)?,
        FocalProbability::OfWeightedLoss => one_minus_exp(&weighted)?,
    };
    surprise.powf(focusing)? * weighted
}

/// `1 − exp(−loss)` by the hyperbolic tangent, which keeps the digits of a small loss. Not below the
/// smallest normal f32, so that a power's gradient stays finite where the loss is 0.
fn one_minus_exp(loss: &Tensor) -> Result<Tensor> {
    let tanh = (loss * 0.5)?.tanh()?;
    ((&tanh * 2.0)? / (tanh + 1.0)?)?.maximum(f64::from(f32::MIN_POSITIVE))
}
