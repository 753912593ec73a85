//! `mr2 gpu`: does the GPU compute what the CPU does, and how fast; experiments/gpu/check runs it beside PyTorch.

mod curve;
mod device;
mod machine;
mod ops;
mod results;
mod speed;

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;

use self::device::Opened;
use super::Threads;
use crate::device::Choice;

/// The exit status where there is no GPU, or the program was built without CUDA.
pub const NO_GPU: u8 = 3;
/// The exit status after a check that failed.
const FAILED: u8 = 1;
/// The exit status where the GPU takes no more work from this process: the next one continues with --resume.
const BROKEN: u8 = 4;

/// Check and measure the CUDA backend on this machine's GPU.
///
/// Every result is printed and written as soon as it is there, so what a stopped command has measured stays.
/// Without a GPU it says so and exits with status 3. `--device cpu` rehearses on the CPU.
#[derive(clap::Args)]
#[command(
    after_help = "Example: mr2 gpu ops --out experiments/results/gpu; everything, beside PyTorch: experiments/gpu/check"
)]
pub struct Args {
    #[command(subcommand)]
    part: Part,
}

#[derive(Subcommand)]
enum Part {
    /// Every layer and operation against the CPU in f64: results and gradients.
    Ops(ops::Args),
    /// The losses of a short training against those of the CPU, and whether memory stays flat.
    Curve(curve::Args),
    /// The time of one training step, forward pass or loss.
    Speed(speed::Args),
}

/// Where to work, and where results go.
#[derive(clap::Args)]
struct Place {
    /// The device: cuda, cuda:N (number N), or cpu.
    #[arg(long, value_name = "DEVICE", default_value = "cuda", value_parser = device::named)]
    device: Choice,
    /// Folder for the results as JSON; without it they are only printed.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    threads: Threads,
}

/// Runs the command; the number is the exit status.
///
/// # Errors
/// For an unknown device or name, a GPU that can't be opened, results that can't be written, and what stops a measurement.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<u8> {
    let place = match &args.part {
        Part::Ops(args) => &args.place,
        Part::Curve(args) => &args.place,
        Part::Speed(args) => &args.place,
    };
    if let Part::Ops(args) = &args.part
        && args.list
    {
        return ops::list(args, out);
    }
    let device = match device::open(place.device)? {
        Opened::Device(device) => device,
        Opened::NoGpu(reason) => {
            writeln!(out, "no GPU: {reason}")?;
            return Ok(NO_GPU);
        }
    };
    place.threads.apply()?;
    match &args.part {
        Part::Ops(args) => ops::run(args, &device, out),
        Part::Curve(args) => curve::run(args, &device, out),
        Part::Speed(args) => speed::run(args, &device, out),
    }
}
