//! The whole objective of one batch.
use candle_core::{Result, Tensor, bail};
use mr2_nn::ops::Target;
use mr2_stats::{NO_SEGMENT, Pairs, Snapshot};

use crate::config::Mr2Config;
use crate::{
    gamma, logit_margin, reduce, representation_margin, soft_logit_margin, spread_threshold,
};

/// The objective of one batch and what it is made of.
#[derive(Debug, Clone)]
pub struct Mr2Terms {
    /// `logit_margin + weight · representation`, a scalar: what to call `backward` on.
    pub total: Tensor,
    /// The mean of the logit margin loss over the batch, a scalar.
    pub logit_margin: Tensor,
    /// The reduced representation margin loss, before its weight, a scalar; `None` if that is 0.
    pub representation: Option<Tensor>,
    /// The margins of the classes, (classes).
    pub gamma: Tensor,
    /// `s̄`, a scalar.
    pub spread_threshold: Tensor,
}

/// The objective of arXiv 2602.00205: the mean of [`logit_margin`] (of [`soft_logit_margin`], with
/// the pairs' labels, for a soft target) plus the weighted, reduced [`representation_margin`]. The
/// snapshot is only read: update the statistics before, in training only.
///
/// # Shapes
/// `logits` (batch, classes), `features` (batch, dim), both f32 or f64; the snapshot's tensors
/// (classes).
///
/// # Errors
/// A config whose numbers are out of range, shapes or class counts that don't agree, a target with
/// other labels than the pairs, pairs that mask samples: mixed samples take
/// [`crate::mixed_logit_margin`].
pub fn mr2(
    logits: &Tensor,
    target: Target,
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
    if let Some(sample) = pairs
        .segment()
        .iter()
        .position(|&place| place == NO_SEGMENT)
    {
        bail!(
            "mr2: pairs mask sample {sample}, which would be classified by its one label: combine \
             mixed_logit_margin and representation_margin for mixed samples"
        )
    }
    let gamma = gamma(snapshot, &config.gamma)?;
    let margin_loss = match target {
        Target::Soft(weights) => soft_logit_margin(logits, weights, pairs.labels(), &gamma)?,
        Target::Hard(labels) | Target::Smoothed { labels, .. } => {
            if labels != pairs.labels() {
                bail!("mr2: the target's labels must be those of the pairs")
            }
            logit_margin(logits, target, &gamma)?
        }
    };
    let margin_loss = margin_loss.mean_all()?;
    let term = &config.representation;
    let spread_threshold = spread_threshold(snapshot, term.spread)?;
    let (total, representation) = match term.weight == 0.0 {
        true => (margin_loss.clone(), None),
        false => {
            let per_sample = representation_margin(features, pairs, &spread_threshold, term.scale)?;
            let reduced = reduce(&per_sample, pairs, feature_dim, term.reduction)?;
            let total = (&margin_loss + (&reduced * term.weight)?)?;
            (total, Some(reduced))
        }
    };
    Ok(Mr2Terms {
        total,
        logit_margin: margin_loss,
        representation,
        gamma,
        spread_threshold,
    })
}
