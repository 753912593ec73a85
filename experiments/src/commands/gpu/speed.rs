//! `mr2 gpu speed`: the time of one kind of work on the device; experiments/gpu/peers.py does the same in PyTorch.

mod work;

use std::io::Write;
use std::time::Instant;

use anyhow::{Result, bail};
use candle_core::Device;
use serde_json::json;

use self::work::ALL;
use super::{Place, machine};
use crate::commands::bench::timing::median;
use crate::device::Precision;

/// The time of a training step, a forward pass or the loss, of which nothing waits for the host.
///
/// A training step is forward, loss, backward and update, with the images on the device already. The clock is read
/// when the device has done all steps of a group; the median of the groups counts.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) place: Place,
    /// The work.
    #[arg(long, value_name = "NAME", value_parser = ALL.map(|work| work.name))]
    only: String,
    /// Steps of a group.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// Groups of steps.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    groups: u32,
    /// Steps before the clock starts.
    #[arg(long, value_name = "N", default_value_t = 10)]
    warm_up: u32,
    /// Another precision than the work's own.
    #[arg(long, value_enum)]
    precision: Option<Precision>,
    /// Another batch than the work's own, for a rehearsal.
    #[arg(long, value_name = "B", value_parser = clap::value_parser!(u32).range(2..))]
    batch: Option<u32>,
}

/// Times the work and prints a JSON object on one line.
pub(super) fn run(args: &Args, device: &Device, out: &mut dyn Write) -> Result<u8> {
    let Some(mut work) = ALL.into_iter().find(|work| work.name == args.only) else {
        bail!("unknown work {}", args.only);
    };
    let before = machine::memory_used(device);
    if let Some(batch) = args.batch {
        work.batch = batch as usize;
    }
    if let Some(precision) = args.precision {
        work.precision = precision;
    }
    if device.is_cpu() {
        work.precision = Precision::F32; // All that the CPU has, for rehearsals.
    }
    work.precision.apply();
    let mut step = work.prepare(device)?;
    let mut loss = step()?;
    for _ in 1..args.warm_up {
        loss = step()?;
    }
    device.synchronize()?;
    let mut groups = Vec::new();
    for _ in 0..args.groups {
        let start = Instant::now();
        for _ in 0..args.steps {
            loss = step()?;
        }
        device.synchronize()?;
        groups.push(start.elapsed().as_secs_f64() * 1e3 / f64::from(args.steps));
    }
    let used = machine::memory_used(device);
    let loss = loss.to_device(&Device::Cpu)?.to_scalar::<f32>()?;
    if !loss.is_finite() {
        bail!(
            "{}: the loss is {loss}; expected a finite number",
            work.name
        );
    }
    let row = json!({
        "name": work.name,
        "side": "ours",
        "ms": median(&mut groups.clone()),
        "groups_ms": groups,
        "steps": args.steps,
        "precision": work.precision.name(),
        "batch": work.batch,
        "loss": loss,
        "memory_mib": used.zip(before).map(|(used, before)| used - before),
        "gpu": machine::about(device),
        "versions": crate::run::versions(),
    });
    writeln!(out, "{row}")?;
    Ok(0)
}
