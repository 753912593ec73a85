//! `mr2 bench`: how long the loss and a training step take, on random inputs.

mod inputs;
mod loss;
mod mr2_loss;
mod step;
mod timing;

use std::io::Write;

use anyhow::Result;
use clap::Subcommand;

use super::{Output, Threads};

/// Time the MR2 loss or a whole training step on random inputs; no data set is read.
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
}

/// How to measure.
#[derive(clap::Args)]
struct Measure<const REPETITIONS: u32> {
    #[command(flatten)]
    threads: Threads,
    /// Repetitions after the warm-up.
    #[arg(long, value_name = "N", default_value_t = REPETITIONS, value_parser = clap::value_parser!(u32).range(1..))]
    repetitions: u32,
}

/// Runs the command.
///
/// # Errors
/// For an unknown backbone, or sizes that don't fit it.
pub fn run(args: &Args, output: &Output, out: &mut dyn Write) -> Result<()> {
    let threads = match &args.work {
        Work::Loss(args) => args.measure.threads,
        Work::Step(args) => args.measure.threads,
    };
    threads.apply()?;
    let (what, timing) = match &args.work {
        Work::Loss(args) => loss::time(args)?,
        Work::Step(args) => step::time(args)?,
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
