//! `mr2 bench loss`: the MR2 loss alone, forward and backward to logits and features.

use anyhow::Result;
use candle_core::{Device, Var};
use mr2_loss::Preset;

use super::mr2_loss::Mr2Loss;
use super::timing::Timing;
use super::{Measure, inputs};

const WARM_UP: u32 = 10;
const REPETITIONS: u32 = 200;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Classes of the logits.
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    classes: u32,
    /// Samples of a batch.
    #[arg(long, value_name = "B", value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Width of the features.
    #[arg(long, value_name = "D", value_parser = clap::value_parser!(u32).range(1..))]
    features: u32,
    /// The variant of MR2 (`mr2 presets` lists them).
    #[arg(long, value_name = "NAME", default_value = "official_cifar", value_parser = Preset::parse)]
    preset: Preset,
    #[command(flatten)]
    pub(super) measure: Measure,
}

/// What was timed, and how long it took.
pub(super) fn time(args: &Args) -> Result<(String, Timing)> {
    let [classes, batch, dim] = [args.classes, args.batch, args.features].map(|n| n as usize);
    let labels = inputs::labels(batch, classes);
    let features = Var::from_tensor(&inputs::normals("features", &[batch, dim])?)?;
    let logits = Var::from_tensor(&inputs::normals("logits", &[batch, classes])?)?;
    let mut mr2 = Mr2Loss::new(args.preset, classes, dim, &Device::Cpu)?;
    let timing = Timing::of(WARM_UP, args.measure.repetitions(REPETITIONS), || {
        let loss = mr2.forward(&logits, &features, &labels)?;
        loss.backward()?;
        Ok(f64::from(loss.to_scalar::<f32>()?))
    })?;
    let what = format!(
        "MR2 loss `{}`, forward + backward, {classes} classes, batch {batch}, {dim} features",
        args.preset.name()
    );
    Ok((what, timing))
}
