//! Losses on logits and features: values and gradients.

use anyhow::Result;
use candle_core::{Tensor, Var};
use mr2_loss::{FeatureMemory, Preset, mr2};
use mr2_nn::ops::{
    PairList, Target, cross_entropy, distance_log1p_sum_exp, weighted_distance_log1p_sum_exp,
};
use mr2_stats::{ClassStats, Pairs};

use super::case::{Case, Parts, differentiated, gradients_of};
use super::side::Side;
use crate::commands::bench::inputs::labels;

const BATCH: usize = 50;
const CLASSES: usize = 12;
const DIM: usize = 40;
/// Positive factors of a batch, for row scales.
const SPREAD: f64 = 0.1;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = cross_entropies();
    cases.extend(distances());
    cases.extend(Preset::ALL.map(preset));
    cases.push(Case::tensors("memory of features", memory));
    cases
}

/// A loss of variables.
fn loss<const N: usize>(
    name: &str,
    inputs: [(&'static str, [usize; 2]); N],
    of: impl Fn(&Side, &[(String, Var)]) -> Result<Tensor> + 'static,
) -> Case {
    Case::tensors(name, move |side| {
        let inputs: Vec<(String, Var)> = inputs
            .iter()
            .map(|(name, shape)| Ok((name.to_string(), side.variable(name, shape)?)))
            .collect::<Result<_>>()?;
        differentiated(side, &of(side, &inputs)?, &inputs)
    })
}

fn cross_entropies() -> Vec<Case> {
    let logits = [("logits", [BATCH, CLASSES])];
    vec![
        loss("cross-entropy", logits, |_, x| {
            Ok(cross_entropy(
                &x[0].1,
                Target::Hard(&labels(BATCH, CLASSES)),
                None,
            )?)
        }),
        loss(
            "cross-entropy, 1000 classes",
            [("logits", [BATCH, 1000])],
            |_, x| {
                Ok(cross_entropy(
                    &x[0].1,
                    Target::Hard(&labels(BATCH, 1000)),
                    None,
                )?)
            },
        ),
        loss("cross-entropy, smoothed", logits, move |_, x| {
            Ok(cross_entropy(
                &x[0].1,
                smoothed(&labels(BATCH, CLASSES)),
                None,
            )?)
        }),
        loss("cross-entropy, soft targets", logits, |side, x| {
            let soft = candle_nn::ops::softmax(&side.numbers("soft", &[BATCH, CLASSES])?, 1)?;
            Ok(cross_entropy(&x[0].1, Target::Soft(&soft), None)?)
        }),
        loss("cross-entropy, row scales", logits, |side, x| {
            let scale = row_scale(side)?;
            let labels = labels(BATCH, CLASSES);
            Ok(cross_entropy(&x[0].1, Target::Hard(&labels), Some(&scale))?)
        }),
        loss(
            "cross-entropy, smoothed, row scales",
            logits,
            move |side, x| {
                let scale = row_scale(side)?;
                let labels = labels(BATCH, CLASSES);
                Ok(cross_entropy(&x[0].1, smoothed(&labels), Some(&scale))?)
            },
        ),
    ]
}

fn smoothed(labels: &[u32]) -> Target<'_> {
    Target::Smoothed {
        labels,
        epsilon: 0.1,
    }
}

fn row_scale(side: &Side) -> Result<Tensor> {
    Ok(((side.numbers("scale", &[BATCH])? * SPREAD)? + 1.0)?)
}

fn distances() -> Vec<Case> {
    let features = [("features", [BATCH, DIM])];
    let pairs = || Pairs::new(&labels(BATCH, CLASSES), CLASSES);
    let threshold = |side: &Side| {
        Ok::<_, anyhow::Error>(Tensor::new(20f32, &side.device)?.to_dtype(side.wide)?)
    };
    vec![
        loss("distances of pairs", features, move |side, x| {
            let pairs = pairs()?;
            let (first, second) = (pairs.first(), pairs.second());
            Ok(distance_log1p_sum_exp(
                &x[0].1,
                first,
                second,
                &threshold(side)?,
                60.0,
            )?)
        }),
        loss(
            "distances of pairs, one way, with factors",
            features,
            move |side, x| {
                let pairs = pairs()?;
                let factor: Vec<f64> = (0..BATCH).map(|i| 1.0 + i as f64 / 10.0).collect();
                let list = PairList {
                    first: pairs.first(),
                    second: pairs.second(),
                    mutual: pairs.first().len() / 2,
                    factor: Some(&factor),
                };
                Ok(weighted_distance_log1p_sum_exp(
                    &x[0].1,
                    &list,
                    &threshold(side)?,
                    60.0,
                )?)
            },
        ),
    ]
}

/// Two steps: the second reads statistics of both.
fn preset(preset: Preset) -> Case {
    Case::tensors(format!("MR2 loss, {}", preset.name()), move |side| {
        let config = preset.config();
        let labels = labels(BATCH, CLASSES);
        let pairs = Pairs::new(&labels, CLASSES)?;
        let mut statistics =
            ClassStats::new(config.stats.clone(), CLASSES, DIM, side.wide, &side.device)?;
        statistics.observe(&side.numbers("earlier", &[BATCH, DIM])?, &pairs)?;
        let inputs = vec![
            (
                "logits".to_string(),
                side.variable("logits", &[BATCH, CLASSES])?,
            ),
            (
                "features".to_string(),
                side.variable("features", &[BATCH, DIM])?,
            ),
        ];
        let (logits, features) = (inputs[0].1.as_tensor(), inputs[1].1.as_tensor());
        statistics.observe(features, &pairs)?;
        let (target, snapshot) = (Target::Hard(&labels), statistics.snapshot()?);
        let terms = mr2(logits, target, features, &pairs, &snapshot, &config)?;
        let gradients = terms.total.backward()?;
        let mut parts = vec![
            ("loss".to_string(), terms.total.detach()),
            ("gamma".to_string(), terms.gamma),
            ("spread threshold".to_string(), terms.spread_threshold),
        ];
        parts.extend(gradients_of(&gradients, &inputs)?);
        Ok(parts)
    })
}

/// Positives among the features of earlier batches, of which the memory has forgotten some.
fn memory(side: &Side) -> Result<Parts> {
    let pairs = Pairs::new(&labels(BATCH, CLASSES), CLASSES)?;
    let mut memory = FeatureMemory::new(BATCH + 20, CLASSES, DIM, side.wide, &side.device)?;
    for earlier in ["first", "second"] {
        memory.push(&side.numbers(earlier, &[BATCH, DIM])?, &pairs)?;
    }
    let features = side.variable("features", &[BATCH, DIM])?;
    let threshold = Tensor::new(20f32, &side.device)?.to_dtype(side.wide)?;
    let scale = Preset::Recommended.config().representation.scale;
    let losses =
        mr2_loss::representation_margin_with_memory(&features, &pairs, &memory, &threshold, scale)?;
    differentiated(side, &losses, &[("features".to_string(), features)])
}
