//! `mr2 bench`: how long the loss, networks and layers take, on random inputs.

mod ceilings;
pub(crate) mod curve;
pub(crate) mod inputs;
mod layer;
mod loss;
pub(crate) mod mr2_loss;
pub(crate) mod network;
mod optimizer;
mod pass;
mod stack;
mod step;
pub(crate) mod timing;

use std::io::Write;

use anyhow::Result;
use clap::Subcommand;

use super::{Output, Threads};

/// Time the MR2 loss, networks or layers on random inputs; no data set is read, but for `curve`.
///
/// Prints the median of the repetitions after a warm-up: wall time, and the process's CPU time on all
/// its threads. On a shared machine only ratios of runs made in turn count; experiments/bench/compare
/// makes them, beside PyTorch.
#[derive(clap::Args)]
#[command(
    after_help = "Example: mr2 bench step --backbone resnet8 --batch 128 --size 28 --channels 1 --classes 10"
)]
pub struct Args {
    #[command(subcommand)]
    work: Work,
}

#[derive(Subcommand)]
enum Work {
    /// One MR2 loss as in training: pairs, statistics, margins, forward and backward.
    Loss(loss::Args),
    /// One training step: forward, loss, backward, and an update by SGD with momentum.
    Step(step::Args),
    /// A network's forward pass in evaluation, or forward and backward in training.
    Pass(pass::Args),
    /// Pooling or dropout on its own, forward and backward.
    Layer(layer::Args),
    /// The update of a network's parameters by SGD or AdamW.
    Optimizer(optimizer::Args),
    /// Convolutions with batch norm, by mr2-nn or by candle-nn.
    Stack(stack::Args),
    /// What the machine can do at most, and how near to it each kind of layer comes.
    Ceilings(ceilings::Args),
    /// The loss of every step of a short training on the carried data set.
    Curve(curve::Args),
}

impl Work {
    fn threads(&self) -> Threads {
        match self {
            Self::Loss(args) => args.measure.threads,
            Self::Step(args) => args.measure.threads,
            Self::Pass(args) => args.measure.threads,
            Self::Layer(args) => args.measure.threads,
            Self::Optimizer(args) => args.measure.threads,
            Self::Stack(args) => args.measure.threads,
            Self::Ceilings(args) => args.threads,
            Self::Curve(args) => args.threads,
        }
    }
}

/// How to measure.
#[derive(clap::Args)]
struct Measure {
    #[command(flatten)]
    threads: Threads,
    /// Repetitions after the warm-up [default: as many as the work needs for a steady median].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    repetitions: Option<u32>,
}

impl Measure {
    /// The repetitions that were asked for, or those that the work has by default.
    fn repetitions(&self, default: u32) -> u32 {
        self.repetitions.unwrap_or(default)
    }
}

/// Runs the command.
///
/// # Errors
/// For an unknown backbone, or sizes that don't fit it; for `ceilings --guard`, a kernel that is too slow.
pub fn run(args: &Args, output: &Output, out: &mut dyn Write) -> Result<()> {
    args.work.threads().apply()?;
    let (what, timing) = match &args.work {
        Work::Loss(args) => loss::time(args)?,
        Work::Step(args) => step::time(args)?,
        Work::Pass(args) => pass::time(args)?,
        Work::Layer(args) => layer::time(args)?,
        Work::Optimizer(args) => optimizer::time(args)?,
        Work::Stack(args) => stack::time(args)?,
        Work::Ceilings(args) => return ceilings::run(args, output, out),
        Work::Curve(args) => return curve::run(args, output, out),
    };
    if output.json {
        writeln!(out, "{}", serde_json::to_string(&timing)?)?;
        return Ok(());
    }
    writeln!(
        out,
        "{what}: {timing}, threads {}",
        rayon::current_num_threads()
    )?;
    Ok(())
}
