//! `mr2 bench pass`: a network's forward pass in evaluation, or forward and backward in training, without an update.

use anyhow::{Context, Result};
use candle_core::{DType, Device};
use mr2_nn::graph::{Ctx, Mode};
use mr2_nn::ops::{Target, cross_entropy};

use super::timing::Timing;
use super::{Measure, network};

const WARM_UP: u32 = 2;
const REPETITIONS: u32 = 10;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    network: network::Sizes,
    /// Forward and backward in training, in place of forward in evaluation.
    #[arg(long)]
    backward: bool,
    #[command(flatten)]
    pub(super) measure: Measure,
}

/// What was timed, and how long it took.
pub(super) fn time(args: &Args) -> Result<(String, Timing)> {
    let network = args.network.network()?;
    let mode = match args.backward {
        true => Mode::Train,
        false => Mode::Eval,
    };
    let context = Ctx::new(&Device::Cpu, DType::F32, mode)?;
    context.begin_step(0, 0);
    let timing = Timing::of(WARM_UP, args.measure.repetitions(REPETITIONS), || {
        let images = context.enter(&network.images)?;
        let logits = network.model.forward(&context, &images)?;
        if !args.backward {
            let first = logits.flatten_all()?.get(0).context("no logits")?;
            return Ok(f64::from(first.to_scalar::<f32>()?));
        }
        let loss = cross_entropy(&logits, Target::Hard(&network.labels), None)?.mean_all()?;
        context.backward(&loss)?;
        Ok(f64::from(loss.to_scalar::<f32>()?))
    })?;
    let pass = match args.backward {
        true => "forward + backward in training",
        false => "forward in evaluation",
    };
    let what = format!("{pass}, {}", network.name);
    Ok((what, timing.with_parameters(network.parameters())))
}
