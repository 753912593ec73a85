//! Variants of a data set: fewer or long-tailed training images, noisy training labels, fewer test
//! images. Each is a pure function of a set, its settings and its own seed.
//!
//! [`DataSplits::with_variants`] applies them in the only order that keeps evaluation clean: the
//! validation part is carved from the full training images before anything here happens, then
//! training images are chosen, then their labels replaced. Validation and test labels stay as given.

mod images;
mod labels;
mod long_tail;
mod noise;

pub use images::{TestImages, TrainingImages};
pub use labels::TrainingLabels;

use crate::error::Result;
use crate::files::ReadFile;
use crate::open::DataSplits;
use std::path::Path;
use std::sync::Arc;

impl DataSplits {
    /// The splits with `images` of the training part under `labels`, and `test_images` of the test part;
    /// validation is left as it is. Files that they name are looked for in `folder`, that of the data set.
    ///
    /// # Errors
    /// Settings out of range or that do not fit the set, and a label file that cannot be used.
    pub fn with_variants(
        self,
        images: &TrainingImages,
        labels: &TrainingLabels,
        test_images: &TestImages,
        folder: &Path,
    ) -> Result<Self> {
        let train = labels.apply(&images.apply(&self.train)?, folder)?;
        let test = test_images.apply(&self.test, folder)?;
        let read = labels.file().map(Path::to_path_buf).into_iter();
        let read = read.chain(test_images.files()).map(|path| ReadFile {
            file: path.display().to_string(),
            checksum: None,
        });
        Ok(DataSplits {
            train: Arc::new(train),
            test: Arc::new(test),
            validation: self.validation,
            files: self.files.into_iter().chain(read).collect(),
        })
    }
}
