//! The tiny network on 44 noisy images of four classes with random crops and flips: five or six steps
//! an epoch, a millisecond each.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use mr2_data::{ImageSet, Loader, LoaderConfig, Pipeline, Sampler, Source, Split, Transform};
use mr2_loss::{Mr2Config, Preset, SpreadRule};
use mr2_nn::params::ParamStore;
use mr2_nn::rng;
use mr2_stats::Estimator;
use mr2_train::candle_core::{DType, Device};
use mr2_train::{
    ClassMeasures, Clip, Error, Event, Job, ObjectiveConfig, OptimizerConfig, Outcome, RunDir,
    ScheduleConfig, Select, Sharpness, Start, StopFlag, TrainConfig, Twin, Update, train,
};

pub use crate::tiny_net::TinyNet;

pub use crate::remains::{
    Remains, checkpoint, newest_checkpoint, remains, uninterrupted, uninterrupted_by, weights_of,
};

pub const CLASSES: usize = 4;
pub const FEATURES: usize = 8;
pub const EPOCHS: u64 = 5;
pub const STEPS_PER_EPOCH: u64 = 6;
pub const STEPS: u64 = EPOCHS * STEPS_PER_EPOCH;

/// Everything that a process holds: built anew for each start of a run.
pub struct Process {
    pub config: TrainConfig,
    pub config_text: String,
    pub model: TinyNet,
    pub params: ParamStore,
    pub train: Loader,
    pub validation: Option<Loader>,
    pub test: Loader,
    pub extra_tests: Vec<(String, Loader)>,
    /// The training images in order; for an objective of two stages and for class measures.
    pub train_once: Loader,
    /// For an objective that trains two networks.
    pub twin: (TinyNet, ParamStore),
    pub versions: BTreeMap<String, String>,
    pub about: serde_json::Value,
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
        sharpness: Sharpness::Off {},
        checkpoint_every_steps: 4,
        log_every_steps: 1,
        select: Select::Last,
        test_every_epoch: false,
        class_measures: ClassMeasures::Off,
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
    let cosines = config.objective.needs_cosines();
    process_with_head(config, cosines)
}

/// With a linear head, or one of cosines.
pub fn process_with_head(config: TrainConfig, cosines: bool) -> Process {
    let network = |seed| {
        let params = ParamStore::new(seed, DType::F32, &Device::Cpu);
        (TinyNet::new(&params, cosines).unwrap(), params)
    };
    let (model, params) = network(3);
    Process {
        config_text: format!(
            "# the configuration of a test\n[train]\nseed = {}\n",
            config.seed
        ),
        config,
        model,
        params,
        train: training(images(Split::Train, 44), 1),
        validation: Some(evaluation(images(Split::Validation, 20))),
        test: evaluation(images(Split::Test, 24)),
        extra_tests: Vec::new(),
        train_once: evaluation(images(Split::Train, 44)),
        twin: network(4),
        versions: BTreeMap::from([("mr2-train".to_string(), "test".to_string())]),
        about: serde_json::json!({"backbone": "one layer"}),
    }
}

fn normalise() -> Transform {
    Transform::Normalize {
        mean: vec![0.5],
        std: vec![0.25],
    }
}

/// All images in order, as they are.
pub fn evaluation(set: Arc<ImageSet>) -> Loader {
    let pipeline = Pipeline::new(vec![normalise()]).unwrap();
    Loader::for_evaluation(set, pipeline, 16, 0, &Device::Cpu).unwrap()
}

/// Shuffled batches of eight images, cropped and flipped at random.
pub fn training(set: Arc<ImageSet>, workers: usize) -> Loader {
    training_by(Sampler::Shuffled, set, workers)
}

/// The same in another order.
pub fn training_by(sampler: Sampler, set: Arc<ImageSet>, workers: usize) -> Loader {
    let config = LoaderConfig {
        images_per_batch: 8,
        sampler,
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
    /// With these images of the training set alone.
    pub fn with_images(mut self, indices: &[u32]) -> Self {
        let set = self.train.set().subset(Split::Train, indices).unwrap();
        let set = Arc::new(set);
        self.train = training(set.clone(), 1);
        self.train_once = evaluation(set);
        self
    }

    /// Hands the job to `then`.
    pub fn with_job<T>(&self, then: impl FnOnce(&Job<'_>) -> T) -> T {
        let extra_tests = self.extra_tests.iter();
        let extra_tests: Vec<_> = extra_tests
            .map(|(name, loader)| (name.clone(), loader))
            .collect();
        let objective = &self.config.objective;
        let (model, params) = &self.twin;
        let measured = self.config.class_measures != ClassMeasures::Off;
        let needs_once = measured || objective.first_stage_epochs() > 0;
        then(&Job {
            config: &self.config,
            config_text: &self.config_text,
            model: &self.model,
            params: &self.params,
            activations: DType::F32,
            about: &self.about,
            train: &self.train,
            validation: self.validation.as_ref(),
            test: &self.test,
            extra_tests: &extra_tests,
            train_once: needs_once.then_some(&self.train_once),
            twin: objective.needs_twin().then_some(Twin { model, params }),
            class_names: self.train.set().classes(),
            versions: &self.versions,
        })
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
        self.with_job(|job| train(job, &RunDir::open(folder)?, start, stop, observer))
    }
}
