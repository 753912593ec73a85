//! What a backbone makes of images: computed once, kept on disk under a key of everything that decides it.

use std::path::PathBuf;

use anyhow::{Context, Result};
use candle_core::Device;
use mr2_backbones::pretrained::{Architecture, Pretrained};
use mr2_data::{Fingerprint, Loader, Split};
use mr2_train::StopFlag;
use mr2_train::features::{
    Damaged, ExtractConfig, Extraction, FeatureFiles, FeatureMeta, FeatureSource, FeatureType,
    available_memory, extract, images_per_batch, images_per_shard,
};

use super::images::Images;
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

/// The files of a part's features; nothing where a stop was asked for. Stopped, the next call goes on.
///
/// # Errors
/// An image that can't be read; features that aren't finite; a folder that can't be written.
pub fn files(
    args: &FeatureArgs,
    pretrained: &Pretrained,
    images: &Images,
    split: Split,
    device: &Device,
    quiet: bool,
    stop: &StopFlag,
) -> Result<Option<FeatureFiles>> {
    let set = images.part(split);
    let description = &pretrained.description;
    let kind = match args.trust_times {
        true => Fingerprint::Files,
        false => Fingerprint::Content,
    };
    let source = FeatureSource {
        backbone: description.name.clone(),
        output: serde_json::to_string(&(&description.architecture, &description.positions))?,
        weights_sha256: description.sha256.clone(),
        arithmetic: format!("f32 {:?}", device.location()),
        dataset_hash: images.fingerprint(split, kind)?,
        dtype: match args.half {
            true => FeatureType::F16,
            false => FeatureType::F32,
        },
        views: 1,
    };
    let side = description.preprocessing.crop;
    let batch = args.images_per_batch.unwrap_or_else(|| {
        let largest = largest_activation(&description.architecture, side);
        images_per_batch(
            available_memory().unwrap_or(MEMORY),
            [3, side, side],
            largest,
            WORKERS,
        )
    });
    let pipeline = pipeline(&description.preprocessing)?;
    let loader = Loader::for_evaluation(set.clone(), pipeline, batch, WORKERS, device)?;
    let meta = FeatureMeta::new(source, &loader)?;
    let config = ExtractConfig {
        cache: args.cache.clone(),
        images_per_shard: images_per_shard(pretrained.network.feature_dim(), meta.source.dtype),
        damaged: Damaged::Recompute,
    };
    let part = format!("{split:?}").to_lowercase();
    let template = "{prefix} {bar:24.cyan/dim} {pos} of {len} images · {per_sec} · {eta} left";
    let bar = bar(quiet, template, format!("{} {part}", description.name));
    let extraction = extract(
        pretrained.network.as_ref(),
        &pretrained.params,
        &loader,
        &meta,
        &config,
        &mut |progress| {
            bar.set_length(progress.total);
            bar.set_position(progress.done);
        },
        stop,
    );
    bar.finish_and_clear();
    match extraction.with_context(|| format!("{part} images of {}", set.name()))? {
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

/// Values of one image in the network's largest layer.
fn largest_activation(architecture: &Architecture, side: usize) -> usize {
    match architecture {
        Architecture::Vit(net) => (net.grid() * net.grid() + 1) * net.mlp_dim.max(3 * net.dim),
        // The first feature map has half the image's sides; EfficientNet widens it sixfold at a quarter.
        Architecture::Resnet(_) | Architecture::ClipResnet(_) => 64 * (side / 2).pow(2),
        Architecture::EfficientnetLite(_) => 96 * (side / 2).pow(2),
    }
}
