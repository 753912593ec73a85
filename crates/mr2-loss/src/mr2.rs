//! The whole objective of one batch.
use candle_core::{Result, Tensor, bail};
use mr2_nn::ops::Target;
use mr2_stats::{NO_SEGMENT, Pairs, Snapshot};

use crate::config::{Mr2Config, Positives, RepresentationConfig};
use crate::{
    FeatureMemory, gamma, logit_margin, reduce, reduce_with_memory, representation_margin,
    representation_margin_at_most, representation_margin_with_memory, soft_logit_margin,
    spread_threshold,
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

/// [`mr2_with_memory`] for a config whose positives are those of the batch.
///
/// # Shapes
/// As [`mr2_with_memory`].
///
/// # Errors
/// As [`mr2_with_memory`], and a config whose positives are [`Positives::Memory`].
pub fn mr2(
    logits: &Tensor,
    target: Target,
    features: &Tensor,
    pairs: &Pairs,
    snapshot: &Snapshot,
    config: &Mr2Config,
) -> Result<Mr2Terms> {
    mr2_with_memory(logits, target, features, pairs, snapshot, None, config)
}

/// The objective of arXiv 2602.00205: the mean of [`logit_margin`] (of [`soft_logit_margin`], with
/// the pairs' labels, for a soft target) plus the weighted, reduced [`representation_margin`] (its
/// variant that the config's [`Positives`] name). Snapshot and memory are only read: update them
/// before, in training only. The memory is there where the config has one, of its capacity.
///
/// # Shapes
/// `logits` (batch, classes), `features` (batch, dim), both f32 or f64; the snapshot's tensors
/// (classes).
///
/// # Errors
/// A config whose numbers are out of range, shapes or class counts that don't agree, a target with
/// other labels than the pairs, pairs that mask samples: mixed samples take
/// [`crate::mixed_logit_margin`]; no memory where the config has one, or one where it has none.
pub fn mr2_with_memory(
    logits: &Tensor,
    target: Target,
    features: &Tensor,
    pairs: &Pairs,
    snapshot: &Snapshot,
    memory: Option<&FeatureMemory>,
    config: &Mr2Config,
) -> Result<Mr2Terms> {
    config.check()?;
    if features.rank() != 2 {
        bail!("features must be (batch, dim), got {:?}", features.dims())
    }
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
            let batch = Batch {
                features,
                pairs,
                memory,
            };
            let reduced = batch.representation(term, &spread_threshold)?;
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

/// What the representation margin loss is of.
struct Batch<'a> {
    features: &'a Tensor,
    pairs: &'a Pairs,
    memory: Option<&'a FeatureMemory>,
}

impl Batch<'_> {
    /// The reduced representation margin loss.
    fn representation(&self, term: &RepresentationConfig, threshold: &Tensor) -> Result<Tensor> {
        let Self {
            features,
            pairs,
            memory,
        } = *self;
        let (scale, dim) = (term.scale, features.dim(1)?);
        let per_sample = match (term.positives, memory) {
            (Positives::All, None) => representation_margin(features, pairs, threshold, scale)?,
            (Positives::AtMost(most), None) => {
                representation_margin_at_most(features, pairs, most, threshold, scale)?
            }
            (Positives::Memory(capacity), Some(memory)) if memory.capacity() == capacity => {
                let losses =
                    representation_margin_with_memory(features, pairs, memory, threshold, scale)?;
                return reduce_with_memory(&losses, pairs, memory, dim, term.reduction);
            }
            (positives, memory) => {
                let got = memory.map_or("none".to_string(), |m| m.capacity().to_string());
                bail!(
                    "mr2: the memory must be that of the config's positives, {positives:?}; its \
                     capacity is {got}"
                )
            }
        };
        reduce(&per_sample, pairs, dim, term.reduction)
    }
}
