//! CIFAR's binary files (<https://www.cs.toronto.edu/~kriz/cifar.html>): records of one label
//! (CIFAR-10) or two (CIFAR-100: coarse, fine), then the planes R, G, B, row by row.

use super::{Part, class_labels, interleave_planes};
use crate::error::{Error, Result};
use crate::files::Files;
use crate::source::Source;

/// Reads the records of `names` in order. The last label before an image is the one that counts.
pub(crate) fn read(
    files: &Files,
    names: &[String],
    labels_per_record: usize,
    (height, width): (usize, usize),
    classes: usize,
) -> Result<Part> {
    let record = labels_per_record + 3 * height * width;
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for name in names {
        let path = files.path(name);
        let bytes = files.read(name)?;
        if bytes.is_empty() || bytes.len() % record != 0 {
            let expected = bytes.len().next_multiple_of(record).max(record) as u64;
            return Err(Error::Truncated {
                path,
                expected,
                found: bytes.len() as u64,
            });
        }
        pixels.reserve(bytes.len());
        let mut numbers = Vec::with_capacity(bytes.len() / record);
        for record in bytes.chunks_exact(record) {
            let (head, planes) = record.split_at(labels_per_record);
            numbers.extend(head.last().map(|&label| i64::from(label)));
            interleave_planes(planes, &mut pixels);
        }
        labels.extend(class_labels(&path, &numbers, classes)?);
    }
    let path = names
        .first()
        .map(|name| files.path(name))
        .unwrap_or_default();
    Ok(Part {
        path,
        labels,
        source: Source::Memory {
            pixels,
            height,
            width,
            channels: 3,
        },
    })
}
