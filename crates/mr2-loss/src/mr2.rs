//! The whole objective of one batch.
use candle_core::{Result, Tensor, bail};
use mr2_nn::ops::Target;
use mr2_stats::{Pairs, Snapshot};

use crate::config::Mr2Config;
use crate::{gamma, logit_margin, reduce, representation_margin, spread_threshold};

/// The objective of one batch and what it is made of.
#[derive(Debug, Clone)]
pub struct Mr2Terms {
    /// `logit_margin + weight · representation`, a scalar: what to call `backward` on.
    pub total: Tensor,
    /// The mean of the logit margin loss over the batch, a scalar.
    pub logit_margin: Tensor,
    /// The reduced representation margin loss, without its weight, a scalar.
    pub representation: Tensor,
    /// The margins of the classes, (classes).
    pub gamma: Tensor,
    /// `s̄`, a scalar.
    pub spread_threshold: Tensor,
}

/// The objective of arXiv 2602.00205 for hard labels: the mean of [`logit_margin`] plus the
/// weighted, reduced [`representation_margin`]. The snapshot is only read: update the statistics
/// before, in training only.
///
/// # Shapes
/// `logits` (batch, classes), `features` (batch, dim), both f32 or f64; the snapshot's tensors
/// (classes).
///
/// # Errors
/// A config whose numbers are out of range, shapes or class counts that don't agree.
pub fn mr2(
    logits: &Tensor,
    features: &Tensor,
    pairs: &Pairs,
    snapshot: &Snapshot,
    config: &Mr2Config,
) -> Result<Mr2Terms> {
    config.check()?;
    let &[_, feature_dim] = features.dims() else {
        bail!("features must be (batch, dim), got {:?}", features.dims())
    };
    if snapshot.v.dims() != [pairs.classes()] {
        bail!(
            "the snapshot must be of {} classes, got {:?}",
            pairs.classes(),
            snapshot.v.dims()
        )
    }
    let representation = &config.representation;
    let gamma = gamma(snapshot, &config.gamma)?;
    let labels = pairs.labels();
    let margin_loss = logit_margin(logits, Target::Hard(labels), &gamma, labels)?.mean_all()?;
    let threshold = spread_threshold(snapshot, representation.spread)?;
    let pulled = match representation.weight == 0.0 {
        true => features.detach(), // still logged, but 0 · ∞ must not reach the gradient
        false => features.clone(),
    };
    let per_sample = representation_margin(&pulled, pairs, &threshold, representation.scale)?;
    let reduced = reduce(&per_sample, pairs, feature_dim, representation.reduction)?;
    let total = match representation.weight == 0.0 {
        true => margin_loss.clone(),
        false => (&margin_loss + (&reduced * representation.weight)?)?,
    };
    Ok(Mr2Terms {
        total,
        logit_margin: margin_loss,
        representation: reduced,
        gamma,
        spread_threshold: threshold,
    })
}
