//! Rivals of MR² whose state or weights follow from the losses' values: steps that read nothing.

use anyhow::Result;
use candle_core::{Tensor, Var};
use mr2_loss::baselines::{
    AbsentClasses, GroupWeights, SampleLosses, Sharpness, class_mean_losses, cvar, group_dro,
    lff_weights, perturbation,
};
use mr2_nn::ops::{Target, cross_entropy};

use super::case::{Case, GRADIENT, Parts, differentiated};
use super::side::Side;
use crate::commands::bench::inputs::labels;

const BATCH: usize = 50;
/// So many that a batch lacks some.
const CLASSES: usize = 40;
const STEPS: u32 = 3;

pub(super) fn cases() -> Vec<Case> {
    let group_dro = |absent| {
        let name = format!("Group DRO, absent classes: {absent:?}");
        Case::tensors(name, move |side| class_weights(side, absent))
    };
    let sharpness = |name: &str, config| Case::tensors(name, move |side| steps(side, &config));
    vec![
        Case::tensors("CVaR", worst),
        group_dro(AbsentClasses::Zero),
        group_dro(AbsentClasses::Skip),
        Case::tensors("learning from failure", failures),
        sharpness("SAM", Sharpness::Sam { rho: 0.1 }),
        sharpness(
            "ASAM",
            Sharpness::Asam {
                rho: 1.0,
                eta: 0.01,
            },
        ),
    ]
}

fn logits(side: &Side, step: u32) -> Result<Var> {
    side.variable(&format!("logits {step}"), &[BATCH, CLASSES])
}

fn worst(side: &Side) -> Result<Parts> {
    let logits = logits(side, 0)?;
    let losses = cross_entropy(&logits, Target::Hard(&labels(BATCH, CLASSES)), None)?;
    // Each twice, so that the border lies between equal ones.
    let losses = Tensor::cat(&[&losses, &losses], 0)?;
    let loss = cvar(&losses, 0.37)?;
    differentiated(side, &loss, &[("logits".to_string(), logits)])
}

fn class_weights(side: &Side, absent: AbsentClasses) -> Result<Parts> {
    let labels = labels(BATCH, CLASSES);
    let mut weights = GroupWeights::new(CLASSES, &side.device)?;
    let means = |logits: &Var| -> Result<(Tensor, Vec<bool>)> {
        let losses = cross_entropy(logits, Target::Hard(&labels), None)?;
        Ok(class_mean_losses(&losses, &labels, CLASSES)?)
    };
    for step in 0..STEPS {
        let (means, present) = means(&logits(side, step)?)?;
        weights.update(&means, &present, 0.5, absent)?;
    }
    let logits = logits(side, STEPS)?;
    let mut parts = vec![("weights".to_string(), weights.weights().clone())];
    let loss = group_dro(&means(&logits)?.0, &weights)?;
    let logits = [("logits".to_string(), logits)];
    parts.extend(differentiated(side, &loss, &logits)?);
    Ok(parts)
}

fn failures(side: &Side) -> Result<Parts> {
    let all = labels(2 * BATCH, CLASSES);
    let new = || SampleLosses::new(&all, CLASSES, 0.7, &side.device);
    let (mut biased, mut debiased) = (new()?, new()?);
    // Some samples twice in a batch, some in every batch, some in none.
    let indices = |step: u32| -> Vec<u32> {
        let place = |place: u32| place * 3 % 35 + 10 * step;
        (0..BATCH as u32).map(place).collect()
    };
    for step in 0..STEPS {
        let indices = indices(step);
        let labels: Vec<u32> = indices.iter().map(|&index| all[index as usize]).collect();
        let losses = |step| -> Result<Tensor> {
            let logits = logits(side, step)?;
            Ok(cross_entropy(&logits, Target::Hard(&labels), None)?)
        };
        biased.update(&indices, &losses(step)?)?;
        debiased.update(&indices, &losses(step + STEPS)?)?;
    }
    let indices = indices(1);
    let weights = lff_weights(
        &biased.normalised(&indices)?,
        &debiased.normalised(&indices)?,
    )?;
    Ok(vec![
        ("running losses".to_string(), biased.average().clone()),
        ("weights".to_string(), weights),
    ])
}

/// The steps to the worst point nearby; judged as gradients, which they are multiples of.
fn steps(side: &Side, config: &Sharpness) -> Result<Parts> {
    let parameters = [("fc.weight", [33, 20]), ("fc.bias", [1, 33])];
    let parameters: Vec<(String, Var)> = parameters
        .iter()
        .map(|(name, shape)| Ok((name.to_string(), side.variable(name, shape)?)))
        .collect::<Result<_>>()?;
    let [weight, bias] = [0, 1].map(|i: usize| parameters[i].1.as_tensor());
    let output = weight.tanh()?.broadcast_mul(&bias.tanh()?.t()?)?;
    let gradients = side.weighted_sum(&output)?.backward()?;
    let steps = perturbation(&parameters, &gradients, config)?;
    let named = parameters.iter().zip(steps);
    let part = |((name, _), (_, step)): (&(String, Var), (Var, Tensor))| {
        (format!("{GRADIENT}{name}"), step)
    };
    Ok(named.map(part).collect())
}
