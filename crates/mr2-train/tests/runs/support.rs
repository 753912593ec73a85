//! A network of two convolutions with batch norm and dropout, on 44 noisy images of four classes
//! with random crops and flips: five or six steps an epoch, a millisecond each.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use mr2_data::{ImageSet, Loader, LoaderConfig, Pipeline, Sampler, Source, Split, Transform};
use mr2_loss::{Mr2Config, Preset, SpreadRule};
use mr2_nn::graph::{Act, Ctx};
use mr2_nn::layers::{BatchNormConfig, ConvBn, Dropout, linear};
use mr2_nn::model::Backbone;
use mr2_nn::params::ParamStore;
use mr2_nn::rng;
use mr2_stats::Estimator;
use mr2_train::candle_core::{DType, Device, Result, Tensor};
use mr2_train::{
    Clip, Error, Event, Job, ObjectiveConfig, OptimizerConfig, Outcome, RunDir, ScheduleConfig,
    Select, Start, StopFlag, TrainConfig, Update, train,
};

pub use crate::remains::{Remains, checkpoint, remains, uninterrupted, uninterrupted_by};

pub const CLASSES: usize = 4;
pub const EPOCHS: u64 = 5;
pub const STEPS_PER_EPOCH: u64 = 6;
pub const STEPS: u64 = EPOCHS * STEPS_PER_EPOCH;

/// The network; it can be told to give NaN for an image of a step.
pub struct TinyNet {
    first: ConvBn,
    second: ConvBn,
    dropout: Dropout,
    head: candle_nn::Linear,
    /// Training step (from 0) and row of the batch that become NaN.
    pub poison: Cell<Option<(u64, usize)>>,
    training_steps: Cell<u64>,
}

impl TinyNet {
    fn new(params: &ParamStore) -> Result<Self> {
        let vb = params.var_builder();
        let norm = BatchNormConfig {
            eps: 1e-5,
            momentum: 0.1,
        };
        let block = |inputs, outputs, stride, name: &str| {
            let (conv, bn) = (vb.pp(name).pp("conv"), vb.pp(name).pp("bn"));
            ConvBn::new(inputs, outputs, 3, stride, 1, norm, conv, bn)
        };
        Ok(Self {
            first: block(1, 4, 1, "first")?,
            second: block(4, 8, 2, "second")?,
            dropout: Dropout::new(0.3)?,
            head: linear(8, CLASSES, vb.pp("head"))?,
            poison: Cell::new(None),
            training_steps: Cell::new(0),
        })
    }
}

impl Backbone for TinyNet {
    fn features(&self, cx: &Ctx, images: &Act) -> Result<Tensor> {
        let x = self.first.forward_relu(cx, images)?;
        let x = self.dropout.forward(cx, &x)?;
        let features = self.second.forward_relu(cx, &x)?.mean_hw()?;
        let features = self.dropout.forward_tensor(cx, &features)?;
        if !cx.is_train() {
            return Ok(features);
        }
        let step = self.training_steps.replace(self.training_steps.get() + 1);
        match self.poison.get() {
            Some((at, row)) if at == step => {
                let rows = features.dim(0)?;
                let factors: Vec<f32> = (0..rows)
                    .map(|i| if i == row { f32::NAN } else { 1.0 })
                    .collect();
                features.broadcast_mul(&Tensor::from_vec(factors, (rows, 1), cx.device())?)
            }
            _ => Ok(features),
        }
    }

    fn head(&self, _cx: &Ctx, features: &Tensor) -> Result<Tensor> {
        features.apply(&self.head)
    }

    fn feature_dim(&self) -> usize {
        8
    }

    fn classes(&self) -> usize {
        CLASSES
    }

    fn head_weight(&self) -> &Tensor {
        self.head.weight()
    }
}

/// Everything that a process holds: built anew for each start of a run.
pub struct Process {
    pub config: TrainConfig,
    pub config_text: String,
    pub model: TinyNet,
    pub params: ParamStore,
    pub train: Loader,
    pub validation: Option<Loader>,
    pub test: Loader,
    pub versions: BTreeMap<String, String>,
}

/// MR² with statistics, margins and the representation term, testing the last weights.
pub fn config() -> TrainConfig {
    TrainConfig {
        seed: 11,
        epochs: EPOCHS,
        optimizer: OptimizerConfig::Sgd {
            lr: 0.1,
            momentum: 0.9,
            nesterov: true,
            weight_decay: 5e-4,
            decay_norm_and_bias: false,
        },
        schedule: ScheduleConfig::WarmupCosine {
            warmup_epochs: 0.5,
            start_factor: 0.3,
            final_factor: 0.0,
            update: Update::EveryStep,
        },
        clip: Clip::Norm { max: 5.0 },
        label_smoothing: 0.1,
        objective: ObjectiveConfig::Mr2(objective()),
        checkpoint_every_steps: 4,
        log_every_steps: 1,
        select: Select::Last,
    }
}

/// Learnable in 30 steps; not a preset, whose numbers may change.
pub fn objective() -> Mr2Config {
    let mut objective = Preset::OfficialCifar.config();
    objective.stats.norm = 2.0;
    objective.stats.estimator = Estimator::Pooled;
    objective.restart_every_epoch = false;
    objective.representation.weight = 0.3;
    objective.representation.spread = SpreadRule::MeanSpread;
    objective
}

pub fn process() -> Process {
    process_with(config())
}

pub fn process_with(config: TrainConfig) -> Process {
    let params = ParamStore::new(3, DType::F32, &Device::Cpu);
    let model = TinyNet::new(&params).unwrap();
    let plain = Pipeline::new(vec![normalise()]).unwrap();
    let evaluation = |split, n| {
        Loader::for_evaluation(images(split, n), plain.clone(), 16, 0, &Device::Cpu).unwrap()
    };
    Process {
        config_text: format!(
            "# the configuration of a test\n[train]\nseed = {}\n",
            config.seed
        ),
        config,
        model,
        params,
        train: training(images(Split::Train, 44), 1),
        validation: Some(evaluation(Split::Validation, 20)),
        test: evaluation(Split::Test, 24),
        versions: BTreeMap::from([("mr2-train".to_string(), "test".to_string())]),
    }
}

fn normalise() -> Transform {
    Transform::Normalize {
        mean: vec![0.5],
        std: vec![0.25],
    }
}

/// Shuffled batches of eight images, cropped and flipped at random.
pub fn training(set: Arc<ImageSet>, workers: usize) -> Loader {
    let config = LoaderConfig {
        images_per_batch: 8,
        sampler: Sampler::Shuffled,
        seed: 5,
        workers,
        drop_last: false,
    };
    let crop = Transform::RandomCrop {
        size: 8,
        padding: 2,
    };
    let flip = Transform::HorizontalFlip { p: 0.5 };
    let pipeline = Pipeline::new(vec![crop, flip, normalise()]).unwrap();
    Loader::new(set, pipeline, config, &Device::Cpu).unwrap()
}

/// Noise with a bright half, the upper or the lower one, solid or striped: a flip keeps the class.
pub fn images(split: Split, n: usize) -> Arc<ImageSet> {
    let seed = rng::stream(1, &format!("{split:?}"));
    let labels: Vec<u32> = (0..n as u32).map(|image| image % CLASSES as u32).collect();
    let mut pixels = Vec::with_capacity(n * 64);
    for (image, label) in labels.iter().enumerate() {
        for place in 0..64 {
            let (row, column) = (place / 8, place % 8);
            let (half, striped) = (*label as usize / 2, *label % 2 == 1);
            let bright = row / 4 == half && !(striped && column % 2 == 0);
            let noise = 80.0 * rng::uniform(seed, (image * 64 + place) as u64);
            pixels.push((if bright { 170.0 } else { 0.0 } + noise) as u8);
        }
    }
    let names = [
        "upper, solid",
        "upper, striped",
        "lower, solid",
        "lower, striped",
    ];
    let classes = names.map(String::from).to_vec();
    let source = Source::Memory {
        pixels,
        height: 8,
        width: 8,
        channels: 1,
    };
    Arc::new(ImageSet::new("halves", split, classes, labels, source).unwrap())
}

impl Process {
    pub fn job(&self) -> Job<'_> {
        Job {
            config: &self.config,
            config_text: &self.config_text,
            model: &self.model,
            params: &self.params,
            train: &self.train,
            validation: self.validation.as_ref(),
            test: &self.test,
            class_names: self.train.set().classes(),
            versions: &self.versions,
        }
    }

    /// Trains in `folder` with nobody watching.
    pub fn run(&self, folder: &Path, start: Start) -> std::result::Result<Outcome, Error> {
        self.run_watched(folder, start, &StopFlag::new(), &mut |_| {})
    }

    pub fn run_watched(
        &self,
        folder: &Path,
        start: Start,
        stop: &StopFlag,
        observer: &mut dyn FnMut(&Event<'_>),
    ) -> std::result::Result<Outcome, Error> {
        train(&self.job(), &RunDir::open(folder)?, start, stop, observer)
    }
}
