//! `mr2 bench curve`: the loss of every step of a short training, which experiments/bench/loss_curve sets beside PyTorch's.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use anyhow::{Result, bail};
use candle_core::{DType, Device, Tensor};
use mr2_backbones::Backbone;
use mr2_data::{ImageSet, open};
use mr2_nn::graph::{Ctx, Mode};
use mr2_nn::ops::{Target, cross_entropy};
use mr2_nn::optim::{Optimizer, ParamGroup, Sgd, SgdConfig};
use mr2_nn::params::ParamStore;
use mr2_nn::rng;

use super::network::build_network;
use crate::assemble::{data_root, descriptor};
use crate::commands::{Output, Threads};

/// What experiments/bench/loss_curve has too.
const BACKBONE: &str = "resnet8";
const SEED: u64 = 0;
const BATCH: usize = 128;
pub(crate) const STEPS: u32 = 1000;
const LEARNING_RATE: f64 = 0.1;
const MOMENTUM: f64 = 0.9;
const WEIGHT_DECAY: f64 = 5e-4;
const MEAN: f32 = 0.286_682;
const STD: f32 = 0.354_013;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) threads: Threads,
    /// Steps of the training; the learning rate reaches 0 after 1,000.
    #[arg(long, value_name = "N", default_value_t = STEPS, value_parser = clap::value_parser!(u32).range(1..=1000))]
    steps: u32,
}

/// Trains and prints the losses: as `{"losses": [...]}`, or one a line.
pub(super) fn run(args: &Args, output: &Output, out: &mut dyn Write) -> Result<()> {
    let mut training = ShortTraining::new(&Device::Cpu)?;
    let losses: Vec<f32> = (0..args.steps)
        .map(|step| training.step(step))
        .collect::<Result<_>>()?;
    if output.json {
        writeln!(out, "{}", serde_json::json!({ "losses": losses }))?;
        return Ok(());
    }
    for loss in losses {
        writeln!(out, "{loss}")?;
    }
    Ok(())
}

/// The training, a step at a time, on any device.
pub(crate) struct ShortTraining {
    train: Arc<ImageSet>,
    store: ParamStore,
    model: Box<dyn Backbone>,
    context: Ctx,
    sgd: Sgd,
}

/// Weights and buffers, and the optimiser's state, on the CPU.
pub(crate) struct SavedTraining {
    weights: HashMap<String, Tensor>,
    sgd: HashMap<String, Tensor>,
}

impl ShortTraining {
    /// At step 0, of the carried data set.
    ///
    /// # Errors
    /// Without the data set.
    pub(crate) fn new(device: &Device) -> Result<Self> {
        let (about, folder) = descriptor("fashion-mnist", &data_root(None))?;
        let train = open(&about, &folder, None)?.train;
        let (channels, classes) = (train.channels(), train.classes().len());
        let (store, model) = build_network(BACKBONE, channels, classes, device)?;
        let group = ParamGroup {
            params: store.parameters(),
            lr_scale: 1.0,
            weight_decay: WEIGHT_DECAY,
        };
        let sgd = SgdConfig {
            momentum: MOMENTUM,
            nesterov: false,
        };
        Ok(Self {
            train,
            store,
            model,
            context: Ctx::new(device, DType::F32, Mode::Train)?,
            sgd: Sgd::new(vec![group], sgd)?,
        })
    }

    /// What a training that goes on from here needs.
    ///
    /// # Errors
    /// Only Candle's own.
    pub(crate) fn save(&self) -> Result<SavedTraining> {
        let copied = |tensors: Vec<(String, Tensor)>| {
            let copies = tensors
                .into_iter()
                .map(|(name, tensor)| Ok((name, tensor.to_device(&Device::Cpu)?.copy()?)));
            copies.collect::<Result<HashMap<_, _>>>()
        };
        Ok(SavedTraining {
            weights: copied(self.store.tensors())?,
            sgd: copied(self.sgd.state()?)?,
        })
    }

    /// Goes on where another was saved.
    ///
    /// # Errors
    /// Only Candle's own.
    pub(crate) fn restore(&mut self, saved: &SavedTraining) -> Result<()> {
        self.store.load(&saved.weights)?;
        Ok(self.sgd.load_state(&saved.sgd)?)
    }

    /// Trains a step and gives its loss. The learning rate stays 0 after [`STEPS`].
    ///
    /// # Errors
    /// Those of the layers.
    pub(crate) fn step(&mut self, step: u32) -> Result<f32> {
        let (images, labels) = batch(&self.train, step)?;
        let logits = self
            .model
            .forward(&self.context, &self.context.enter(&images)?)?;
        let loss = cross_entropy(&logits, Target::Hard(&labels), None)?.mean_all()?;
        let progress = f64::from(step.min(STEPS)) / f64::from(STEPS);
        let factor = 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
        self.sgd
            .step(&self.context.backward(&loss)?, LEARNING_RATE * factor)?;
        Ok(loss.to_scalar()?)
    }
}

/// The images of a step, drawn with replacement by the counter-based generator, without augmentation.
fn batch(train: &ImageSet, step: u32) -> Result<(Tensor, Vec<u32>)> {
    let Some([channels, height, width]) = train.image_shape() else {
        bail!("the images of {} have several sizes", train.name());
    };
    let stream = rng::stream(SEED, "batches");
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for place in 0..BATCH {
        let number = step as usize * BATCH + place;
        let row = (rng::hash(stream, number as u64) % train.len() as u64) as usize;
        let image = train.image(row)?;
        pixels.extend(
            image
                .pixels
                .iter()
                .map(|&p| (f32::from(p) / 255.0 - MEAN) / STD),
        );
        labels.push(train.labels()[row]);
    }
    let images = Tensor::from_vec(pixels, (BATCH, channels, height, width), &Device::Cpu)?;
    Ok((images, labels))
}
