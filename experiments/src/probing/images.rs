//! The images of a probe: a folder of class folders, or a data set with a descriptor.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use mr2_data::{
    BadImages, DataSplits, Fingerprint, ImageSet, Origin, Split, ValidationConfig, carve, open,
    open_class_folders,
};
use serde::Serialize;

use crate::assemble::{descriptor, not_opened};

/// Of a data set without validation images, one in so many of the smallest class's training images is held out, and as
/// many of every other class.
const HELD_OUT: usize = 10;
/// Seed of that draw.
const HELD_OUT_SEED: u64 = 0;

/// Training, validation and test images, all in colour.
#[derive(Debug)]
pub struct Images {
    /// Name in tables.
    pub name: String,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// What classifiers are fitted to.
    pub train: Arc<ImageSet>,
    /// What settings are chosen by.
    pub validation: Arc<ImageSet>,
    /// What is measured once.
    pub test: Arc<ImageSet>,
    /// Where the parts come from, for the report.
    pub provenance: Provenance,
    /// What [`Images::fingerprint`] has computed: every backbone asks for it.
    fingerprints: RefCell<Vec<(Split, Fingerprint, String)>>,
}

/// Where parts come from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Provenance {
    /// The folder or the data set.
    pub source: String,
    /// How many images there are for training, validation and test.
    pub images: [usize; 3],
    /// How the parts came about, in words.
    pub division: String,
    /// Files that couldn't be decoded and were left out, with the reason.
    pub skipped: Vec<String>,
}

impl Images {
    /// A plain folder of class folders, or of `train`, `val` and `test` folders of those.
    ///
    /// # Errors
    /// Names the folder, class or file that is wrong.
    pub fn from_folder(folder: &Path, bad: BadImages) -> Result<Self> {
        let name = folder.canonicalize().ok();
        let name = name.as_deref().and_then(Path::file_name);
        let name = name.map_or_else(
            || folder.display().to_string(),
            |n| n.to_string_lossy().into(),
        );
        let found = open_class_folders(folder, &name, 3, bad, rayon::current_num_threads())?;
        let division = match (found.validation, found.test) {
            (Origin::Provided, Origin::Provided) => "as the folders say",
            (Origin::Made, Origin::Made) => {
                "70/10/20 % of each class by SHA-256 of the images' content"
            }
            (Origin::Made, Origin::Provided) => {
                "test as the folders say; validation is an eighth of the training images of each class, by SHA-256 of \
                 their content"
            }
            (Origin::Provided, Origin::Made) => {
                "validation as the folders say; the test is 2/9 of the training images of each class, by SHA-256 of \
                 their content"
            }
        };
        let skipped = found.skipped.iter().map(|skipped| skipped.reason.clone());
        let skipped = skipped.collect();
        Self::new(
            name,
            folder.display().to_string(),
            found.splits,
            division,
            skipped,
        )
    }

    /// A data set with a descriptor in `root`. Where it has no validation images, as many training images of each class
    /// are held out as are a tenth of the smallest class.
    ///
    /// # Errors
    /// Names the data set, the file or the key that is wrong.
    pub fn from_dataset(name: &str, root: &Path) -> Result<Self> {
        let (descriptor, files) = descriptor(name, root)?;
        let mut splits =
            open(&descriptor, &files, None).map_err(|error| not_opened(error, &files))?;
        let mut division = "as the data set says".to_string();
        if splits.validation.is_none() {
            let smallest = splits.train.counts().into_iter().min().unwrap_or(0);
            let per_class = (smallest / HELD_OUT).max(1);
            let held_out = ValidationConfig {
                per_class,
                seed: HELD_OUT_SEED,
            };
            let (train, validation) = carve(&splits.train, &held_out)?;
            splits.train = Arc::new(train);
            splits.validation = Some(Arc::new(validation));
            division = format!(
                "test as the data set says; validation is {per_class} training images of each class"
            );
        }
        Self::new(
            name.to_string(),
            name.to_string(),
            splits,
            &division,
            Vec::new(),
        )
    }

    fn new(
        name: String,
        source: String,
        splits: DataSplits,
        division: &str,
        skipped: Vec<String>,
    ) -> Result<Self> {
        let Some(validation) = splits.validation else {
            bail!("{source}: has no validation images to choose settings by");
        };
        let colour = |set: &ImageSet| Arc::new(set.in_colour());
        let (train, validation, test) = (
            colour(&splits.train),
            colour(&validation),
            colour(&splits.test),
        );
        Ok(Self {
            name,
            classes: train.classes().to_vec(),
            provenance: Provenance {
                source,
                images: [train.len(), validation.len(), test.len()],
                division: division.to_string(),
                skipped,
            },
            train,
            validation,
            test,
            fingerprints: RefCell::default(),
        })
    }

    /// What tells a part from others, read once.
    ///
    /// # Errors
    /// A file that can't be read.
    pub fn fingerprint(&self, split: Split, kind: Fingerprint) -> Result<String> {
        let mut known = self.fingerprints.borrow_mut();
        if let Some((.., found)) = known.iter().find(|(of, by, _)| (*of, *by) == (split, kind)) {
            return Ok(found.clone());
        }
        let found = self
            .part(split)
            .fingerprint(kind, rayon::current_num_threads())?;
        known.push((split, kind, found.clone()));
        Ok(found)
    }

    /// A part.
    pub fn part(&self, split: Split) -> &Arc<ImageSet> {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
            Split::Test => &self.test,
        }
    }
}
