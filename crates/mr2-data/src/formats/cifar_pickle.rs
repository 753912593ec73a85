//! CIFAR's Python batches (<https://www.cs.toronto.edu/~kriz/cifar.html>): pickled dictionaries
//! with the pixels under `data` (one row per image: planes R, G, B) and a list of labels; from
//! files, or straight from the `.tar.gz` of the release.

use super::pickle::{Fault, Pickle, Value};
use super::{Part, class_labels, interleave_planes};
use crate::error::{Error, Result};
use crate::files::{Files, MAX_BYTES, read_up_to};
use crate::source::Source;
use flate2::bufread::MultiGzDecoder;
use std::collections::HashMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The largest member that is read. CIFAR-100's training batch has 155 MB.
const MAX_MEMBER: u64 = 1 << 30;

/// Where the batches are.
pub(crate) enum Batches<'a> {
    Unpacked(&'a Files<'a>),
    /// Members of an archive by name, and the archive's path.
    Archive(PathBuf, HashMap<String, Vec<u8>>),
}

impl Batches<'_> {
    fn path(&self, name: &str) -> PathBuf {
        match self {
            Batches::Unpacked(files) => files.path(name),
            Batches::Archive(path, _) => path.join(name),
        }
    }

    fn take(&mut self, name: &str) -> Result<Vec<u8>> {
        match self {
            Batches::Unpacked(files) => files.read(name),
            Batches::Archive(path, members) => members
                .remove(name)
                .ok_or_else(|| Error::unpack(path, format!("it has no member {name}"))),
        }
    }
}

/// Finds the batches of the lists `wanted`: files, or the members of an archive, which is read.
pub(crate) fn open<'a>(
    files: &'a Files,
    archive: Option<&str>,
    wanted: &[&[String]],
) -> Result<Batches<'a>> {
    match archive {
        None => Ok(Batches::Unpacked(files)),
        Some(archive) => open_archive(files, archive, &wanted.concat()),
    }
}

fn open_archive<'a>(files: &Files, archive: &str, wanted: &[String]) -> Result<Batches<'a>> {
    let path = files.path(archive);
    let packed = files.read(archive)?;
    // The limit is on what comes out of the decompressor, members that we skip included.
    let limited = Limited {
        inner: MultiGzDecoder::new(&packed[..]),
        left: MAX_BYTES,
    };
    let mut reader = tar::Archive::new(limited);
    let failed = |cause: io::Error| Error::unpack(&path, cause);
    let mut members = HashMap::new();
    // Raw: a long name would be read into memory whole, and the batches have short ones.
    for entry in reader.entries().map_err(failed)?.raw(true) {
        let mut entry = entry.map_err(failed)?;
        let name = entry.path().map_err(failed)?.to_string_lossy().into_owned();
        let name = name.trim_start_matches("./");
        if !entry.header().entry_type().is_file() || !wanted.iter().any(|file| file == name) {
            continue;
        }
        let size = entry.size();
        if size > MAX_MEMBER {
            let (path, what) = (path.join(name), "a member of the archive");
            return Err(Error::TooLarge {
                path,
                what,
                bytes: size,
                limit: MAX_MEMBER,
            });
        }
        let bytes = read_up_to(&mut entry, size, MAX_MEMBER).map_err(failed)?;
        if (bytes.len() as u64) < size {
            let found = bytes.len() as u64;
            return Err(Error::Truncated {
                path: path.join(name),
                expected: size,
                found,
            });
        }
        members.insert(name.to_string(), bytes);
    }
    Ok(Batches::Archive(path, members))
}

/// A reader that fails, rather than ends, after so many bytes.
struct Limited<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| {
            io::Error::other(format!(
                "unpacks to more than the limit of {MAX_BYTES} bytes"
            ))
        })?;
        Ok(count)
    }
}

/// Reads the batches `names` in order.
pub(crate) fn read(
    batches: &mut Batches,
    names: &[String],
    label_key: &str,
    (height, width): (usize, usize),
    classes: usize,
) -> Result<Part> {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for name in names {
        let path = batches.path(name);
        let bytes = batches.take(name)?;
        let numbers = read_batch(&path, &bytes, label_key, 3 * height * width, &mut pixels)?;
        labels.extend(class_labels(&path, &numbers, classes)?);
    }
    let path = names
        .first()
        .map(|name| batches.path(name))
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

/// Appends the pixels of one batch and returns its labels.
fn read_batch(
    path: &Path,
    bytes: &[u8],
    label_key: &str,
    columns: usize,
    pixels: &mut Vec<u8>,
) -> Result<Vec<i64>> {
    let fault = |fault: Fault| Error::Pickle {
        path: path.to_path_buf(),
        offset: fault.offset,
        reason: fault.reason,
    };
    let wrong = |reason: String| {
        fault(Fault {
            offset: bytes.len(),
            reason,
        })
    };
    let pickle = Pickle::read(bytes).map_err(fault)?;
    let Some(Value::List(items)) = pickle.key(label_key) else {
        return Err(wrong(format!(
            "there is no list of numbers under {label_key:?}"
        )));
    };
    let label = |&id: &usize| match pickle.get(id) {
        Value::Int(label) => Ok(*label),
        _ => Err(wrong(format!(
            "{label_key:?} holds something that is no number"
        ))),
    };
    let labels = items.iter().map(label).collect::<Result<Vec<_>>>()?;
    let Some(Value::Array(Some(array))) = pickle.key("data") else {
        return Err(wrong("there is no array under \"data\"".to_string()));
    };
    let data = pickle.bytes(array.data).unwrap_or_default();
    let expected = labels.len().checked_mul(columns);
    if array.shape != [labels.len(), columns] || expected != Some(data.len()) {
        return Err(wrong(format!(
            "\"data\" has shape {:?} and {} bytes, expected shape [{}, {columns}]",
            array.shape,
            data.len(),
            labels.len()
        )));
    }
    pixels.reserve(data.len());
    let mut row = vec![0; columns];
    for (index, image) in data.chunks_exact(columns).enumerate() {
        if array.fortran {
            let column = data[index..].iter().step_by(labels.len());
            row.iter_mut()
                .zip(column)
                .for_each(|(to, &from)| *to = from);
        } else {
            row.copy_from_slice(image);
        }
        interleave_planes(&row, pixels);
    }
    Ok(labels)
}
