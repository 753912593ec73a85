//! CIFAR's Python batches (<https://www.cs.toronto.edu/~kriz/cifar.html>): pickled dictionaries
//! with the pixels under `data` (one row per image: planes R, G, B) and a list of labels; from
//! files, or straight from the `.tar.gz` of the release.

use super::npy::Integer;
use super::pickled_array::{Array, NAMES};
use super::{Part, class_labels, interleave_planes};
use crate::error::{Error, Result};
use crate::files::{Files, MAX_BYTES, read_up_to};
use crate::source::Source;
use flate2::bufread::MultiGzDecoder;
use mr2_pickle::{Fault, Pickle, Value};
use std::collections::HashMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The most that an archive may take.
#[derive(Clone, Copy)]
struct Limits {
    /// What comes out of the decompressor, members that are skipped included.
    unpacked: u64,
    /// The members that are read, all together: they are in memory at the same time.
    members: u64,
}

/// CIFAR's batches have 186 MB.
const LIMITS: Limits = Limits {
    unpacked: MAX_BYTES,
    members: 1 << 30,
};

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
        Some(archive) => {
            let (path, packed) = (files.path(archive), files.read(archive)?);
            let members = read_members(&path, &packed, &wanted.concat(), LIMITS)?;
            Ok(Batches::Archive(path, members))
        }
    }
}

fn read_members(
    path: &Path,
    packed: &[u8],
    wanted: &[String],
    limits: Limits,
) -> Result<HashMap<String, Vec<u8>>> {
    let limited = Limited {
        inner: MultiGzDecoder::new(packed),
        limit: limits.unpacked,
        left: limits.unpacked,
    };
    let mut reader = tar::Archive::new(limited);
    let failed = |cause: io::Error| Error::unpack(path, cause);
    let (mut members, mut kept) = (HashMap::new(), 0u64);
    // Raw: a long name would be read into memory whole, and the batches have short ones.
    for entry in reader.entries().map_err(failed)?.raw(true) {
        let mut entry = entry.map_err(failed)?;
        let name = entry.path().map_err(failed)?.to_string_lossy().into_owned();
        let name = name.trim_start_matches("./");
        if !entry.header().entry_type().is_file() || !wanted.iter().any(|file| file == name) {
            continue;
        }
        let size = entry.size();
        kept = kept.saturating_add(size);
        if kept > limits.members {
            return Err(Error::TooLarge {
                path: path.join(name),
                what: "this batch of the archive with those before it",
                bytes: kept,
                limit: limits.members,
            });
        }
        let bytes = read_up_to(&mut entry, size, size).map_err(failed)?;
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
    Ok(members)
}

/// A reader that fails, rather than ends, after so many bytes.
struct Limited<R> {
    inner: R,
    limit: u64,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| {
            io::Error::other(format!(
                "it unpacks to more than the limit of {} bytes",
                self.limit
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
    let pickle = Pickle::read(bytes, NAMES).map_err(fault)?;
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
    let data = pickle.key("data").unwrap_or(&Value::None);
    let Some(array) = Array::read(&pickle, data).map_err(fault)? else {
        return Err(wrong("there is no array under \"data\"".to_string()));
    };
    let data = array.data.as_ref();
    let expected = labels.len().checked_mul(columns);
    if array.element != Integer::U8
        || array.shape != [labels.len(), columns]
        || expected != Some(data.len())
    {
        return Err(wrong(format!(
            "\"data\" has shape {:?} and {} bytes, expected bytes of shape [{}, {columns}]",
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    /// What is read of an archive of files of zeros, where `a` and `b` are wanted.
    fn read(files: &[(&str, usize)], limits: Limits) -> std::result::Result<Vec<String>, String> {
        let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::best()));
        for &(name, size) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(size as u64);
            let content = vec![0; size];
            archive
                .append_data(&mut header, name, &content[..])
                .unwrap();
        }
        let packed = archive.into_inner().unwrap().finish().unwrap();
        let wanted = ["a", "b"].map(String::from);
        let members = read_members(Path::new("x.tar.gz"), &packed, &wanted, limits)
            .map_err(|error| error.to_string())?;
        let mut names: Vec<_> = members.into_keys().collect();
        names.sort();
        Ok(names)
    }

    #[test]
    fn members_that_are_skipped_count_against_what_an_archive_may_unpack_to() {
        let limits = |unpacked| Limits {
            unpacked,
            members: 2_000,
        };
        let files = [("a", 1_000), ("other", 1 << 20), ("b", 1_000)];
        assert_eq!(read(&files, limits(2 << 20)).unwrap(), ["a", "b"]);
        assert_eq!(
            read(&files, limits(1 << 20)).unwrap_err(),
            "x.tar.gz: cannot be unpacked: it unpacks to more than the limit of 1048576 bytes. The \
             file is damaged: get it again"
        );
    }

    #[test]
    fn the_members_that_are_kept_have_a_limit_together_and_a_repeated_one_counts_again() {
        let limits = Limits {
            unpacked: 1 << 20,
            members: 2_500,
        };
        assert_eq!(
            read(&[("a", 1_000), ("b", 1_500)], limits).unwrap(),
            ["a", "b"]
        );
        for second in ["a", "b"] {
            assert_eq!(
                read(&[("a", 1_000), (second, 1_501)], limits).unwrap_err(),
                format!(
                    "x.tar.gz/{second}: this batch of the archive with those before it is at least \
                     2501 bytes, over the limit of 2500. The file is damaged, hostile or not of \
                     this data set"
                )
            );
        }
    }
}
