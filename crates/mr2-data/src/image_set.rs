//! Labelled images of one split, in memory or in files, in a fixed order.

use crate::decode;
use crate::error::{Error, Result};
use crate::source::{Image, Source};
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Which part of a data set. Selection of anything reads `Validation`, never `Test`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// What the model is trained on.
    Train,
    /// What settings and epochs are selected on.
    Validation,
    /// What is measured once, at the end.
    Test,
}

/// Labelled images of one split. Cloning and [`ImageSet::subset`] share the pixels.
#[derive(Debug, Clone)]
pub struct ImageSet {
    name: String,
    split: Split,
    classes: Arc<[String]>,
    labels: Vec<u32>,
    rows: Vec<u32>,
    source: Arc<Source>,
}

impl ImageSet {
    /// Joins images, labels and class names.
    ///
    /// # Errors
    /// Different numbers of images and labels, a label that is not a class, channels other than 1
    /// or 3, or pixels that are not whole images.
    pub fn new(
        name: &str,
        split: Split,
        classes: Vec<String>,
        labels: Vec<u32>,
        source: Source,
    ) -> Result<Self> {
        source.check(name)?;
        if u32::try_from(source.len()).is_err() {
            let reason = format!("{name}: {} images, over 2^32 - 1", source.len());
            return Err(Error::config("images", reason));
        }
        check_labels(name, &labels, source.len(), classes.len())?;
        let rows = (0..labels.len() as u32).collect();
        let (name, classes, source) = (name.to_string(), classes.into(), Arc::new(source));
        Ok(ImageSet {
            name,
            split,
            classes,
            labels,
            rows,
            source,
        })
    }

    /// The images at `indices` of this set, in that order, as a set of their own for `split`.
    ///
    /// # Errors
    /// An index that this set does not have.
    pub fn subset(&self, split: Split, indices: &[u32]) -> Result<Self> {
        let (mut labels, mut rows) = (Vec::new(), Vec::new());
        for &index in indices {
            labels.push(self.label(index as usize)?);
            rows.push(self.rows[index as usize]);
        }
        Ok(ImageSet {
            split,
            labels,
            rows,
            ..self.clone()
        })
    }

    /// The same images under other labels.
    ///
    /// # Errors
    /// Another number of labels than images, or a label that is not a class.
    pub fn with_labels(&self, labels: Vec<u32>) -> Result<Self> {
        check_labels(&self.name, &labels, self.len(), self.classes.len())?;
        Ok(ImageSet {
            labels,
            ..self.clone()
        })
    }

    /// The same images with three channels: a grey one's are all equal, as Pillow's `convert("RGB")` makes them. What
    /// has three already shares its pixels.
    pub fn in_colour(&self) -> Self {
        let source = match &*self.source {
            source if source.channels() == 3 => return self.clone(),
            Source::Memory {
                pixels,
                height,
                width,
                ..
            } => Source::Memory {
                pixels: pixels.iter().flat_map(|&grey| [grey; 3]).collect(),
                height: *height,
                width: *width,
                channels: 3,
            },
            Source::Files { paths, .. } => Source::Files {
                paths: paths.clone(),
                channels: 3,
            },
            Source::Encoded { files, .. } => Source::Encoded {
                files: files.clone(),
                channels: 3,
            },
        };
        ImageSet {
            source: Arc::new(source),
            ..self.clone()
        }
    }

    /// Name of the data set.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which part of the data set this is.
    pub fn split(&self) -> Split {
        self.split
    }

    /// Names of the classes, by label.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The label of every image.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// True if there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// 1 for grey, 3 for RGB images.
    pub fn channels(&self) -> usize {
        self.source.channels()
    }

    /// (channels, height, width), where all images have one size.
    pub fn image_shape(&self) -> Option<[usize; 3]> {
        match &*self.source {
            Source::Memory {
                height,
                width,
                channels,
                ..
            } => Some([*channels, *height, *width]),
            Source::Files { .. } | Source::Encoded { .. } => None,
        }
    }

    /// Number of images of each class.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for &label in &self.labels {
            counts[label as usize] += 1;
        }
        counts
    }

    /// The indices of each class's images, by label.
    pub(crate) fn by_class(&self) -> Vec<Vec<u32>> {
        let mut by_class = vec![Vec::new(); self.classes.len()];
        for (index, &label) in self.labels.iter().enumerate() {
            by_class[label as usize].push(index as u32);
        }
        by_class
    }

    /// The position of each image in the source.
    pub(crate) fn rows(&self) -> &[u32] {
        &self.rows
    }

    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// Number of images of this part in the data set as released, of which this may be a subset.
    pub(crate) fn released_len(&self) -> usize {
        self.source.len()
    }

    /// Position of image `index` in the data set as released (differs from `index` in a subset).
    ///
    /// # Errors
    /// An index beyond the end.
    pub fn original_index(&self, index: usize) -> Result<u32> {
        self.rows
            .get(index)
            .copied()
            .ok_or_else(|| self.no_such(index))
    }

    /// The label of image `index`.
    ///
    /// # Errors
    /// An index beyond the end.
    pub fn label(&self, index: usize) -> Result<u32> {
        self.labels
            .get(index)
            .copied()
            .ok_or_else(|| self.no_such(index))
    }

    /// Image `index`, decoded if need be.
    ///
    /// # Errors
    /// An index beyond the end, or a file that cannot be read or decoded.
    pub fn image(&self, index: usize) -> Result<Image<'_>> {
        let row = self.original_index(index)? as usize;
        match &*self.source {
            Source::Memory {
                pixels,
                height,
                width,
                channels,
            } => {
                let size = height * width * channels;
                let pixels = Cow::Borrowed(&pixels[row * size..(row + 1) * size]);
                Ok(Image {
                    pixels,
                    height: *height,
                    width: *width,
                    channels: *channels,
                })
            }
            Source::Files { paths, channels } => decode::file(&paths[row], *channels),
            Source::Encoded { files, channels } => {
                decode::bytes(Path::new(&self.image_name(index)), &files[row], *channels)
            }
        }
    }

    /// What to call image `index` in a message: its file, or data set and position.
    pub fn image_name(&self, index: usize) -> String {
        match (self.rows.get(index), &*self.source) {
            (Some(&row), Source::Files { paths, .. }) => paths[row as usize].display().to_string(),
            (Some(&row), _) => format!("{} image {row}", self.name),
            (None, _) => format!("{} (no image {index})", self.name),
        }
    }

    fn no_such(&self, index: usize) -> Error {
        Error::Index {
            set: self.name.clone(),
            index,
            len: self.len(),
        }
    }
}

fn check_labels(name: &str, labels: &[u32], images: usize, classes: usize) -> Result<()> {
    if labels.len() != images {
        return Err(Error::Count {
            path: PathBuf::from(name),
            what: "labels",
            why: "one for each image",
            expected: images,
            found: labels.len(),
        });
    }
    match labels.iter().position(|&label| label as usize >= classes) {
        None => Ok(()),
        Some(index) => Err(Error::LabelRange {
            path: PathBuf::from(name),
            index,
            label: i64::from(labels[index]),
            classes,
        }),
    }
}
