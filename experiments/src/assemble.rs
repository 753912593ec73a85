//! Names → objects: the one place where a configuration becomes data, loaders and a model.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use candle_core::{DType, Device};
use mr2_backbones::{BuildConfig, build};
use mr2_data::{
    DataSplits, Descriptor, ImageSet, Loader, LoaderConfig, Pipeline, TestImages, Transform, open,
};
use mr2_nn::model::Backbone;
use mr2_nn::params::ParamStore;
use mr2_nn::rng;

use crate::config::{RunConfig, Shifts, typed};

/// A run's data, opened and checked.
pub struct Data {
    /// What the data set is.
    pub descriptor: Descriptor,
    /// Its parts.
    pub splits: DataSplits,
    /// Where its files are.
    pub files: PathBuf,
}

/// A run's model with the store that owns its parameters.
pub struct Model {
    /// The network.
    pub network: Box<dyn Backbone>,
    /// Its parameters and buffers.
    pub params: ParamStore,
}

/// The folder with descriptors: the one given, `datasets` here, or the one of this checkout.
pub fn data_root(given: Option<&Path>) -> PathBuf {
    let here = Path::new("datasets");
    match given {
        Some(path) => path.to_path_buf(),
        None if here.is_dir() => here.to_path_buf(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets"),
    }
}

/// Names of the descriptors in `root`, sorted.
///
/// # Errors
/// When the folder can't be read.
pub fn dataset_names(root: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(root).with_context(|| {
        format!(
            "cannot read the data root {}; name it with --data-root",
            root.display()
        )
    })?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "toml")
            && let Some(stem) = path.file_stem()
        {
            names.push(stem.to_string_lossy().to_string());
        }
    }
    names.sort();
    Ok(names)
}

/// Reads the descriptor `name` (or the path of one) and says where its files are.
///
/// # Errors
/// For an unknown name, naming the valid ones, and for a descriptor that isn't one.
pub fn descriptor(name: &str, root: &Path) -> Result<(Descriptor, PathBuf)> {
    let path = match name.ends_with(".toml") {
        true => PathBuf::from(name),
        false => root.join(format!("{name}.toml")),
    };
    if !path.is_file() {
        let names = dataset_names(root)?.join(", ");
        bail!(
            "unknown data set `{name}`: no file {}; valid: {names}",
            path.display()
        );
    }
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read the descriptor {}", path.display()))?;
    let value: toml::Value =
        toml::from_str(&text).with_context(|| format!("{}: not valid TOML", path.display()))?;
    let descriptor = typed(value).with_context(|| path.display().to_string())?;
    Ok((descriptor, path.with_extension("")))
}

/// Opens the run's data set, carves its validation part, then chooses training images, their labels
/// and test images. Label files are in the data set's folder.
///
/// # Errors
/// When files are missing or wrong; the message names them.
pub fn data(config: &RunConfig, root: &Path) -> Result<Data> {
    let (descriptor, files) = descriptor(&config.data.dataset, root)?;
    let splits = open(&descriptor, &files, config.data.validation.carve())
        .map_err(|error| not_opened(error, &files))?;
    let asked = &config.data;
    let splits = splits.with_variants(
        &asked.training_images,
        &asked.training_labels,
        &asked.test_images,
        &files,
    )?;
    Ok(Data {
        descriptor,
        splits,
        files,
    })
}

/// The error for the user; where the data set is missing, it says that a link to it will do.
pub fn not_opened(error: mr2_data::Error, folder: &Path) -> anyhow::Error {
    match error {
        mr2_data::Error::NotFound { .. } => anyhow!(
            "{error}; a link will do: ln -s /where/it/is {}",
            folder.display()
        ),
        error => error.into(),
    }
}

/// The training loader. Order and augmentation follow the run's seed. Its batches are on the CPU, as those of all loaders
/// here: `Ctx::enter` brings them to a GPU.
///
/// # Errors
/// When transforms or sizes don't fit the images.
pub fn train_loader(config: &RunConfig, data: &Data) -> Result<Loader> {
    let loader = LoaderConfig {
        images_per_batch: config.data.images_per_batch,
        sampler: config.data.sampler.clone(),
        seed: config.training.seed,
        workers: config.data.loader_workers,
        drop_last: config.data.drop_last,
    };
    let pipeline = Pipeline::new(config.data.train_transforms.clone())?;
    let set = data.splits.train.clone();
    Ok(Loader::new(set, pipeline, loader, &Device::Cpu)?)
}

/// A loader that shows every image of `set` once, in order, without augmentation.
///
/// # Errors
/// When transforms or sizes don't fit the images, or a transform is random.
pub fn evaluation_loader(config: &RunConfig, set: &Arc<ImageSet>) -> Result<Loader> {
    evaluate_after(&[], config, set)
}

/// With `first` before the run's own evaluation transforms.
fn evaluate_after(first: &[Transform], config: &RunConfig, set: &Arc<ImageSet>) -> Result<Loader> {
    let config = &config.data;
    let pipeline = Pipeline::new([first, &config.evaluation_transforms].concat())?;
    let (images, workers) = (config.evaluation_images_per_batch, config.loader_workers);
    Loader::for_evaluation(set.clone(), pipeline, images, workers, &Device::Cpu)
        .context("evaluation images")
}

/// Loaders of the run's shifted test sets, by name (`fog-3`).
///
/// # Errors
/// Too few test images of a class, files that are missing or wrong, a severity out of range.
pub fn shifted_loaders(config: &RunConfig, data: &Data) -> Result<Vec<(String, Loader)>> {
    let test = &data.splits.test;
    let each = config.data.shifts.each();
    let loader = |first: &[Transform], set: &Arc<ImageSet>, name: &str| {
        evaluate_after(first, config, set).with_context(|| format!("shifts: {name}"))
    };
    let mut loaders = Vec::new();
    match &config.data.shifts {
        Shifts::None {} => {}
        Shifts::Corruptions {
            per_class, seed, ..
        } => {
            let (per_class, seed) = (*per_class, *seed);
            let chosen = TestImages::Balanced { per_class, seed };
            let set = Arc::new(chosen.apply(test, &data.files)?);
            for (corruption, severity) in each {
                let name = format!("{}-{severity}", corruption.name());
                let step = Transform::Corrupt {
                    corruption,
                    severity,
                    seed,
                };
                let loader = loader(&[step], &set, &name)?;
                loaders.push((name, loader));
            }
        }
        Shifts::CifarC { path, .. } => {
            for (corruption, severity) in each {
                let name = format!("{}-{severity}", corruption.name());
                let chosen = TestImages::CifarC {
                    path: path.clone(),
                    corruption,
                    severity,
                };
                let set = Arc::new(chosen.apply(test, &data.files)?);
                let loader = loader(&[], &set, &name)?;
                loaders.push((name, loader));
            }
        }
    }
    Ok(loaders)
}

/// The network with fresh weights drawn from the run's seed.
///
/// # Errors
/// For an unknown backbone, naming the valid ones.
pub fn model(
    config: &RunConfig,
    channels: usize,
    classes: usize,
    device: &Device,
) -> Result<Model> {
    network(config, channels, classes, config.training.seed, device)
}

/// A second network of the same architecture, with weights from a stream of its own of the run's seed.
///
/// # Errors
/// As [`model`].
pub fn twin(config: &RunConfig, channels: usize, classes: usize, device: &Device) -> Result<Model> {
    let seed = rng::stream(config.training.seed, "twin");
    network(config, channels, classes, seed, device)
}

fn network(
    config: &RunConfig,
    channels: usize,
    classes: usize,
    seed: u64,
    device: &Device,
) -> Result<Model> {
    let params = ParamStore::new(seed, DType::F32, device);
    let build_config = BuildConfig {
        in_channels: channels,
        classes,
        head: config.model.head.clone(),
        dropout: config.model.dropout,
    };
    let network = build(&config.model.backbone, &build_config, params.var_builder())?;
    Ok(Model { network, params })
}
