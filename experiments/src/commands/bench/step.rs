//! `mr2 bench step`: a whole training step on one batch, without a loader.

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use mr2_loss::Preset;
use mr2_nn::graph::{Ctx, Mode};
use mr2_nn::ops::{Target, cross_entropy};
use mr2_nn::optim::{Optimizer, ParamGroup, Sgd, SgdConfig};

use super::mr2_loss::Mr2Loss;
use super::timing::Timing;
use super::{Measure, network};

const WARM_UP: u32 = 2;
const REPETITIONS: u32 = 10;
const LEARNING_RATE: f64 = 0.05;
const MOMENTUM: f64 = 0.9;
const WEIGHT_DECAY: f64 = 5e-4;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    network: network::Sizes,
    /// The loss: cross-entropy, or MR2 by the preset `recommended`.
    #[arg(long, value_enum, default_value_t = Objective::Erm)]
    objective: Objective,
    #[command(flatten)]
    pub(super) measure: Measure,
}

#[derive(clap::ValueEnum, Clone, Copy)]
enum Objective {
    Erm,
    Mr2,
}

/// What was timed, and how long it took.
pub(super) fn time(args: &Args) -> Result<(String, Timing)> {
    let network = args.network.network()?;
    let (model, labels) = (&network.model, &network.labels);
    let group = ParamGroup {
        params: network.store.parameters(),
        lr_scale: 1.0,
        weight_decay: WEIGHT_DECAY,
    };
    let sgd = SgdConfig {
        momentum: MOMENTUM,
        nesterov: false,
    };
    let mut sgd = Sgd::new(vec![group], sgd)?;
    let mut mr2 = Mr2Loss::new(
        Preset::Recommended,
        network.classes(),
        model.feature_dim(),
        &Device::Cpu,
    )?;
    let context = Ctx::new(&Device::Cpu, DType::F32, Mode::Train)?;
    let mut loss_of = |logits: &Tensor, features: &Tensor| match args.objective {
        Objective::Erm => Ok(cross_entropy(logits, Target::Hard(labels), None)?.mean_all()?),
        Objective::Mr2 => mr2.forward(logits, features, labels),
    };
    let timing = Timing::of(WARM_UP, args.measure.repetitions(REPETITIONS), || {
        let features = model.features(&context, &context.enter(&network.images)?)?;
        let logits = model.head(&context, &features)?;
        let loss = loss_of(&logits, &features)?;
        let gradients = context.backward(&loss)?;
        sgd.step(&gradients, LEARNING_RATE)?;
        Ok(f64::from(loss.to_scalar::<f32>()?))
    })?;
    let objective = match args.objective {
        Objective::Erm => "cross-entropy",
        Objective::Mr2 => "MR2",
    };
    let what = format!("training step with {objective}, {}", network.name);
    Ok((what, timing.with_parameters(network.parameters())))
}
