//! IDX, the format of MNIST (<http://yann.lecun.com/exdb/mnist/>): a magic number, big-endian
//! dimensions, bytes; plain or gzipped.

use super::{Part, class_labels};
use crate::error::{Error, Result};
use crate::files::{Files, MAX_BYTES, read_up_to};
use crate::source::Source;
use flate2::bufread::MultiGzDecoder;
use std::cmp::Ordering;
use std::io::Read;
use std::path::{Path, PathBuf};

const IMAGES_MAGIC: u32 = 0x0803;
const LABELS_MAGIC: u32 = 0x0801;

/// What the descriptor says about a pair of files.
pub(crate) struct Expected {
    /// (height, width).
    pub size: (usize, usize),
    pub classes: usize,
    pub count: Option<usize>,
}

/// The name of the file that is there: `relative`, or the same with `.gz` added or taken away.
pub(crate) fn present(files: &Files, relative: &str) -> Option<String> {
    let other = match relative.strip_suffix(".gz") {
        Some(plain) => plain.to_string(),
        None => format!("{relative}.gz"),
    };
    [relative.to_string(), other]
        .into_iter()
        .find(|name| files.path(name).is_file())
}

/// Reads the images and labels of one split.
pub(crate) fn read(files: &Files, images: &str, labels: &str, want: &Expected) -> Result<Part> {
    let (path, sizes, pixels) = read_one(files, images, IMAGES_MAGIC, want)?;
    let (height, width) = want.size;
    let (labels_path, label_sizes, label_bytes) = read_one(files, labels, LABELS_MAGIC, want)?;
    if label_sizes[0] != sizes[0] {
        return Err(Error::Count {
            path: labels_path,
            what: "labels",
            why: "one for each image of the image file",
            expected: sizes[0],
            found: label_sizes[0],
        });
    }
    let numbers: Vec<i64> = label_bytes.into_iter().map(i64::from).collect();
    let labels = class_labels(&labels_path, &numbers, want.classes)?;
    let source = Source::Memory {
        pixels,
        height,
        width,
        channels: 1,
    };
    Ok(Part {
        path,
        labels,
        source,
    })
}

fn read_one(
    files: &Files,
    relative: &str,
    magic: u32,
    want: &Expected,
) -> Result<(PathBuf, Vec<usize>, Vec<u8>)> {
    let name = present(files, relative).unwrap_or_else(|| relative.to_string());
    let path = files.path(&name);
    let bytes = files.read(&name)?;
    let (header, sizes, payload) = match name.strip_suffix(".gz") {
        Some(_) => parse(&path, MultiGzDecoder::new(&bytes[..]), magic, want)?,
        None => parse(&path, &bytes[..], magic, want)?,
    };
    files.check_content(&name, &[&header, &payload])?;
    Ok((path, sizes, payload))
}

type Parsed = (Vec<u8>, Vec<usize>, Vec<u8>);

/// Header bytes, dimensions and payload.
fn parse(path: &Path, mut reader: impl Read, magic: u32, want: &Expected) -> Result<Parsed> {
    let (header, sizes) = parse_header(path, &mut reader, magic)?;
    let claimed = sizes
        .iter()
        .try_fold(1u64, |product, &size| product.checked_mul(size as u64))
        .unwrap_or(u64::MAX);
    if claimed > MAX_BYTES {
        let (path, what) = (path.to_path_buf(), "the content that its header announces");
        return Err(Error::TooLarge {
            path,
            what,
            bytes: claimed,
            limit: MAX_BYTES,
        });
    }
    check_sizes(path, &sizes, want)?;
    let payload =
        read_up_to(reader, claimed, claimed).map_err(|cause| Error::unpack(path, cause))?;
    let (path, expected) = (path.to_path_buf(), header.len() as u64 + claimed);
    match (payload.len() as u64).cmp(&claimed) {
        Ordering::Less => {
            let found = (header.len() + payload.len()) as u64;
            Err(Error::Truncated {
                path,
                expected,
                found,
            })
        }
        Ordering::Greater => Err(Error::TrailingBytes { path, expected }),
        Ordering::Equal => Ok((header, sizes, payload)),
    }
}

/// Compares a header with the descriptor before anything is unpacked on its word.
fn check_sizes(path: &Path, sizes: &[usize], want: &Expected) -> Result<()> {
    if let [_, height, width] = *sizes
        && (height, width) != want.size
    {
        return Err(Error::ImageSize {
            path: path.to_path_buf(),
            expected: format!("{} x {}", want.size.0, want.size.1),
            found: format!("{height} x {width}"),
        });
    }
    match want.count {
        Some(expected) if expected != sizes[0] => Err(Error::Count {
            path: path.to_path_buf(),
            what: "images or labels",
            why: "the descriptor's number",
            expected,
            found: sizes[0],
        }),
        _ => Ok(()),
    }
}

/// The header's bytes and the dimensions that it gives. The last byte of the magic number says how
/// many there are.
fn parse_header(path: &Path, reader: impl Read, magic: u32) -> Result<(Vec<u8>, Vec<usize>)> {
    let expected = 4 + 4 * u64::from(magic & 0xff);
    let mut header = Vec::new();
    reader
        .take(expected)
        .read_to_end(&mut header)
        .map_err(|cause| Error::unpack(path, cause))?;
    let words: Vec<u32> = header
        .chunks_exact(4)
        .map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]))
        .collect();
    let path = path.to_path_buf();
    match words.split_first() {
        Some((&found, _)) if found != magic => Err(Error::BadMagic {
            path,
            expected: magic,
            found,
        }),
        Some((_, sizes)) if header.len() as u64 == expected => {
            Ok((header, sizes.iter().map(|&size| size as usize).collect()))
        }
        _ => Err(Error::Truncated {
            path,
            expected,
            found: header.len() as u64,
        }),
    }
}
