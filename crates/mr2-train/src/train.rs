//! Starting, continuing and ending a run.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::DType;
use mr2_data::{Loader, Split};
use mr2_nn::model::Backbone;
use mr2_nn::params::ParamStore;

use crate::config::{ClassMeasures, Select, TrainConfig};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::objective::Setting;
use crate::result::RunResult;
use crate::run::Run;
use crate::run_folder::{RunDir, RunState};
use crate::stop::StopFlag;

/// Everything that a run needs; built by the caller from the configuration.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// The hyperparameters.
    pub config: &'a TrainConfig,
    /// The whole resolved configuration, data and model included: saved as `config.toml` by a new
    /// run, and compared by a resumed one.
    pub config_text: &'a str,
    /// The model, at its initial weights.
    pub model: &'a dyn Backbone,
    /// The store that the model was built from.
    pub params: &'a ParamStore,
    /// What layers compute in: on the CPU the type of the parameters; on CUDA f32, or bf16 for mixed precision, in which
    /// parameters, their gradients, class statistics and losses stay f32.
    pub activations: DType,
    /// What a stranger needs to use the weights, stored in every checkpoint: the network with its activation and the ε of its
    /// normalisations, what is done to images, the classes.
    pub about: &'a serde_json::Value,
    /// Training batches. Where the model is on a GPU, up to 1 GiB of images in memory that are flipped and cropped once are held
    /// and augmented there: the same batches, without the loader's workers.
    pub train: &'a Loader,
    /// Validation images, where a part was carved from the training set.
    pub validation: Option<&'a Loader>,
    /// Test images; read once, after training, unless `test_every_epoch` has them recorded too.
    pub test: &'a Loader,
    /// Further test sets of the same classes by name, such as corrupted ones; read once, after training.
    pub extra_tests: &'a [(String, &'a Loader)],
    /// The training images once, in order and without augmentation: for an objective with a first stage
    /// ([`crate::ObjectiveConfig::first_stage_epochs`]) and for `class_measures`.
    pub train_once: Option<&'a Loader>,
    /// A second network, for an objective that trains one ([`crate::ObjectiveConfig::needs_twin`]).
    pub twin: Option<Twin<'a>>,
    /// Names of the classes.
    pub class_names: &'a [String],
    /// What to record in the result of the program and the machine.
    pub versions: &'a BTreeMap<String, String>,
}

/// A second network, which is trained beside the model and neither tested nor kept.
#[derive(Clone, Copy)]
pub struct Twin<'a> {
    /// The network, at initial weights other than the model's.
    pub model: &'a dyn Backbone,
    /// The store that it was built from.
    pub params: &'a ParamStore,
}

impl Job<'_> {
    /// Checks that everything fits together; [`train`] begins with it.
    ///
    /// # Errors
    /// Names the key and what it accepts.
    pub fn check(&self) -> Result<()> {
        self.config.check()?;
        self.config
            .schedule
            .in_steps(self.config.epochs, self.train.batches_per_epoch() as u64)?;
        self.config.optimizer.build(self.params)?;
        if self.config.select == Select::BestValidation && self.validation.is_none() {
            let reason = "best_validation needs a validation part, and the data has none: carve one \
                          from the training set, or select = \"last\"";
            return refuse("select", reason.to_string());
        }
        if self.class_names.len() != self.model.classes() {
            let (data, model) = (self.class_names.len(), self.model.classes());
            return refuse(
                "model",
                format!("the data has {data} classes, the model {model}"),
            );
        }
        if self.activations == DType::F16 {
            let reason = "gradients in f16 vanish, as its smallest numbers are too large: take bf16, which has f32's range";
            return refuse("activations", reason.to_string());
        }
        self.check_parts()?;
        self.check_objective()
    }

    /// Nothing but the training part may train, and nothing but validation data may select.
    fn check_parts(&self) -> Result<()> {
        let parts = [
            ("train", Some(self.train), Split::Train),
            ("validation", self.validation, Split::Validation),
            ("test", Some(self.test), Split::Test),
            ("train_once", self.train_once, Split::Train),
        ];
        let extra = self.extra_tests.iter();
        let extra = extra.map(|(_, loader)| ("extra_tests", Some(*loader), Split::Test));
        for (key, loader, part) in parts.into_iter().chain(extra) {
            let Some(set) = loader.map(Loader::set) else {
                continue;
            };
            if set.split() != part {
                let (found, part) = (set.split(), format!("{part:?}").to_lowercase());
                let reason = format!("needs a loader of the {part} part, got {found:?}");
                return refuse(key, reason);
            }
        }
        let mut names = BTreeSet::new();
        for (name, loader) in self.extra_tests {
            let classes = loader.set().classes().len();
            if classes != self.class_names.len() {
                let own = self.class_names.len();
                return refuse(
                    "extra_tests",
                    format!("{name} has {classes} classes, the data {own}"),
                );
            }
            if !names.insert(name) {
                return refuse("extra_tests", format!("two are named {name}"));
            }
        }
        Ok(())
    }

    fn check_objective(&self) -> Result<()> {
        let objective = &self.config.objective;
        let smoothing = self.config.label_smoothing;
        if smoothing != 0.0 && !objective.takes_label_smoothing() {
            let reason = format!("must be 0, as the objective has hard targets, got {smoothing}");
            return refuse("label_smoothing", reason);
        }
        let own = self.train.set().labels();
        let measured = self.config.class_measures != ClassMeasures::Off;
        let needed = measured || objective.first_stage_epochs() > 0;
        match (needed, self.train_once) {
            (false, _) => {}
            (_, None) => {
                let reason = "the objective predicts the training images after its first stage, or class_measures \
                              measures them: give the job a loader that has them in order";
                return refuse("train_once", reason.to_string());
            }
            (_, Some(loader)) if loader.set().labels() != own => {
                let (all, found) = (own.len(), loader.set().len());
                let reason = format!(
                    "needs the {all} training images in their order, got {found} or another order"
                );
                return refuse("train_once", reason);
            }
            _ => {}
        }
        objective.build(&Setting::of(self)).map(drop)
    }
}

fn refuse(key: &'static str, reason: String) -> Result<()> {
    Err(Error::Config { key, reason })
}

/// Whether a run begins or continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// In a folder without a run.
    Fresh,
    /// From the newest usable checkpoint, or from the beginning where none was saved yet.
    Resume,
}

/// How [`train`] ended.
#[derive(Debug)]
pub enum Outcome {
    /// The run is done, just now.
    Finished(Box<RunResult>),
    /// The run had been done before; nothing was computed.
    AlreadyFinished(Box<RunResult>),
    /// A stop was asked for; the run is saved and can be resumed.
    Stopped {
        /// Steps done.
        step: u64,
    },
}

/// Trains, or continues training, in a run folder.
///
/// On the CPU the same job gives the same bits, however often it was stopped, killed and resumed.
///
/// # Errors
/// A configuration that can't be used or isn't that of the saved run; an unreadable image; a NaN
/// or infinite loss; a file that can't be written. Whatever was saved before stays usable.
pub fn train(
    job: &Job<'_>,
    dir: &RunDir,
    start: Start,
    stop: &StopFlag,
    observer: &mut dyn FnMut(&Event<'_>),
) -> Result<Outcome> {
    job.check()?;
    match (start, dir.state()) {
        (Start::Fresh, RunState::Empty) => dir.save_config(job.config_text)?,
        (Start::Fresh, _) => {
            return Err(Error::HoldsRun {
                path: dir.path().to_path_buf(),
            });
        }
        (Start::Resume, RunState::Empty) => {
            return Err(Error::NothingToResume {
                path: dir.path().to_path_buf(),
            });
        }
        (Start::Resume, state) => {
            dir.check_config(job.config_text)?;
            if state == RunState::Finished {
                return Ok(Outcome::AlreadyFinished(Box::new(RunResult::read(
                    dir.path(),
                )?)));
            }
        }
    }
    let mut run = Run::begin(job, dir, observer)?;
    let trained = run.train_until(stop)?;
    let step = run.progress.step;
    let result = if trained { run.finish(stop)? } else { None };
    Ok(match result {
        Some(result) => Outcome::Finished(Box::new(result)),
        None => Outcome::Stopped { step },
    })
}
