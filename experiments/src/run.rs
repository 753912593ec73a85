//! One run from its configuration: data, model and loaders assembled, then trained into a folder.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use mr2_backbones::registry::find;
use mr2_train::{
    ClassMeasures, Event, Job, Outcome, RunDir, RunState, Start, StopFlag, Twin, train,
};
use serde_json::{Value, json};

use crate::assemble::{Data, evaluation_loader, model, shifted_loaders, train_loader, twin};
use crate::config::{RunConfig, RunFile};
use crate::device::{Compute, describe};

/// Trains the run that `file` describes into `folder`, or continues it there.
///
/// # Errors
/// When the configuration doesn't fit the data or the model, or training fails; what was saved stays usable.
pub fn train_into(
    file: &RunFile,
    data: &Data,
    compute: &Compute,
    folder: &Path,
    start: Start,
    stop: &StopFlag,
    observer: &mut dyn FnMut(&Event<'_>),
) -> Result<Outcome> {
    with_job(file, data, compute, |job| {
        job.check()?; // before the folder is made
        let dir = RunDir::open(folder)?;
        train(job, &dir, start, stop, observer)
            .with_context(|| format!("run folder {}", folder.display()))
    })
}

/// Assembles the run that `file` describes and hands it to `then`.
///
/// # Errors
/// When the configuration doesn't fit the data or the model, and those of `then`.
pub fn with_job<T>(
    file: &RunFile,
    data: &Data,
    compute: &Compute,
    then: impl FnOnce(&Job<'_>) -> Result<T>,
) -> Result<T> {
    let (config, device) = (&file.config, &compute.device);
    let classes = data.splits.train.classes();
    let model = model(config, data.descriptor.channels, classes.len(), device)?;
    let train_batches = train_loader(config, data)?;
    let validation = match &data.splits.validation {
        Some(set) => Some(evaluation_loader(config, set)?),
        None => None,
    };
    let test = evaluation_loader(config, &data.splits.test)?;
    let shifted = shifted_loaders(config, data)?;
    let extra_tests: Vec<_> = shifted
        .iter()
        .map(|(name, loader)| (name.clone(), loader))
        .collect();
    let objective = &config.training.objective;
    let measured = config.training.class_measures != ClassMeasures::Off;
    let train_once = match measured || objective.first_stage_epochs() > 0 {
        false => None,
        true => Some(evaluation_loader(config, &data.splits.train)?),
    };
    let twin = match objective.needs_twin() {
        false => None,
        true => Some(twin(
            config,
            data.descriptor.channels,
            classes.len(),
            device,
        )?),
    };
    then(&Job {
        config: &config.training,
        config_text: &file.to_toml()?,
        model: model.network.as_ref(),
        params: &model.params,
        activations: compute.activations(),
        about: &about(config, classes)?,
        train: &train_batches,
        validation: validation.as_ref(),
        test: &test,
        extra_tests: &extra_tests,
        train_once: train_once.as_ref(),
        twin: twin.as_ref().map(|twin| Twin {
            model: twin.network.as_ref(),
            params: &twin.params,
        }),
        class_names: classes,
        versions: &versions_on(compute),
    })
}

/// What every checkpoint says of its weights.
fn about(config: &RunConfig, classes: &[String]) -> Result<Value> {
    let model = &config.model;
    Ok(json!({
        "model": model,
        "layers": find(&model.backbone)?.layer_settings(),
        "preprocessing": config.data.evaluation_transforms,
        "dataset": config.data.dataset,
        "classes": classes,
    }))
}

/// Whether a run in `folder` begins, continues or is there already.
pub fn start_for(folder: &Path) -> Start {
    match RunDir::state_of(folder) {
        RunState::Empty => Start::Fresh,
        RunState::Started | RunState::Finished => Start::Resume,
    }
}

/// [`versions`], and what trains: the device, and the precision where it has several.
fn versions_on(compute: &Compute) -> BTreeMap<String, String> {
    let mut versions = versions();
    versions.insert("device".to_string(), describe(&compute.device));
    if !compute.device.is_cpu() {
        let precision = compute.precision.name().to_string();
        versions.insert("precision".to_string(), precision);
    }
    versions
}

/// What is recorded of the program and the machine in each result: what its last bits depend on.
pub fn versions() -> BTreeMap<String, String> {
    let known = [
        ("mr2", Some(env!("CARGO_PKG_VERSION").to_string())),
        ("code", Some(env!("MR2_CODE").to_string())),
        ("candle-core", locked_version("candle-core")),
        ("cpu", Some(cpu())),
        ("threads", Some(rayon::current_num_threads().to_string())),
    ];
    known
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_string(), value?)))
        .collect()
}

/// The CPU's name where the system tells it, or else its kind.
fn cpu() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let name = name.and_then(|rest| rest.trim_start().strip_prefix(':'));
    name.map_or(std::env::consts::ARCH, str::trim).to_string()
}

/// The version of a dependency that this program was built with.
fn locked_version(name: &str) -> Option<String> {
    let lock: toml::Table = toml::from_str(include_str!("../../Cargo.lock")).ok()?;
    let package = lock
        .get("package")?
        .as_array()?
        .iter()
        .find(|p| p.get("name").and_then(toml::Value::as_str) == Some(name))?;
    Some(package.get("version")?.as_str()?.to_string())
}
