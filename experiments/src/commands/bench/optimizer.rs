//! `mr2 bench optimizer`: the update of a network's parameters by given gradients.

use anyhow::Result;
use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor};
use mr2_nn::optim::{AdamW, AdamWConfig, Optimizer, ParamGroup, Sgd, SgdConfig};
use mr2_nn::params::ParamStore;

use super::network::{build_network, parameters};
use super::timing::Timing;
use super::{Measure, inputs};

const WARM_UP: u32 = 3;
const REPETITIONS: u32 = 30;
const LEARNING_RATE: f64 = 1e-4;
/// Channels and classes of the network, as experiments/bench/optimizer.py has them.
const CHANNELS: usize = 3;
const CLASSES: usize = 100;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The optimiser: SGD with Nesterov's momentum and weight decay, or AdamW.
    #[arg(long, value_enum)]
    rule: Rule,
    /// The architecture whose parameters are updated (`mr2 models` lists them).
    #[arg(long, value_name = "NAME")]
    backbone: String,
    #[command(flatten)]
    pub(super) measure: Measure,
}

#[derive(clap::ValueEnum, Clone, Copy)]
enum Rule {
    Sgd,
    Adamw,
}

/// What was timed, and how long it took.
pub(super) fn time(args: &Args) -> Result<(String, Timing)> {
    let (store, _) = build_network(&args.backbone, CHANNELS, CLASSES, &Device::Cpu)?;
    let gradients = gradients(&store)?;
    let group = |weight_decay| ParamGroup {
        params: store.parameters(),
        lr_scale: 1.0,
        weight_decay,
    };
    let (name, mut rule): (_, Box<dyn Optimizer>) = match args.rule {
        Rule::Sgd => {
            let config = SgdConfig {
                momentum: 0.9,
                nesterov: true,
            };
            ("SGD", Box::new(Sgd::new(vec![group(5e-4)], config)?))
        }
        Rule::Adamw => {
            let config = AdamWConfig {
                beta1: 0.9,
                beta2: 0.999,
                eps: 1e-8,
            };
            ("AdamW", Box::new(AdamW::new(vec![group(0.05)], config)?))
        }
    };
    let timing = Timing::of(WARM_UP, args.measure.repetitions(REPETITIONS), || {
        rule.step(&gradients, LEARNING_RATE)?;
        Ok(0.0)
    })?;
    let count = parameters(&store);
    let what = format!("update by {name}, {count} parameters of {}", args.backbone);
    Ok((what, timing.with_parameters(count)))
}

/// Random gradients, as the derivative of a linear function.
fn gradients(store: &ParamStore) -> Result<GradStore> {
    let mut total: Option<Tensor> = None;
    for (name, var) in store.parameters() {
        let gradient = (inputs::normals(&name, var.dims())? * 1e-3)?;
        let part = (var.as_tensor() * gradient)?.sum_all()?;
        total = Some(match total {
            Some(sum) => (sum + part)?,
            None => part,
        });
    }
    match total {
        Some(total) => Ok(total.backward()?),
        None => anyhow::bail!("the network has no parameters"),
    }
}
