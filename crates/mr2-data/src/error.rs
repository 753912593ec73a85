//! What can go wrong between a file and a batch. Every message names the file or field, what was
//! expected, what was found and what to do about it.

use std::path::{Path, PathBuf};

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No layout of the data set is present.
    #[error(
        "data set {name}: no layout of it is complete under {}. Looked for: {looked_for}. \
         Get it from {source_url} and put it there",
        root.display()
    )]
    NotFound {
        /// Name of the data set.
        name: String,
        /// The folder that was searched.
        root: PathBuf,
        /// The first missing file of each layout.
        looked_for: String,
        /// Where the data set can be had.
        source_url: String,
    },
    /// A file or folder cannot be read.
    #[error("{}: cannot be read: {cause}. Check that it exists and is readable", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said; in the message already, so not a source that would show it again.
        cause: std::io::Error,
    },
    /// The checksum differs from the descriptor's.
    #[error(
        "{}: {kind} is {found}, expected {expected}. The file is damaged or another version: \
         get it again, or correct `checksums` in the descriptor",
        path.display()
    )]
    Checksum {
        /// The file.
        path: PathBuf,
        /// Which sum was compared.
        kind: &'static str,
        /// The descriptor's sum.
        expected: String,
        /// The sum of the file.
        found: String,
    },
    /// A file holds, or claims to unpack to, more than this crate reads into memory.
    #[error(
        "{}: {what} is at least {bytes} bytes, over the limit of {limit}. The file is damaged, \
         hostile or not of this data set",
        path.display()
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The part that is too large.
        what: &'static str,
        /// The size found or claimed.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// A file ends too early.
    #[error(
        "{}: ends after {found} bytes, expected {expected}. The file is incomplete: get it again",
        path.display()
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// The size that the header or the format asks for.
        expected: u64,
        /// The size found.
        found: u64,
    },
    /// A file goes on after its last record.
    #[error(
        "{}: goes on after the expected {expected} bytes. The file is damaged or of another \
         format: get it again",
        path.display()
    )]
    TrailingBytes {
        /// The file.
        path: PathBuf,
        /// The size that the header or the format asks for.
        expected: u64,
    },
    /// The first bytes are not those of the format.
    #[error(
        "{}: magic number is {found:#010x}, expected {expected:#010x}. Is this the right file, \
         images where images are expected and labels where labels are?",
        path.display()
    )]
    BadMagic {
        /// The file.
        path: PathBuf,
        /// The format's magic number.
        expected: u32,
        /// The magic number found.
        found: u32,
    },
    /// A compressed file or an archive cannot be unpacked.
    #[error("{}: cannot be unpacked: {reason}. The file is damaged: get it again", path.display())]
    Unpack {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Images of another size than the descriptor's.
    #[error(
        "{}: image is {found} (height x width), expected {expected}. Correct `height` and \
         `width` in the descriptor, or use the right file",
        path.display()
    )]
    ImageSize {
        /// The file.
        path: PathBuf,
        /// The descriptor's size.
        expected: String,
        /// The size found.
        found: String,
    },
    /// Another number of images or labels than expected.
    #[error(
        "{}: holds {found} {what}, expected {expected} ({why}). Use files of one and the same \
         version of the data set",
        path.display()
    )]
    Count {
        /// The file.
        path: PathBuf,
        /// What was counted.
        what: &'static str,
        /// Where the expectation comes from.
        why: &'static str,
        /// The number expected.
        expected: usize,
        /// The number found.
        found: usize,
    },
    /// A label that is not a class.
    #[error(
        "{}: label of image {index} is {label}, expected 0 to {}. The file is damaged, or \
         `classes` in the descriptor is too short",
        path.display(),
        *classes as i64 - 1
    )]
    LabelRange {
        /// The file.
        path: PathBuf,
        /// Which image of the file.
        index: usize,
        /// The label found.
        label: i64,
        /// The number of classes.
        classes: usize,
    },
    /// The training labels are not in the order of the original release.
    #[error(
        "data set {name}: MD5 of the training labels is {found}, expected {expected} \
         (`label_order_md5`). The images are in another order than in the original release, so \
         indices and seeds would not compare: use an unmodified copy"
    )]
    LabelOrder {
        /// Name of the data set.
        name: String,
        /// The descriptor's fingerprint.
        expected: String,
        /// The fingerprint found.
        found: String,
    },
    /// A Python pickle is damaged or holds something that is not read here.
    #[error(
        "{}: pickle: {reason} (at byte {offset}). Expected a batch file of CIFAR, or the \
         labels of CIFAR-N, as their authors released it",
        path.display()
    )]
    Pickle {
        /// The file.
        path: PathBuf,
        /// Where in the file.
        offset: usize,
        /// What is wrong.
        reason: String,
    },
    /// A NumPy array file is damaged or not of the kind expected.
    #[error("{}: NumPy array: {reason}", path.display())]
    Npy {
        /// The file.
        path: PathBuf,
        /// What is wrong and what was expected.
        reason: String,
    },
    /// A file of labels that cannot be used.
    #[error("{}: labels: {reason}", path.display())]
    Labels {
        /// The file.
        path: PathBuf,
        /// What is wrong and what was expected.
        reason: String,
    },
    /// A parquet file is damaged or lacks a column.
    #[error("{}: parquet: {reason}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What is wrong and what was expected.
        reason: String,
    },
    /// An image cannot be decoded.
    #[error(
        "{}: cannot be decoded as an image: {reason}. Remove or replace the file",
        path.display()
    )]
    Decode {
        /// The file, or the file and the row in it.
        path: PathBuf,
        /// What the decoder said.
        reason: String,
    },
    /// A folder of class folders that is not laid out as expected.
    #[error("{}: {reason}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is wrong and what was expected.
        reason: String,
    },
    /// A descriptor that contradicts itself.
    #[error("descriptor of {name}: `{field}`: {reason}")]
    Descriptor {
        /// Name of the data set.
        name: String,
        /// The key.
        field: &'static str,
        /// What is wrong and what was expected.
        reason: String,
    },
    /// A class has too few images for what was asked.
    #[error(
        "{set}: class {class} has {found} images, but `{field}` needs at least {needed}. Lower \
         `{field}` or leave the class out"
    )]
    ClassTooSmall {
        /// Name of the image set.
        set: String,
        /// Name of the class.
        class: String,
        /// Its number of images.
        found: usize,
        /// The number needed.
        needed: usize,
        /// The key that asks for it.
        field: &'static str,
    },
    /// A class has too few images that differ to be in every part.
    #[error(
        "{set}: class {class} has {found} different images, expected at least {needed}, one for each \
         part. Add images to it, leave the class out, or make the parts yourself: folders `train`, \
         `val` and `test` with class folders in each"
    )]
    FewDistinctImages {
        /// Name of the image set.
        set: String,
        /// Name of the class.
        class: String,
        /// Its number of images, copies and images of other classes not counted.
        found: usize,
        /// The number needed.
        needed: usize,
    },
    /// A setting that cannot work.
    #[error("`{field}`: {reason}")]
    Config {
        /// The key.
        field: &'static str,
        /// What is wrong and what was expected.
        reason: String,
    },
    /// A transform that cannot be applied to an image.
    #[error("{image}: {transform}: {reason}")]
    Transform {
        /// The image.
        image: String,
        /// The transform.
        transform: &'static str,
        /// What is wrong and how to avoid it.
        reason: String,
    },
    /// The images of a batch come out of the pipeline in different sizes.
    #[error(
        "{image}: is {found} (channels, height, width) after the transforms, but the batch began \
         with {expected}. End the pipeline with a crop or a resize to one size"
    )]
    BatchShape {
        /// The image that differs.
        image: String,
        /// The shape of the batch's first image.
        expected: String,
        /// The shape of this one.
        found: String,
    },
    /// An index beyond the end of a set.
    #[error("{set}: image {index} asked for, but it has {len}")]
    Index {
        /// Name of the image set.
        set: String,
        /// The index asked for.
        index: usize,
        /// The number of images.
        len: usize,
    },
    /// A thread of the loader ended without a result.
    #[error("a loader thread {0}")]
    Worker(String),
    /// Candle could not make or move a tensor.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

impl Error {
    pub(crate) fn io(path: &Path, cause: std::io::Error) -> Self {
        Error::Io {
            path: path.to_path_buf(),
            cause,
        }
    }

    pub(crate) fn config(field: &'static str, reason: impl Into<String>) -> Self {
        Error::Config {
            field,
            reason: reason.into(),
        }
    }

    pub(crate) fn unpack(path: &Path, reason: impl ToString) -> Self {
        Error::Unpack {
            path: path.to_path_buf(),
            reason: reason.to_string(),
        }
    }

    pub(crate) fn npy(path: &Path, reason: impl Into<String>) -> Self {
        Error::Npy {
            path: path.to_path_buf(),
            reason: reason.into(),
        }
    }

    pub(crate) fn parquet(path: &Path, reason: impl Into<String>) -> Self {
        Error::Parquet {
            path: path.to_path_buf(),
            reason: reason.into(),
        }
    }

    pub(crate) fn folder(path: &Path, reason: impl Into<String>) -> Self {
        Error::Folder {
            path: path.to_path_buf(),
            reason: reason.into(),
        }
    }

    pub(crate) fn decode(path: &Path, reason: impl ToString) -> Self {
        Error::Decode {
            path: path.to_path_buf(),
            reason: reason.to_string(),
        }
    }
}
