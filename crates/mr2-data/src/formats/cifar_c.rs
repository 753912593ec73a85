//! CIFAR-10-C and CIFAR-100-C as released (Hendrycks & Dietterich, <https://zenodo.org/records/2535967>
//! and 3555552): for each corruption an array of the test images at severities 1 to 5, one after the
//! other, and `labels.npy` for all of them.

use super::{class_labels, label_file, npy};
use crate::corruptions::Corruption;
use crate::error::{Error, Result};
use crate::files::{MAX_BYTES, read_file};
use crate::image_set::ImageSet;
use crate::source::Source;
use std::path::Path;

const SEVERITIES: usize = 5;

/// The images of `test` under a corruption; `severity` is known to be 1 to 5. Sizes and labels have to
/// be those of `test`.
pub(crate) fn read(
    test: &ImageSet,
    folder: &Path,
    corruption: Corruption,
    severity: usize,
) -> Result<ImageSet> {
    let path = folder.join(format!("{}.npy", corruption.name()));
    let bytes = read_file(&path, MAX_BYTES)?;
    let array = npy::parse(&path, &bytes)?;
    let images = SEVERITIES * test.len();
    let shape = test.image_shape().map(|[channels, height, width]| {
        (
            height,
            width,
            channels,
            vec![images, height, width, channels],
        )
    });
    let Some((height, width, channels, expected)) = shape else {
        let reason = format!("{} has images of no fixed size", test.name());
        return Err(Error::npy(&path, reason));
    };
    if array.integer != npy::Integer::U8 || array.shape != expected {
        let reason = format!(
            "it has shape {:?}, expected bytes of shape {expected:?}: the {} test images of {} at \
             {SEVERITIES} severities",
            array.shape,
            test.len(),
            test.name()
        );
        return Err(Error::npy(&path, reason));
    }
    check_labels(test, &folder.join("labels.npy"))?;
    let size = array.data.len() / SEVERITIES;
    let source = Source::Memory {
        pixels: array.data[(severity - 1) * size..severity * size].to_vec(),
        height,
        width,
        channels,
    };
    let classes = test.classes().to_vec();
    let name = format!("{}-c {} {severity}", test.name(), corruption.name());
    ImageSet::new(&name, test.split(), classes, test.labels().to_vec(), source)
}

fn check_labels(test: &ImageSet, path: &Path) -> Result<()> {
    let labels = class_labels(path, &label_file::read(path)?, test.classes().len())?;
    if labels.len() != SEVERITIES * test.len() {
        return Err(Error::Count {
            path: path.to_path_buf(),
            what: "labels",
            why: "one for each test image at each severity",
            expected: SEVERITIES * test.len(),
            found: labels.len(),
        });
    }
    let given = test.labels().iter().cycle();
    match labels.iter().zip(given).position(|(a, b)| a != b) {
        None => Ok(()),
        Some(index) => Err(Error::Labels {
            path: path.to_path_buf(),
            reason: format!(
                "label {index} is {}, but that test image of {} has another. The files are of \
                 another data set or another order of its images",
                labels[index],
                test.name()
            ),
        }),
    }
}
