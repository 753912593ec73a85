//! Updates by the optimisers, and clipping.

use anyhow::Result;
use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor, Var};
use mr2_nn::optim::{
    AdamW, AdamWConfig, Lars, LarsConfig, Optimizer, ParamGroup, Sgd, SgdConfig, clip_grad_norm,
};

use super::case::{Case, GRADIENT, Parts, detached};
use super::side::Side;

const STEPS: usize = 3;
const LEARNING_RATE: f64 = 0.1;
/// Shapes of several sizes: an update of all at once has their borders inside.
const SHAPES: [(&str, &[usize]); 4] = [
    ("conv", &[33, 7, 3, 3]),
    ("linear", &[100, 301]),
    ("bias", &[5]),
    ("scale", &[1]),
];

pub(super) fn cases() -> Vec<Case> {
    let sgd = |momentum, nesterov| {
        move |groups| {
            let config = SgdConfig { momentum, nesterov };
            Ok(Box::new(Sgd::new(groups, config)?) as Box<dyn Optimizer>)
        }
    };
    let adamw = |groups| {
        let config = AdamWConfig {
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
        };
        Ok(Box::new(AdamW::new(groups, config)?) as Box<dyn Optimizer>)
    };
    vec![
        updates("SGD", sgd(0.0, false)),
        updates("SGD, momentum", sgd(0.9, false)),
        updates("SGD, Nesterov's momentum", sgd(0.9, true)),
        updates("AdamW", adamw),
        updates("LARS", |groups| {
            let config = LarsConfig {
                momentum: 0.9,
                trust: 0.02,
            };
            Ok(Box::new(Lars::new(groups, config)?) as Box<dyn Optimizer>)
        }),
        Case::tensors("clipping by the norm", clipped),
    ]
}

/// Two groups, so that rates and decays differ among parameters.
fn updates(
    name: &str,
    make: impl Fn(Vec<ParamGroup>) -> Result<Box<dyn Optimizer>> + 'static,
) -> Case {
    Case::tensors(name, move |side| {
        let variables = variables(side)?;
        let (first, second) = variables.split_at(2);
        let group = |params: &[(String, Var)], lr_scale, weight_decay| ParamGroup {
            params: params.to_vec(),
            lr_scale,
            weight_decay,
        };
        let mut rule = make(vec![group(first, 1.0, 0.05), group(second, 0.5, 0.0)])?;
        for step in 0..STEPS {
            rule.step(&gradients(side, &variables, step)?, LEARNING_RATE)?;
        }
        Ok(detached(variables))
    })
}

fn clipped(side: &Side) -> Result<Parts> {
    let variables = variables(side)?;
    let mut gradients = gradients(side, &variables, 0)?;
    let norm = clip_grad_norm(&variables, &mut gradients, 1.0)?;
    let mut parts = vec![("norm".to_string(), Tensor::new(norm, &Device::Cpu)?)];
    for (name, var) in &variables {
        if let Some(gradient) = gradients.get(var.as_tensor()) {
            parts.push((format!("{GRADIENT}{name}"), gradient.clone()));
        }
    }
    Ok(parts)
}

fn variables(side: &Side) -> Result<Vec<(String, Var)>> {
    let one = |(name, shape): (&str, &[usize])| Ok((name.to_string(), side.variable(name, shape)?));
    SHAPES.into_iter().map(one).collect()
}

/// Random gradients, as the derivative of a linear function.
fn gradients(side: &Side, variables: &[(String, Var)], step: usize) -> Result<GradStore> {
    let mut total = Tensor::zeros((), side.wide, &side.device)?;
    for (name, var) in variables {
        let gradient = side.numbers(&format!("{name} {step}"), var.dims())?;
        total = (total + (var.as_tensor() * gradient)?.sum_all()?)?;
    }
    Ok(total.backward()?)
}
