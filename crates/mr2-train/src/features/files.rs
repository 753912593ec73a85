//! The finished shards of one extraction, read back.

use std::path::{Path, PathBuf};

use super::meta::FeatureMeta;
use super::shard::{self, Features, Header};
use crate::error::{Error, Result};
use crate::run_folder::{Disk, write_atomically};

/// A folder of feature files that are all there.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureFiles {
    folder: PathBuf,
    /// The header of the first shard; the others differ in view and place only.
    first: Box<Header>,
}

/// The file of a shard of a view, both counted from 0.
pub(super) fn shard_file(folder: &Path, view: u32, number: u64) -> PathBuf {
    folder.join(format!("view-{view:03}-shard-{number:05}.safetensors"))
}

impl FeatureFiles {
    /// Opens a folder that `extract` has finished. Shards are checked when they are read.
    ///
    /// # Errors
    /// A folder with no first shard or a damaged one, or without any of the others; where `expected` is
    /// given, features of anything else, with the fields that differ.
    pub fn open(folder: &Path, expected: Option<&FeatureMeta>) -> Result<Self> {
        let path = shard_file(folder, 0, 0);
        let (_, first) = shard::read(&path).map_err(unusable(&path))?;
        if let Some(expected) = expected.filter(|expected| **expected != first.meta) {
            return Err(unusable(&path)(expected.differences(&first.meta)));
        }
        if (first.view, first.first) != (0, 0) || (first.images == 0 && first.meta.images > 0) {
            return Err(unusable(&path)("it is not the first shard".into()));
        }
        let folder = folder.to_path_buf();
        let first = Box::new(first);
        let files = Self { folder, first };
        for view in 0..files.views() {
            for number in 0..files.shards() {
                let path = shard_file(&files.folder, view, number);
                if !path.is_file() {
                    let reason = "it is missing: the extraction is not finished";
                    return Err(unusable(&path)(reason.into()));
                }
            }
        }
        Ok(files)
    }

    /// What the numbers come from.
    pub fn meta(&self) -> &FeatureMeta {
        &self.first.meta
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// `encoder_hash` of the network that made the features.
    pub fn encoder(&self) -> &str {
        &self.first.encoder_before
    }

    /// The length of a feature.
    pub fn feature_dim(&self) -> usize {
        self.first.feature_dim as usize
    }

    /// Times that each image was taken.
    pub fn views(&self) -> u32 {
        self.first.meta.source.views
    }

    /// Shards of each view.
    pub fn shards(&self) -> u64 {
        self.first.meta.images.div_ceil(self.first.images.max(1))
    }

    /// The features of one shard of a view, both counted from 0.
    ///
    /// # Errors
    /// A file that is missing, damaged, or doesn't belong to the others.
    pub fn read_shard(&self, view: u32, number: u64) -> Result<Features> {
        let path = shard_file(&self.folder, view, number);
        let wanted = self.first.at(view, number, self.first.images);
        read_as(&path, &wanted)
    }

    /// All features of a view, counted from 0: (images, feature_dim) in order.
    ///
    /// # Errors
    /// As [`FeatureFiles::read_shard`].
    pub fn read(&self, view: u32) -> Result<Features> {
        let mut all = Features::none(self.feature_dim());
        for number in 0..self.shards() {
            let shard = self.read_shard(view, number)?;
            if number == 0 {
                // Every shard has a file, so this is no more than the files pay for.
                let shards = self.shards() as usize;
                all.values
                    .reserve_exact(shard.values.len().saturating_mul(shards));
            }
            all.values.extend(shard.values);
            all.labels.extend(shard.labels);
            all.indices.extend(shard.indices);
        }
        Ok(all)
    }

    /// Writes all features of a view, counted from 0, into one file, which [`load`] reads: `features` (images, feature_dim),
    /// `labels`, `indices`, and the header of a shard.
    ///
    /// # Errors
    /// As [`FeatureFiles::read_shard`]; a file that can't be written.
    pub fn save(&self, view: u32, path: &Path) -> Result<()> {
        let header = self.first.at(view, 0, self.first.meta.images);
        let bytes = shard::encode(&self.read(view)?, &header).map_err(unusable(path))?;
        write_atomically(&Disk, path, &bytes)
    }
}

/// The features of a file that [`FeatureFiles::save`] wrote, and what they come from.
///
/// # Errors
/// A file that is missing, damaged, or not of that kind.
pub fn load(path: &Path) -> Result<(Features, FeatureMeta)> {
    let (features, header) = shard::read(path).map_err(unusable(path))?;
    Ok((features, header.meta))
}

impl Header {
    /// The header of another shard of the same extraction, `per_shard` images in each but the last.
    pub(super) fn at(&self, view: u32, number: u64, per_shard: u64) -> Self {
        let first = number.saturating_mul(per_shard);
        Self {
            view,
            first,
            images: per_shard.min(self.meta.images.saturating_sub(first)),
            ..self.clone()
        }
    }

    /// What differs from `wanted`.
    fn differences(&self, wanted: &Self) -> Option<String> {
        if self == wanted {
            return None;
        }
        let meta = wanted.meta.differences(&self.meta);
        if !meta.is_empty() {
            return Some(meta);
        }
        let encoders = |header: &Self| {
            let (before, after) = (header.encoder_before.clone(), header.encoder_after.clone());
            (before, after)
        };
        if encoders(self) != encoders(wanted) {
            return Some(format!(
                "it was made by another network: encoder hash {}, expected {}",
                self.encoder_before, wanted.encoder_before
            ));
        }
        let place = |header: &Self| {
            format!(
                "view {}, {} images from {} on, {} numbers each",
                header.view, header.images, header.first, header.feature_dim
            )
        };
        Some(format!(
            "it holds {}, expected {}",
            place(self),
            place(wanted)
        ))
    }
}

/// The features of a file whose header must be `wanted`.
pub(super) fn read_as(path: &Path, wanted: &Header) -> Result<Features> {
    let (features, header) = shard::read(path).map_err(unusable(path))?;
    match header.differences(wanted) {
        None => Ok(features),
        Some(difference) => Err(unusable(path)(difference)),
    }
}

pub(super) fn unusable(path: &Path) -> impl FnOnce(String) -> Error {
    let path = path.to_path_buf();
    move |reason| Error::Features { path, reason }
}
