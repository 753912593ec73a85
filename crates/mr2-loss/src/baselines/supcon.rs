//! Supervised contrastive loss: views of one class are drawn together, others pushed apart.
use candle_core::{D, Result, Tensor, bail};

use super::arguments::{check_labels, check_positive, constant};

/// Added to an anchor's similarity to itself: its exponential is 0 and no gradient flows.
const SELF: f64 = -1e30;
/// PyTorch's guard in `normalize`, squared.
const SMALLEST_SQUARE: f64 = 1e-24;

/// `−(T / T_base) · mean over positives p of log(exp(z·z_p / T) / Σ_{a ≠ self} exp(z·z_a / T))` per
/// anchor (Khosla et al., NeurIPS 2020, arXiv 2004.11362; HobbitLong/SupContrast losses.py, with both
/// temperatures 0.07). Every view of every sample is an anchor; its positives are all other views of
/// its class, those of its own image among them.
///
/// Features are L2-normalised here, so features that already are pass unchanged; upstream leaves
/// that to the model. An anchor without a positive has loss 0 and still counts in a mean over the
/// result, as upstream.
///
/// # Shapes
/// `features` (batch, views, dim), f32 or f64; `labels` (batch), any numbers; the result is
/// (batch · views), the views of a sample side by side.
///
/// # Errors
/// Another shape, no views, a temperature that is not positive and finite.
pub fn supcon(
    features: &Tensor,
    labels: &[u32],
    temperature: f64,
    base_temperature: f64,
) -> Result<Tensor> {
    check_positive("supcon: temperature", temperature)?;
    check_positive("supcon: base_temperature", base_temperature)?;
    let &[batch, views, dim] = features.dims() else {
        bail!(
            "supcon: features must be (batch, views, dim), got {:?}",
            features.dims()
        )
    };
    if batch * views * dim == 0 {
        bail!(
            "supcon: features must not be empty, got {:?}",
            features.dims()
        )
    }
    check_labels(labels, batch, usize::MAX)?;
    let anchors = batch * views;
    let features = features.reshape((anchors, dim))?;
    let squares = features.sqr()?.sum_keepdim(D::Minus1)?;
    let features = features.broadcast_div(&squares.maximum(SMALLEST_SQUARE)?.sqrt()?)?;
    let similarity = (features.matmul(&features.t()?)? * (1.0 / temperature))?;

    let (positives, without_self) = masks(labels, views);
    let has_positive: Vec<f64> = positives
        .chunks(anchors)
        .map(|row| f64::from(u8::from(row.iter().any(|&weight| weight > 0.0))))
        .collect();
    let positives = constant(positives, (anchors, anchors), &similarity)?;
    let without_self = constant(without_self, (anchors, anchors), &similarity)?;
    let has_positive = constant(has_positive, anchors, &similarity)?;

    let against = (&similarity + without_self)?;
    let largest = against.max_keepdim(D::Minus1)?.detach();
    let log_sum = against
        .broadcast_sub(&largest)?
        .exp()?
        .sum(D::Minus1)?
        .log()?;
    // From the largest, where the mean of the positives is near in size to the logarithm.
    let drawn = (similarity.broadcast_sub(&largest)? * positives)?.sum(D::Minus1)?;
    ((log_sum * has_positive)? - drawn)? * (temperature / base_temperature)
}

/// Row by row: `1 / positives` at each positive; [`SELF`] at the anchor itself.
fn masks(labels: &[u32], views: usize) -> (Vec<f64>, Vec<f64>) {
    let anchors = labels.len() * views;
    let mut positives = vec![0.0; anchors * anchors];
    let mut without_self = vec![0.0; anchors * anchors];
    for anchor in 0..anchors {
        let label = labels[anchor / views];
        let shared = labels.iter().filter(|&&other| other == label).count() * views - 1;
        for other in 0..anchors {
            if other == anchor {
                without_self[anchor * anchors + other] = SELF;
            } else if labels[other / views] == label {
                positives[anchor * anchors + other] = 1.0 / shared as f64;
            }
        }
    }
    (positives, without_self)
}
