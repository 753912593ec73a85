//! From a descriptor and a folder to checked image sets.

use crate::descriptor::Descriptor;
use crate::error::{Error, Result};
use crate::files::{Files, ReadFile, md5_hex};
use crate::formats::Part;
use crate::image_set::{ImageSet, Split};
use crate::layouts;
use crate::validation::{ValidationConfig, carve};
use std::path::Path;
use std::sync::Arc;

/// The parts of a data set.
#[derive(Debug, Clone)]
pub struct DataSplits {
    /// What the model is trained on.
    pub train: Arc<ImageSet>,
    /// What settings are selected on; without it, nothing may be selected.
    pub validation: Option<Arc<ImageSet>>,
    /// What is measured once, at the end.
    pub test: Arc<ImageSet>,
    /// The files that were read; none of an image folder, whose images are read when they are used.
    pub files: Vec<ReadFile>,
}

/// Reads the data set that `descriptor` describes from the folder `root`: the first of its layouts
/// that is complete. Checksums, counts, sizes and labels are checked, and the order of the training
/// labels where the descriptor has its fingerprint. `validation` is carved from the training
/// images.
///
/// # Errors
/// No layout is complete; a file differs from what the descriptor and its format ask for; a class
/// is too small for `validation`, or the data set has a validation part of its own.
pub fn open(
    descriptor: &Descriptor,
    root: &Path,
    validation: Option<ValidationConfig>,
) -> Result<DataSplits> {
    descriptor.validate()?;
    let files = Files::new(root, &descriptor.checksums);
    let layout = layouts::find(descriptor, &files)?;
    let parts = layouts::read(descriptor, layout, &files)?;
    let set = |split, part: Part, expected: Option<usize>| {
        check_count(&part, expected)?;
        ImageSet::new(
            &descriptor.name,
            split,
            parts.classes.clone(),
            part.labels,
            part.source,
        )
    };
    let train = set(Split::Train, parts.train, descriptor.train_images)?;
    let test = set(Split::Test, parts.test, descriptor.test_images)?;
    let own = parts
        .validation
        .map(|part| set(Split::Validation, part, None))
        .transpose()?;
    check_order(descriptor, &train)?;
    let (train, held_out) = match (own, validation) {
        (Some(_), Some(_)) => {
            let reason = format!(
                "{} has a validation part of its own: leave `validation` out to use it, or take \
                 its folder out of the descriptor to carve one from the training images",
                descriptor.name
            );
            return Err(Error::config("validation", reason));
        }
        (own, None) => (train, own),
        (None, Some(config)) => {
            let (train, held_out) = carve(&train, &config)?;
            (train, Some(held_out))
        }
    };
    let validation = held_out.map(Arc::new);
    Ok(DataSplits {
        train: Arc::new(train),
        validation,
        test: Arc::new(test),
        files: files.into_read(),
    })
}

fn check_count(part: &Part, expected: Option<usize>) -> Result<()> {
    match expected {
        Some(expected) if expected != part.labels.len() => Err(Error::Count {
            path: part.path.clone(),
            what: "images (with the files that belong to it)",
            why: "the descriptor's number",
            expected,
            found: part.labels.len(),
        }),
        _ => Ok(()),
    }
}

fn check_order(descriptor: &Descriptor, train: &ImageSet) -> Result<()> {
    let Some(expected) = &descriptor.label_order_md5 else {
        return Ok(());
    };
    let labels = train.labels().iter().map(|&label| u8::try_from(label));
    let Ok(labels) = labels.collect::<std::result::Result<Vec<u8>, _>>() else {
        return Err(Error::Descriptor {
            name: descriptor.name.clone(),
            field: "label_order_md5",
            reason: format!(
                "is over labels of one byte, at most 256 classes, but there are {}",
                train.classes().len()
            ),
        });
    };
    let found = md5_hex(&labels);
    if expected.eq_ignore_ascii_case(&found) {
        return Ok(());
    }
    let (name, expected) = (descriptor.name.clone(), expected.clone());
    Err(Error::LabelOrder {
        name,
        expected,
        found,
    })
}
