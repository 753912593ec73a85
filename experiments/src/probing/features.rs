//! What a backbone makes of images: computed once, kept on disk under a key of everything that decides it.

use std::path::PathBuf;

use anyhow::{Context, Result};
use candle_core::Device;
use indicatif::ProgressBar;
use mr2_backbones::pretrained::{Architecture, Pretrained};
use mr2_data::{Fingerprint, Loader, LoaderConfig, Sampler, Split};
use mr2_train::StopFlag;
use mr2_train::features::{
    Damaged, ExtractConfig, ExtractProgress, Extraction, FeatureFiles, FeatureMeta, FeatureSource,
    FeatureType, Features, available_memory, compute, extract, images_per_batch, images_per_shard,
};

use super::crops::Crops;
use super::images::Images;
use crate::device::Compute;
use crate::pretrained::pipeline;
use crate::progress::bar;

/// Bytes of memory that are counted on where the system doesn't say how many are free.
const MEMORY: u64 = 4 << 30;
/// Threads that decode while the network computes.
const WORKERS: usize = 2;

/// How features are kept and made.
#[derive(clap::Args, Clone, Debug)]
pub struct FeatureArgs {
    /// Folder of all features that were computed; a second run with the same images and weights reads them there.
    #[arg(long, value_name = "DIR", default_value = "runs/features")]
    cache: PathBuf,
    /// Store features in half the space, with 11 significant bits.
    #[arg(long)]
    half: bool,
    /// Images that go through the backbone at once [default: what fits into memory].
    #[arg(long, value_name = "N")]
    images_per_batch: Option<usize>,
    /// Tell images apart by name, size and time of the last change instead of by content: faster for large sets, and as
    /// safe as those times are.
    #[arg(long)]
    trust_times: bool,
}

/// A backbone, and how its features are made.
#[derive(Clone, Copy)]
pub struct Extractor<'a> {
    /// How they are kept and made.
    pub args: &'a FeatureArgs,
    /// What makes them.
    pub pretrained: &'a Pretrained,
    /// Where and in what.
    pub compute: &'a Compute,
    /// No progress bars.
    pub quiet: bool,
    /// Stopped, the next call goes on.
    pub stop: &'a StopFlag,
}

impl Extractor<'_> {
    /// The files of a part's features; nothing where a stop was asked for.
    ///
    /// # Errors
    /// An image that can't be read; features that aren't finite; a folder that can't be written.
    pub fn files(&self, images: &Images, split: Split) -> Result<Option<FeatureFiles>> {
        self.extract(images, &self.loader(images, split, None)?, split, 1)
    }

    /// The files of so many crops of the training images.
    ///
    /// # Errors
    /// As [`Extractor::files`].
    pub fn crop_files(
        &self,
        images: &Images,
        crops: &Crops,
        views: u32,
    ) -> Result<Option<FeatureFiles>> {
        let loader = self.loader(images, Split::Train, Some(crops))?;
        self.extract(images, &loader, Split::Train, views)
    }

    /// What goes through the backbone: a part's images, or crops of them.
    ///
    /// # Errors
    /// Preprocessing out of range.
    pub fn loader(&self, images: &Images, split: Split, crops: Option<&Crops>) -> Result<Loader> {
        let description = &self.pretrained.description;
        let side = description.preprocessing.crop;
        let images_per_batch = self.args.images_per_batch.unwrap_or_else(|| {
            let largest = largest_activation(&description.architecture, side);
            let memory = available_memory().unwrap_or(MEMORY);
            images_per_batch(memory, [3, side, side], largest, WORKERS)
        });
        let set = images.part(split).clone();
        let Some(crops) = crops else {
            let pipeline = pipeline(&description.preprocessing)?;
            let loader =
                Loader::for_evaluation(set, pipeline, images_per_batch, WORKERS, &Device::Cpu);
            return Ok(loader?);
        };
        let config = LoaderConfig {
            images_per_batch,
            sampler: Sampler::Sequential,
            seed: crops.seed,
            workers: WORKERS,
            drop_last: false,
        };
        let pipeline = crops.pipeline(&description.preprocessing)?;
        Ok(Loader::new(set, pipeline, config, &Device::Cpu)?)
    }

    /// The features of a part, kept nowhere; nothing where a stop was asked for.
    ///
    /// # Errors
    /// An image that can't be read; features that aren't finite.
    pub fn compute_part(&self, images: &Images, split: Split) -> Result<Option<Features>> {
        let (loader, part) = (self.loader(images, split, None)?, part_name(split));
        let found = self.compute(&loader, 0, &part);
        found.with_context(|| format!("{part} images of {}", loader.set().name()))
    }

    /// A view of what `loader` gives, kept nowhere; nothing where a stop was asked for.
    ///
    /// # Errors
    /// An image that can't be read; features that aren't finite.
    pub fn compute(
        &self,
        loader: &Loader,
        view: u64,
        label: &str,
    ) -> mr2_train::Result<Option<Features>> {
        let bar = self.bar(label);
        bar.set_length(loader.set().len() as u64);
        let Pretrained {
            network, params, ..
        } = self.pretrained;
        let mut progress = |done| bar.set_position(done);
        let found = compute(
            network.as_ref(),
            params,
            loader,
            self.compute.activations(),
            view,
            &mut progress,
            self.stop,
        );
        bar.finish_and_clear();
        found
    }

    /// What the last bits of features depend on beside weights and images; code that decodes or computes otherwise makes
    /// features anew.
    fn arithmetic(&self) -> String {
        let Compute { device, precision } = self.compute;
        let code = env!("MR2_CODE");
        format!("{} {:?}, code {code}", precision.name(), device.location())
    }

    fn bar(&self, label: &str) -> ProgressBar {
        let template = "{prefix} {bar:24.cyan/dim} {pos} of {len} images · {per_sec} · {eta} left";
        let name = &self.pretrained.description.name;
        bar(self.quiet, template, format!("{name} {label}"))
    }

    fn extract(
        &self,
        images: &Images,
        loader: &Loader,
        split: Split,
        views: u32,
    ) -> Result<Option<FeatureFiles>> {
        let Pretrained {
            network,
            params,
            description,
        } = self.pretrained;
        let kind = match self.args.trust_times {
            true => Fingerprint::Files,
            false => Fingerprint::Content,
        };
        let source = FeatureSource {
            backbone: description.name.clone(),
            output: serde_json::to_string(&(&description.architecture, &description.positions))?,
            weights_sha256: description.sha256.clone(),
            arithmetic: self.arithmetic(),
            dataset_hash: images.fingerprint(split, kind)?,
            dtype: match self.args.half {
                true => FeatureType::F16,
                false => FeatureType::F32,
            },
            views,
        };
        let meta = FeatureMeta::new(source, loader)?;
        let config = ExtractConfig {
            cache: self.args.cache.clone(),
            images_per_shard: images_per_shard(network.feature_dim(), meta.source.dtype),
            damaged: Damaged::Recompute,
            activations: self.compute.activations(),
        };
        let part = part_name(split);
        let bar = self.bar(&match views {
            1 => part.clone(),
            views => format!("{part}, {views} views"),
        });
        let mut progress = |progress: ExtractProgress| {
            bar.set_length(progress.total);
            bar.set_position(progress.done);
        };
        let extraction = extract(
            network.as_ref(),
            params,
            loader,
            &meta,
            &config,
            &mut progress,
            self.stop,
        );
        bar.finish_and_clear();
        match extraction.with_context(|| format!("{part} images of {}", loader.set().name()))? {
            Extraction::Stopped => Ok(None),
            Extraction::Finished {
                files, replaced, ..
            } => {
                for reason in replaced {
                    tracing::warn!("features computed again: {reason}");
                }
                Ok(Some(files))
            }
        }
    }
}

/// What a part is called in bars and errors.
fn part_name(split: Split) -> String {
    format!("{split:?}").to_lowercase()
}

/// Values of one image in the network's largest layer.
fn largest_activation(architecture: &Architecture, side: usize) -> usize {
    match architecture {
        Architecture::Vit(net) => (net.grid() * net.grid() + 1) * net.mlp_dim.max(3 * net.dim),
        // The first feature map has half the image's sides; EfficientNet widens it sixfold at a quarter.
        Architecture::Resnet(_) | Architecture::ClipResnet(_) => 64 * (side / 2).pow(2),
        Architecture::EfficientnetLite(_) => 96 * (side / 2).pow(2),
    }
}
