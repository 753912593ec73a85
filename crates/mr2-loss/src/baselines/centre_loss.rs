//! Centre loss: features are drawn to a learnt centre of their class.
use candle_core::{Result, Tensor, bail};

use super::arguments::{check_labels, check_not_negative};

/// `‖φ − c_y‖²` per sample (Wen et al., ECCV 2016; KaiyangZhou/pytorch-center-loss center_loss.py).
/// The centres are constants in the backward pass; [`centre_step`] moves them.
///
/// There is no ½, as upstream and unlike the paper, so the paper's weight of 0.003 is 0.0015 here.
/// Upstream clamps the matrix of distances to all centres to `[1e-12, 1e12]` after masking it, which
/// adds 1e-12 per sample for each *other* class and cuts the gradient of huge distances. Neither is
/// wanted and neither is here.
///
/// # Shapes
/// `features` (batch, dim), f32 or f64; `centres` (classes, dim); the result is (batch).
///
/// # Errors
/// Another shape, a label that is no class.
pub fn centre_loss(features: &Tensor, labels: &[u32], centres: &Tensor) -> Result<Tensor> {
    check_shapes(features, labels, centres)?;
    let own = centres
        .detach()
        .index_select(&Tensor::new(labels, centres.device())?, 0)?
        .to_dtype(features.dtype())?;
    (features - own)?.sqr()?.sum(1)
}

/// The centres after one step of plain SGD on the batch mean of [`centre_loss`]: for class `k`,
/// `c_k − lr · (2 / batch) Σ_{y = k} (c_k − φ)`. Classes that the batch hasn't stay where they are.
///
/// The weight of the loss beside cross-entropy plays no part: upstream divides the gradient of the
/// centres by it again (KaiyangZhou/pytorch-center-loss main.py, with lr 0.5 and centres that start
/// from standard normals).
///
/// # Shapes
/// `centres` (classes, dim); `features` (batch, dim), constants; the result is as the centres, in
/// their dtype and without a graph.
///
/// # Errors
/// Another shape, a label that is no class, an empty batch, a negative `lr`.
pub fn centre_step(centres: &Tensor, features: &Tensor, labels: &[u32], lr: f64) -> Result<Tensor> {
    check_not_negative("centre_step: lr", lr)?;
    check_shapes(features, labels, centres)?;
    if labels.is_empty() {
        bail!("centre_step: the batch must not be empty")
    }
    let centres = centres.detach();
    let features = features.detach().to_dtype(centres.dtype())?;
    let places = Tensor::new(labels, centres.device())?;
    let from_features = (centres.index_select(&places, 0)? - features)?;
    let gradient = centres
        .zeros_like()?
        .index_add(&places, &from_features, 0)?;
    &centres - (gradient * (lr * 2.0 / labels.len() as f64))?
}

fn check_shapes(features: &Tensor, labels: &[u32], centres: &Tensor) -> Result<()> {
    let &[batch, dim] = features.dims() else {
        bail!(
            "centre loss: features must be (batch, dim), got {:?}",
            features.dims()
        )
    };
    match centres.dims() {
        &[classes, centre_dim] if centre_dim == dim => check_labels(labels, batch, classes),
        dims => bail!("centre loss: centres must be (classes, {dim}), got {dims:?}"),
    }
}
