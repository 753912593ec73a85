//! The pass over a loader that fills a folder with shards, and goes on where an earlier one ended.

use std::ops::Range;
use std::path::PathBuf;

use candle_core::DType;
use mr2_data::Loader;
use mr2_nn::model::Backbone;
use mr2_nn::params::ParamStore;

use super::encoder::Encoder;
use super::encoder_hash;
use super::files::{FeatureFiles, read_as, shard_file, unusable};
use super::meta::FeatureMeta;
use super::shard::{self, Features, Header};
use crate::error::{Error, Result};
use crate::evaluate::check_covers;
use crate::run_folder::{Disk, lock, write_atomically};
use crate::stop::StopFlag;

/// What becomes of files that are damaged, or say that they hold something else than was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damaged {
    /// An error names the first.
    Refuse,
    /// They are computed again.
    Recompute,
}

/// Where features are kept and how.
#[derive(Clone, Debug)]
pub struct ExtractConfig {
    /// The folder of all features; these get one of their own in it, named after their key.
    pub cache: PathBuf,
    /// Images of a shard: [`super::images_per_shard`].
    pub images_per_shard: usize,
    /// What becomes of files that can't be used.
    pub damaged: Damaged,
    /// What layers compute in, which [`super::FeatureSource::arithmetic`] must say.
    pub activations: DType,
}

/// How far an extraction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtractProgress {
    /// Images whose features are there, those of finished shards included; each view counts.
    pub done: u64,
    /// Images times views.
    pub total: u64,
}

/// How an extraction ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Extraction {
    /// All shards are there.
    Finished {
        /// The shards.
        files: FeatureFiles,
        /// Images (times views) that this call computed; 0 where all were there.
        computed: u64,
        /// Why files were computed again, each with its name.
        replaced: Vec<String>,
    },
    /// A stop was asked for; the next call goes on after the last finished shard.
    Stopped,
}

/// Computes the features of every image of `loader` in evaluation mode, but for those whose shards are
/// there. Images are decoded ahead by the loader's threads while the network computes.
///
/// `loader` must be sequential and keep its last batch; with a random transform its epoch `v` makes view `v`.
/// Its batch size changes nothing but speed. `params` holds the whole state of `network`.
///
/// # Shapes
/// The features of a batch must be (batch, feature_dim).
///
/// # Errors
/// A `meta` that isn't of this loader; another process at work in the folder; a file that can't be used, with
/// [`Damaged::Refuse`]; an image that can't be read; a feature that isn't finite (or beyond what f16 holds);
/// an encoder that changed on the way.
pub fn extract(
    network: &dyn Backbone,
    params: &ParamStore,
    loader: &Loader,
    meta: &FeatureMeta,
    config: &ExtractConfig,
    progress: &mut dyn FnMut(ExtractProgress),
    stop: &StopFlag,
) -> Result<Extraction> {
    check_covers(loader)?;
    let key = "meta";
    if FeatureMeta::new(meta.source.clone(), loader)? != *meta {
        let reason = "it is not that of the loader: make it with `FeatureMeta::new`".to_string();
        return Err(Error::Config { key, reason });
    }
    if config.images_per_shard == 0 {
        let (key, reason) = ("images_per_shard", "expected at least 1, got 0".to_string());
        return Err(Error::Config { key, reason });
    }
    let folder = config.cache.join(meta.key()?);
    std::fs::create_dir_all(&folder).map_err(Error::io(&folder, "make the folder"))?;
    let _lock = lock(&folder)?;
    let encoder = encoder_hash(params)?;
    let per_shard = config.images_per_shard as u64;
    let mut work = Work {
        network: Encoder::new(network, loader, meta.source.dtype, config.activations)?,
        params,
        loader,
        template: Header {
            meta: meta.clone(),
            encoder_before: encoder.clone(),
            encoder_after: encoder,
            view: 0,
            first: 0,
            images: per_shard.min(meta.images),
            feature_dim: network.feature_dim() as u64,
        },
        folder,
        per_shard,
        done: 0,
        progress,
        stop,
    };
    work.run(config.damaged)
}

struct Work<'a> {
    network: Encoder<'a>,
    params: &'a ParamStore,
    loader: &'a Loader,
    /// The header of the first shard, of which the others' follow.
    template: Header,
    folder: PathBuf,
    per_shard: u64,
    done: u64,
    progress: &'a mut dyn FnMut(ExtractProgress),
    stop: &'a StopFlag,
}

impl Work<'_> {
    fn run(&mut self, damaged: Damaged) -> Result<Extraction> {
        let (views, images) = (self.template.meta.source.views, self.template.meta.images);
        let mut replaced = Vec::new();
        let mut missing = Vec::new();
        for view in 0..views {
            for number in 0..images.div_ceil(self.per_shard) {
                match self.is_there(view, number) {
                    Ok(true) => self.done += self.template.at(view, number, self.per_shard).images,
                    Ok(false) => missing.push((view, number)),
                    Err(error) if damaged == Damaged::Refuse => return Err(error),
                    Err(error) => {
                        replaced.push(error.to_string());
                        missing.push((view, number));
                    }
                }
            }
        }
        let there = self.done;
        self.report();
        for (view, shards) in runs(&missing) {
            if !self.compute(view, shards)? {
                return Ok(Extraction::Stopped);
            }
        }
        Ok(Extraction::Finished {
            files: FeatureFiles::open(&self.folder, Some(&self.template.meta))?,
            computed: self.done - there,
            replaced,
        })
    }

    fn report(&mut self) {
        let Header { meta, .. } = &self.template;
        let total = meta.images * u64::from(meta.source.views);
        (self.progress)(ExtractProgress {
            done: self.done,
            total,
        });
    }

    /// Whether a shard is there and whole; an error where it is neither that nor absent.
    fn is_there(&self, view: u32, number: u64) -> Result<bool> {
        let path = shard_file(&self.folder, view, number);
        match path.try_exists() {
            Ok(false) => Ok(false),
            Ok(true) => {
                let wanted = self.template.at(view, number, self.per_shard);
                read_as(&path, &wanted)?;
                Ok(true)
            }
            Err(cause) => Err(Error::io(&path, "look for it")(cause)),
        }
    }

    /// Computes consecutive shards; `false` where a stop was asked for.
    fn compute(&mut self, view: u32, shards: Range<u64>) -> Result<bool> {
        let images = self.template.meta.images;
        let first = shards.start * self.per_shard;
        let per_batch = self.loader.config().images_per_batch as u64;
        // The batches begin where they would in a whole epoch; what comes before `first` is dropped.
        let mut before = (first % per_batch) as usize;
        let mut batches = self.loader.epoch(view.into(), (first / per_batch) as usize);
        let mut rows = Features::none(self.template.feature_dim as usize);
        for number in shards {
            let header = self.template.at(view, number, self.per_shard);
            while (rows.labels.len() as u64) < header.images {
                if self.stop.is_set() {
                    return Ok(false);
                }
                let Some(batch) = batches.next().transpose()? else {
                    return Err(Error::refused(format!(
                        "the loader ended before image {images}"
                    )));
                };
                let values = self.network.features(&batch)?;
                rows.values.extend(&values[before * rows.dim..]);
                rows.labels.extend(&batch.labels[before..]);
                rows.indices.extend(&batch.indices[before..]);
                before = 0;
            }
            let rest = rows.split_off(header.images as usize);
            self.write(number, header, &rows)?;
            rows = rest;
        }
        Ok(true)
    }

    fn write(&mut self, number: u64, header: Header, rows: &Features) -> Result<()> {
        let path = shard_file(&self.folder, header.view, number);
        let after = encoder_hash(self.params)?;
        if after != header.encoder_before {
            return Err(unusable(&path)(format!(
                "the encoder changed while it computed them (hash {} before, {after} after), so it is \
                 not frozen",
                header.encoder_before
            )));
        }
        let bytes = shard::encode(rows, &header).map_err(unusable(&path))?;
        write_atomically(&Disk, &path, &bytes)?;
        self.done += header.images;
        self.report();
        Ok(())
    }
}

/// Consecutive shards of a view, together.
fn runs(shards: &[(u32, u64)]) -> Vec<(u32, Range<u64>)> {
    let mut runs: Vec<(u32, Range<u64>)> = Vec::new();
    for &(view, number) in shards {
        match runs.last_mut() {
            Some((of, range)) if *of == view && range.end == number => range.end += 1,
            _ => runs.push((view, number..number + 1)),
        }
    }
    runs
}
