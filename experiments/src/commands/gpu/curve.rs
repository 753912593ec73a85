//! `mr2 gpu curve`: does a short training on the device go as on the CPU, in flat memory, and go on as it was when saved.

use std::io::Write;
use std::time::Instant;

use anyhow::{Context, Result};
use candle_core::Device;
use serde_json::{Value, json};

use super::results::Results;
use super::{FAILED, Place, machine};
use crate::commands::bench::curve::{STEPS, SavedTraining, ShortTraining};
use crate::device::Precision;

/// The same training by PyTorch in five orders of summation, and by us, on a CPU: experiments/bench/loss_curve.
const TORCH: &str = include_str!("../../../results/loss-curve-torch.json");
const OURS: &str = include_str!("../../../results/loss-curve-ours.json");
/// What experiments/bench/loss_curve allows.
const STANDARD_DEVIATIONS: f64 = 5.0;
/// The losses whose mean counts.
const LAST: usize = 100;
/// Steps after which memory is looked at; before the first, buffers are still being made.
const LOOK_EVERY: u32 = 100;
/// Steps before the training is saved, and those that one restored from it does again.
const SAVED_AFTER: u32 = 100;
const RESUMED: u32 = 20;
/// How far the losses of the resumed one may be from the first's, as a share of them. All kernels sum in a fixed order, but
/// cuDNN may have no engine that does.
const RESUME_TOLERANCE: f64 = 1e-3;
/// What the most memory of this process's tensors at one time may grow by, in MiB.
const GROWTH: f64 = 16.0;

/// ResNet-8 on the carried Fashion-MNIST images, in f32 without TF32, as `mr2 bench curve` trains it.
///
/// The mean of the last 100 losses has to lie within 5 standard deviations of the mean of PyTorch's five on a CPU,
/// which differ in their order of summation alone. A training that is restored after 100 steps has to go on with the same losses.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) place: Place,
    /// Steps whose losses are compared.
    #[arg(long, value_name = "N", default_value_t = STEPS, value_parser = clap::value_parser!(u32).range(1..=1000))]
    steps: u32,
    /// Steps over which memory must stay flat.
    #[arg(long, value_name = "N", default_value_t = 2000)]
    memory_steps: u32,
}

/// Trains, prints every 100 steps and judges.
pub(super) fn run(args: &Args, device: &Device, out: &mut dyn Write) -> Result<u8> {
    Precision::F32.apply();
    let mut results = Results::open(args.place.out.as_deref(), "curve", device, false)?;
    let mut training = ShortTraining::new(device)?;
    let (mut losses, mut memory) = (Vec::new(), Vec::new());
    let start = Instant::now();
    let (mut judged, mut saved) = (None, None);
    for step in 0..args.steps.max(args.memory_steps) {
        if step == SAVED_AFTER {
            saved = Some(training.save()?);
        }
        let loss = f64::from(training.step(step)?);
        if step < args.steps {
            losses.push(loss);
        }
        if (step + 1) % LOOK_EVERY == 0 {
            memory.extend(machine::memory_used(device));
            results.push(json!({
                "step": step + 1,
                "loss": loss,
                "seconds": start.elapsed().as_secs_f64(),
                "memory_mib": memory.last(),
            }))?;
            writeln!(
                out,
                "step {}: loss {loss:.6}, memory {:?} MiB",
                step + 1,
                memory.last()
            )?;
            out.flush()?;
        }
        if step + 1 == args.steps {
            results.set("losses", json!(losses))?;
            judged = Some(judge(&losses, out)?);
            results.set("judged", json!(judged))?;
        }
    }
    drop(training);
    let resumed = match saved {
        Some(saved) => resume(device, &saved, &losses)?,
        None => None,
    };
    results.set("resumed", json!(resumed))?;
    let resumes = resumed.is_none_or(|difference| difference <= RESUME_TOLERANCE);
    match resumed {
        Some(difference) => writeln!(
            out,
            "resumed after step {SAVED_AFTER}: losses differ by {difference:.1e}, at most {RESUME_TOLERANCE:.0e}"
        )?,
        None => writeln!(out, "not resumed: too few steps")?,
    }
    let flat = is_flat(&memory);
    results.set("memory_is_flat", json!(flat))?;
    match flat {
        Some(true) => writeln!(out, "memory stays flat")?,
        Some(false) => writeln!(
            out,
            "memory GROWS: {memory:?} MiB, every {LOOK_EVERY} steps"
        )?,
        None => writeln!(out, "memory was not looked at")?,
    }
    let agrees = judged.as_ref().is_some_and(|value| value["agrees"] == true);
    Ok(if agrees && resumes && flat != Some(false) {
        0
    } else {
        FAILED
    })
}

/// The largest difference of a restored training's losses from those of the first, as a share; none where these are too few.
fn resume(device: &Device, saved: &SavedTraining, losses: &[f64]) -> Result<Option<f64>> {
    let steps = SAVED_AFTER..SAVED_AFTER + RESUMED;
    let Some(first) = losses.get(steps.start as usize..steps.end as usize) else {
        return Ok(None);
    };
    let mut training = ShortTraining::new(device)?;
    training.restore(saved)?;
    let mut largest: f64 = 0.0;
    for (step, first) in steps.zip(first) {
        let loss = f64::from(training.step(step)?);
        let difference = (loss - first).abs() / first.abs();
        // NaN stays.
        largest = if difference <= largest {
            largest
        } else {
            difference
        };
    }
    Ok(Some(largest))
}

/// Whether the last look shows no more memory than the first; nothing where there are fewer than two.
fn is_flat(memory: &[f64]) -> Option<bool> {
    match memory {
        [first, .., last] => Some(last - first <= GROWTH),
        _ => None,
    }
}

/// Compares the mean of the last losses with those of the same steps on a CPU.
fn judge(losses: &[f64], out: &mut dyn Write) -> Result<Value> {
    let own = last_mean(losses);
    let torch = means(TORCH, losses.len()).context("the curves of PyTorch")?;
    let cpu = means(OURS, losses.len()).context("our curves on a CPU")?;
    let mean = torch.iter().sum::<f64>() / torch.len() as f64;
    let squares: f64 = torch.iter().map(|value| (value - mean).powi(2)).sum();
    let deviation = (squares / (torch.len() as f64 - 1.0)).sqrt();
    let distance = (own - mean).abs() / deviation;
    let agrees = distance <= STANDARD_DEVIATIONS;
    writeln!(
        out,
        "mean of the last losses {own:.6}; PyTorch on a CPU {mean:.6} ± {deviation:.6}, ours there {:.6}: {distance:.2} \
         standard deviations, at most {STANDARD_DEVIATIONS}: {}",
        cpu[0],
        if agrees { "agree" } else { "DISAGREE" }
    )?;
    Ok(json!({
        "steps": losses.len(),
        "mean": own,
        "cpu_mean": cpu[0],
        "torch_mean": mean,
        "torch_deviation": deviation,
        "distance": distance,
        "agrees": agrees,
    }))
}

/// The mean of the last losses among the first `steps` of every curve in a file.
fn means(file: &str, steps: usize) -> Result<Vec<f64>> {
    let file: Value = serde_json::from_str(file)?;
    let curves = file["curves"].as_object().context("no curves")?;
    let mean = |curve: &Value| {
        let losses = curve.as_array()?.get(..steps)?;
        let losses: Option<Vec<f64>> = losses.iter().map(Value::as_f64).collect();
        Some(last_mean(&losses?))
    };
    let means: Option<Vec<f64>> = curves.values().map(mean).collect();
    means
        .filter(|means| !means.is_empty())
        .with_context(|| format!("no curves of {steps} steps"))
}

fn last_mean(losses: &[f64]) -> f64 {
    let last = &losses[losses.len().saturating_sub(LAST)..];
    last.iter().sum::<f64>() / last.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agrees(losses: &[f64]) -> bool {
        let judged = judge(losses, &mut Vec::new()).expect("the curves are there");
        judged["agrees"] == true
    }

    #[test]
    fn the_cpus_own_curve_agrees_and_a_shifted_one_does_not() {
        let file: Value = serde_json::from_str(OURS).expect("JSON");
        let curves = file["curves"].as_object().expect("curves");
        let curve = curves
            .values()
            .next()
            .and_then(Value::as_array)
            .expect("a curve");
        let losses: Vec<f64> = curve.iter().filter_map(Value::as_f64).collect();
        assert!(agrees(&losses));
        let shifted: Vec<f64> = losses.iter().map(|loss| loss * 1.2).collect();
        assert!(!agrees(&shifted));
        let nan = vec![f64::NAN; losses.len()];
        assert!(!agrees(&nan));
    }

    #[test]
    fn memory_is_flat_if_it_ends_where_it_began() {
        assert_eq!(is_flat(&[900.0, 950.0, 901.0]), Some(true));
        assert_eq!(is_flat(&[900.0, 950.0, 990.0]), Some(false));
        assert_eq!(is_flat(&[900.0]), None);
    }
}
