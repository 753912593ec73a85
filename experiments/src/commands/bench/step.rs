//! `mr2 bench step`: a whole training step on one batch, without a loader.

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use mr2_backbones::{BuildConfig, Head, build};
use mr2_loss::Preset;
use mr2_nn::graph::{Ctx, Mode};
use mr2_nn::ops::{Target, cross_entropy};
use mr2_nn::optim::{Optimizer, ParamGroup, Sgd, SgdConfig};
use mr2_nn::params::ParamStore;

use super::mr2_loss::Mr2Loss;
use super::timing::Timing;
use super::{Measure, inputs};

const WARM_UP: u32 = 2;
const LEARNING_RATE: f64 = 0.05;
const MOMENTUM: f64 = 0.9;
const WEIGHT_DECAY: f64 = 5e-4;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The architecture (`mr2 models` lists them).
    #[arg(long, value_name = "NAME")]
    backbone: String,
    /// Images of a batch.
    #[arg(long, value_name = "B", value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Height and width of the images.
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(1..))]
    size: u32,
    /// Channels of the images.
    #[arg(long, value_name = "C", value_parser = clap::value_parser!(u32).range(1..))]
    channels: u32,
    /// Classes of the head.
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    classes: u32,
    /// The loss: cross-entropy, or MR2 by the preset `recommended`.
    #[arg(long, value_enum, default_value_t = Objective::Erm)]
    objective: Objective,
    #[command(flatten)]
    pub(super) measure: Measure<10>,
}

#[derive(clap::ValueEnum, Clone, Copy)]
enum Objective {
    Erm,
    Mr2,
}

/// What was timed, and how long it took.
pub(super) fn time(args: &Args) -> Result<(String, Timing)> {
    let [batch, size, channels, classes] =
        [args.batch, args.size, args.channels, args.classes].map(|n| n as usize);
    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    let config = BuildConfig {
        in_channels: channels,
        classes,
        head: Head::Linear,
        dropout: 0.0,
    };
    let network = build(&args.backbone, &config, store.var_builder())?;
    let group = ParamGroup {
        params: store.parameters(),
        lr_scale: 1.0,
        weight_decay: WEIGHT_DECAY,
    };
    let sgd = SgdConfig {
        momentum: MOMENTUM,
        nesterov: false,
    };
    let mut sgd = Sgd::new(vec![group], sgd)?;
    let mut mr2 = Mr2Loss::new(Preset::Recommended, classes, network.feature_dim())?;
    let context = Ctx::new(&Device::Cpu, DType::F32, Mode::Train)?;
    let images = inputs::normals("images", &[batch, channels, size, size])?;
    let labels = inputs::labels(batch, classes);
    let mut loss_of = |logits: &Tensor, features: &Tensor| match args.objective {
        Objective::Erm => Ok(cross_entropy(logits, Target::Hard(&labels), None)?.mean_all()?),
        Objective::Mr2 => mr2.forward(logits, features, &labels),
    };
    let timing = Timing::of(WARM_UP, args.measure.repetitions, || {
        let features = network.features(&context, &context.enter(&images)?)?;
        let logits = network.head(&context, &features)?;
        let loss = loss_of(&logits, &features)?;
        let gradients = context.backward(&loss)?;
        sgd.step(&gradients, LEARNING_RATE)?;
        Ok(f64::from(loss.to_scalar::<f32>()?))
    })?;
    let objective = match args.objective {
        Objective::Erm => "cross-entropy",
        Objective::Mr2 => "MR2",
    };
    let what = format!(
        "{} training step with {objective}, {size}x{size}x{channels}, {classes} classes, batch {batch}",
        args.backbone
    );
    Ok((what, timing))
}
