//! What a data set is: classes, pixel statistics, files and their checksums. The files in
//! `datasets/` are written in these terms.

use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// A data set: everything that is needed to read it and to know what was read.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Descriptor {
    /// Name of the data set.
    pub name: String,
    /// One line about it.
    pub summary: String,
    /// Where it can be had.
    pub source: String,
    /// Its licence, or what is known of it.
    pub licence: String,
    /// Names of the classes, by label. Empty for an image folder: the names of its folders, sorted.
    pub classes: Vec<String>,
    /// 1 (grey) or 3 (RGB).
    pub channels: usize,
    /// Rows of every image, where all have one size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<usize>,
    /// Columns of every image, where all have one size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<usize>,
    /// Mean of each channel over the training images, pixels in 0..=1; empty where not known. Nothing
    /// is computed with it: it is there to be written into a run's `normalize`, as `std` is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mean: Vec<f64>,
    /// Standard deviation of each channel over the training images, pixels in 0..=1; empty where not
    /// known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub std: Vec<f64>,
    /// Number of training images, where it is fixed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_images: Option<usize>,
    /// Number of test images, where it is fixed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_images: Option<usize>,
    /// MD5 of the training labels as bytes (so of at most 256 classes), in the order of the original
    /// release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_order_md5: Option<String>,
    /// The forms in which the data set is found on disk; the first that is complete is read.
    pub layouts: Vec<Layout>,
    /// Checksums by path below the root folder. Files that are not listed are not compared.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub checksums: BTreeMap<String, Checksum>,
}

/// A form in which a data set is found on disk. Paths are relative to the root folder.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Layout {
    /// Four IDX files, as MNIST's. Each may also be there with `.gz` appended.
    Idx {
        /// Training images (magic number 2051).
        train_images: String,
        /// Training labels (magic number 2049).
        train_labels: String,
        /// Test images.
        test_images: String,
        /// Test labels.
        test_labels: String,
    },
    /// CIFAR's binary files: records of labels, then the planes R, G, B.
    CifarBinary {
        /// Labels before each image: 1 for CIFAR-10; 2 for CIFAR-100 (coarse, fine). The last
        /// is read.
        labels_per_record: usize,
        /// Training files, in order.
        train: Vec<String>,
        /// Test files, in order.
        test: Vec<String>,
    },
    /// CIFAR's pickled batches.
    CifarPickle {
        /// The `.tar.gz` that holds the files, if it is not unpacked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        archive: Option<String>,
        /// Key of the labels: `labels` or `fine_labels`.
        label_key: String,
        /// Training files, in order.
        train: Vec<String>,
        /// Test files, in order.
        test: Vec<String>,
    },
    /// Parquet files as on the Hugging Face Hub: an image column of structs {bytes, path} and an
    /// integer label column.
    HubParquet {
        /// Name of the image column.
        image_column: String,
        /// Name of the label column.
        label_column: String,
        /// Training files, in order.
        train: Vec<String>,
        /// Test files, in order.
        test: Vec<String>,
    },
    /// A folder for each split, and in it a folder of image files for each class.
    ImageFolder {
        /// Folder of the training images.
        train: String,
        /// Folder of the validation images, if the data set has any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        validation: Option<String>,
        /// Folder of the test images.
        test: String,
    },
}

/// A checksum, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Checksum {
    /// SHA-256 of the file.
    Sha256(String),
    /// MD5 of the file.
    Md5(String),
    /// SHA-256 of what an IDX file holds when unpacked: the same for `x` and for every `x.gz`. Listed
    /// under the name without `.gz`.
    ContentSha256(String),
}

impl Layout {
    /// The files that it reads (an archive, not what is in it), or the folders of an image folder.
    pub(crate) fn entries(&self) -> Vec<&String> {
        match self {
            Layout::Idx {
                train_images,
                train_labels,
                test_images,
                test_labels,
            } => vec![train_images, train_labels, test_images, test_labels],
            Layout::CifarPickle {
                archive: Some(archive),
                ..
            } => vec![archive],
            Layout::CifarBinary { train, test, .. }
            | Layout::CifarPickle { train, test, .. }
            | Layout::HubParquet { train, test, .. } => train.iter().chain(test).collect(),
            Layout::ImageFolder {
                train,
                validation,
                test,
            } => [train]
                .into_iter()
                .chain(validation)
                .chain([test])
                .collect(),
        }
    }

    /// Whether it compares the file `name` with a checksum of this kind.
    fn compares(&self, name: &str, checksum: &Checksum) -> bool {
        let plain = |name: &str| name.strip_suffix(".gz").unwrap_or(name).to_string();
        let mut entries = self.entries().into_iter();
        match (self, checksum) {
            (Layout::ImageFolder { .. }, _) => false,
            (Layout::Idx { .. }, Checksum::ContentSha256(_)) => {
                entries.any(|entry| plain(entry) == name)
            }
            (Layout::Idx { .. }, _) => entries.any(|entry| plain(entry) == plain(name)),
            (_, Checksum::ContentSha256(_)) => false,
            _ => entries.any(|entry| entry == name),
        }
    }
}

impl Descriptor {
    /// The fixed size (height, width) of the images, if there is one.
    pub fn image_size(&self) -> Option<(usize, usize)> {
        self.height.zip(self.width)
    }

    /// Checks the descriptor against itself; touches no file.
    ///
    /// # Errors
    /// Names the key that is wrong.
    pub fn validate(&self) -> Result<()> {
        let fail = |field, reason: String| {
            Err(Error::Descriptor {
                name: self.name.clone(),
                field,
                reason,
            })
        };
        if !matches!(self.channels, 1 | 3) {
            return fail(
                "channels",
                format!("expected 1 or 3, got {}", self.channels),
            );
        }
        for (field, values) in [("mean", &self.mean), ("std", &self.std)] {
            let fits = values.is_empty() || values.len() == self.channels;
            if !fits || values.iter().any(|v| !v.is_finite()) {
                let reason = format!("expected {} finite numbers, got {values:?}", self.channels);
                return fail(field, reason);
            }
        }
        if self.std.iter().any(|&std| std <= 0.0) {
            return fail(
                "std",
                format!("expected numbers above 0, got {:?}", self.std),
            );
        }
        if self.height.is_some() != self.width.is_some() {
            return fail(
                "height",
                "give both `height` and `width`, or neither".to_string(),
            );
        }
        if let Some((height, width)) = self.image_size()
            && (height == 0 || width == 0 || height > MAX_SIDE || width > MAX_SIDE)
        {
            let reason = format!("expected sides of 1 to {MAX_SIDE}, got {height} x {width}");
            return fail("height", reason);
        }
        if self.layouts.is_empty() {
            return fail("layouts", "expected at least one".to_string());
        }
        let mut sorted: Vec<_> = self.classes.iter().collect();
        sorted.sort();
        if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return fail("classes", format!("{:?} is there twice", twice[0]));
        }
        let compared = |(name, sum): &(&String, &Checksum)| {
            self.layouts.iter().any(|layout| layout.compares(name, sum))
        };
        if let Some((name, _)) = self.checksums.iter().find(|listed| !compared(listed)) {
            let reason = format!(
                "no layout compares {name:?} with a sum of this kind. `md5` and `sha256` are of a file \
                 that a layout names; `content_sha256` is of an IDX file, listed without `.gz`; the \
                 images of a folder have none"
            );
            return fail("checksums", reason);
        }
        self.layouts
            .iter()
            .try_for_each(|layout| self.validate_layout(layout))
    }

    fn validate_layout(&self, layout: &Layout) -> Result<()> {
        let fail = |field, reason: String| {
            Err(Error::Descriptor {
                name: self.name.clone(),
                field,
                reason,
            })
        };
        if self.classes.is_empty() && !matches!(layout, Layout::ImageFolder { .. }) {
            return fail("classes", "only an image folder can do without".to_string());
        }
        match layout {
            Layout::Idx { .. } if self.image_size().is_none() || self.channels != 1 => fail(
                "height",
                "IDX needs `height`, `width` and 1 channel".to_string(),
            ),
            Layout::CifarBinary { .. } | Layout::CifarPickle { .. }
                if self.image_size().is_none() || self.channels != 3 =>
            {
                fail(
                    "height",
                    "CIFAR needs `height`, `width` and 3 channels".to_string(),
                )
            }
            Layout::CifarBinary {
                labels_per_record, ..
            } if !matches!(labels_per_record, 1 | 2) => fail(
                "labels_per_record",
                format!("expected 1 or 2, got {labels_per_record}"),
            ),
            _ => Ok(()),
        }
    }
}

/// The largest side of an image that is read.
pub(crate) const MAX_SIDE: usize = 32_768;
