//! The readers, one per file. Each takes bytes that may be damaged or hostile: sizes are checked
//! before memory is taken, and every failure is an error that names the file.

pub(crate) mod cifar_binary;
pub(crate) mod cifar_c;
pub(crate) mod cifar_pickle;
pub(crate) mod hub_parquet;
pub(crate) mod idx;
pub(crate) mod image_folder;
pub(crate) mod label_file;
pub(crate) mod npy;
pub(crate) mod parquet_pages;
pub(crate) mod pickled_array;

use crate::error::{Error, Result};
use crate::source::Source;
use std::path::{Path, PathBuf};

/// What a reader finds: images and labels of one split, in file order.
pub(crate) struct Part {
    /// The file (or the first of several), for messages.
    pub path: PathBuf,
    pub labels: Vec<u32>,
    pub source: Source,
}

/// The labels as class indices.
pub(crate) fn class_labels(path: &Path, labels: &[i64], classes: usize) -> Result<Vec<u32>> {
    let of_image = |(index, &label): (usize, &i64)| match u32::try_from(label) {
        Ok(class) if (class as usize) < classes => Ok(class),
        _ => Err(Error::LabelRange {
            path: path.to_path_buf(),
            index,
            label,
            classes,
        }),
    };
    labels.iter().enumerate().map(of_image).collect()
}

/// Appends planes (channel, height, width) as interleaved pixels (height, width, channel).
pub(crate) fn interleave_planes(planes: &[u8], pixels: &mut Vec<u8>) {
    let area = planes.len() / 3;
    let (red, rest) = planes.split_at(area);
    let (green, blue) = rest.split_at(area);
    pixels.extend((0..area).flat_map(|i| [red[i], green[i], blue[i]]));
}
