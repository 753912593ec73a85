//! Training, evaluation and checkpoints for class-wise experiments on Candle.
//!
//! [`train`] runs a [`Job`] in a [`RunDir`]: the loop is the same for every method, and what
//! differs is an [`ObjectiveConfig`]: plain cross-entropy, margin regularisation (arXiv 2602.00205)
//! and its rivals, each with or without sharpness-aware minimisation ([`Sharpness`]).
//!
//! - The run folder holds everything that is needed to redo, resume, evaluate and plot the run,
//!   and nothing in it is ever half-written: [`run_folder`] lists its entries.
//! - A run that is stopped ([`StopFlag`]), killed or hit by a full disk is resumed
//!   ([`Start::Resume`]) from its newest usable checkpoint, on the CPU to the same bits.
//! - [`evaluate()`] and [`load_weights`] change nothing of a run. It reads the test part once,
//!   after training (or records it at each epoch too), and only a validation part can select.
//! - [`features`] computes what a frozen backbone says of every image once, and keeps it.
//! - At the end of each epoch an [`EpochRecord`] has accuracy, spread, margin and head norm of
//!   every class, and the signs that the method fails on this data.
//! - [`mod@probe`] fits linear heads to features that don't change.
//!
//! ```
//! use std::{collections::BTreeMap, sync::Arc};
//!
//! use mr2_backbones::{BuildConfig, Head};
//! use mr2_data::{ImageSet, Loader, LoaderConfig, Pipeline, Sampler, Source, Split, Transform};
//! use mr2_nn::params::ParamStore;
//! use mr2_train::candle_core::{DType, Device};
//! use mr2_train::{
//!     ClassMeasures, Clip, Job, ObjectiveConfig, OptimizerConfig, Outcome, RunDir, ScheduleConfig,
//!     Select, Sharpness, Start, StopFlag, TrainConfig, train,
//! };
//! // Dark and light images, two classes.
//! let set = |split| -> Result<_, mr2_data::Error> {
//!     let labels: Vec<u32> = (0..16).map(|image| image % 2).collect();
//!     let pixels = labels.iter().flat_map(|label| [(50 + 100 * label) as u8; 64]).collect();
//!     let source = Source::Memory { pixels, height: 8, width: 8, channels: 1 };
//!     let classes = vec!["dark".to_string(), "light".to_string()];
//!     Ok(Arc::new(ImageSet::new("shades", split, classes, labels, source)?))
//! };
//! let pipeline = Pipeline::new(vec![Transform::Normalize { mean: vec![0.4], std: vec![0.2] }])?;
//! let (images_per_batch, sampler) = (8, Sampler::Shuffled);
//! let shuffled =
//!     LoaderConfig { images_per_batch, sampler, seed: 0, workers: 0, drop_last: false };
//! let device = Device::Cpu;
//! let training = Loader::new(set(Split::Train)?, pipeline.clone(), shuffled, &device)?;
//! let test = Loader::for_evaluation(set(Split::Test)?, pipeline, 16, 0, &device)?;
//!
//! let params = ParamStore::new(0, DType::F32, &device);
//! let shape = BuildConfig { in_channels: 1, classes: 2, head: Head::Linear, dropout: 0.0 };
//! let model = mr2_backbones::build("resnet8", &shape, params.var_builder())?;
//!
//! let config = TrainConfig {
//!     seed: 0, epochs: 8,
//!     optimizer: OptimizerConfig::Sgd {
//!         lr: 0.05, momentum: 0.9, nesterov: true, weight_decay: 5e-4, decay_norm_and_bias: false,
//!     },
//!     schedule: ScheduleConfig::Constant {}, clip: Clip::Off {}, label_smoothing: 0.0,
//!     objective: ObjectiveConfig::Erm {}, sharpness: Sharpness::Off {},
//!     checkpoint_every_steps: 100, log_every_steps: 10,
//!     select: Select::Last, test_every_epoch: false, class_measures: ClassMeasures::Off,
//! };
//! let folder = tempfile::tempdir()?;
//! let job = Job {
//!     config: &config,
//!     config_text: "seed = 0 # and everything else that decides the run",
//!     model: model.as_ref(),
//!     params: &params,
//!     activations: DType::F32, about: &Default::default(), train: &training,
//!     validation: None, test: &test, extra_tests: &[], train_once: None, twin: None,
//!     class_names: training.set().classes(),
//!     versions: &BTreeMap::new(),
//! };
//! let dir = RunDir::open(folder.path())?;
//! let outcome = train(&job, &dir, Start::Fresh, &StopFlag::new(), &mut |_| {})?;
//! let Outcome::Finished(result) = outcome else { panic!("nobody asked for a stop") };
//! assert_eq!(result.test.overall, Some(1.0));
//! assert_eq!(result.curves.len(), 8);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(missing_docs)]

mod checkpoint;
mod compute;
pub mod config;
mod epoch_end;
pub mod error;
pub mod evaluate;
pub mod event;
pub mod features;
mod feed;
mod finish;
mod format_version;
mod measures;
pub mod metrics_log;
pub mod objective;
pub mod predictions;
pub mod probe;
mod progress;
mod pulls;
pub mod report;
pub mod result;
mod run;
pub mod run_folder;
mod saved_state;
mod schedule;
mod sharpness;
mod stages;
mod step;
mod stop;
pub mod tensorboard;
mod train;
mod weights;

pub use candle_core;
pub use config::{ClassMeasures, Clip, OptimizerConfig, Select, Sharpness, TrainConfig};
pub use error::{Error, Result};
pub use evaluate::{evaluate, summarise};
pub use event::{Event, Part};
pub use objective::ObjectiveConfig;
pub use predictions::Predictions;
pub use report::EpochRecord;
pub use result::RunResult;
pub use run_folder::{RunDir, RunState};
pub use schedule::{ScheduleConfig, Update};
pub use stop::StopFlag;
pub use train::{Job, Outcome, Start, Twin, train};
pub use weights::{LoadedWeights, Weights, load_weights};
