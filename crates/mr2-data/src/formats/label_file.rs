//! Files that hold nothing but labels: text, a NumPy array, or the files of CIFAR-N.

use super::npy;
use super::pickled_array::{Array, NAMES};
use crate::error::{Error, Result};
use crate::files::read_file;
use mr2_pickle::{Archive, Fault, Pickle};
use std::path::Path;

/// The largest file of labels. ImageNet's as text takes 5 MB.
const MAX_LABEL_BYTES: u64 = 256 << 20;

/// A class number for each image: text with one on each line, or a `.npy` array of integers. Which of
/// them it is, is told from the content.
pub(crate) fn read(path: &Path) -> Result<Vec<i64>> {
    let bytes = read_file(path, MAX_LABEL_BYTES)?;
    if npy::is_npy(&bytes) {
        return read_npy(path, &bytes);
    }
    let wrong = |reason: String| Error::Labels {
        path: path.to_path_buf(),
        reason,
    };
    if Archive::is_zip(&bytes) {
        let reason = "it is a zip archive, as torch.save writes; for a file of CIFAR-N write \
                      { kind = \"cifar_n\", path = ..., key = ... }";
        return Err(wrong(reason.to_string()));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| {
        wrong("expected text with a class number on each line, or a NumPy .npy array".to_string())
    })?;
    let number = |(line, text): (usize, &str)| {
        text.trim().parse().map_err(|_| {
            let shown: String = text.chars().take(40).collect();
            wrong(format!(
                "line {}: expected a class number, got {shown:?}",
                line + 1
            ))
        })
    };
    text.lines().enumerate().map(number).collect()
}

fn read_npy(path: &Path, bytes: &[u8]) -> Result<Vec<i64>> {
    let array = npy::parse(path, bytes)?;
    if array.shape.len() != 1 {
        let reason = format!("its shape is {:?}, expected one dimension", array.shape);
        return Err(Error::npy(path, reason));
    }
    let numbers = array.integer.numbers(array.data);
    numbers.ok_or_else(|| Error::npy(path, "it holds a number over 2^63"))
}

/// Labels of CIFAR-N.
pub(crate) struct CifarN {
    /// Those asked for.
    pub labels: Vec<i64>,
    /// Those that CIFAR itself has, to compare the order with.
    pub clean: Vec<i64>,
}

/// The array `key` of a dictionary of NumPy arrays as `torch.save` writes it: a pickle in a zip
/// archive that compresses nothing. No code of the pickle is run.
pub(crate) fn read_cifar_n(path: &Path, key: &str) -> Result<CifarN> {
    let bytes = read_file(path, MAX_LABEL_BYTES)?;
    let pickled = pickle_of(&bytes).map_err(|reason| Error::Labels {
        path: path.to_path_buf(),
        reason: format!("{reason}. Expected CIFAR-10_human.pt or CIFAR-100_human.pt of CIFAR-N"),
    })?;
    let pickle = Pickle::read(pickled, NAMES).map_err(|fault| damaged(path, fault))?;
    let labels = |key| array(path, &pickle, key);
    Ok(CifarN {
        labels: labels(key)?,
        clean: labels("clean_label")?,
    })
}

/// The pickle that `torch.save` puts beside the storages, of which these files have none.
fn pickle_of(archive: &[u8]) -> std::result::Result<&[u8], String> {
    let archive = Archive::open(archive)?;
    let absent = || "it has no data.pkl".to_string();
    let name = archive.names().find(|name| name.ends_with("data.pkl"));
    archive.member(name.ok_or_else(absent)?)?.ok_or_else(absent)
}

fn damaged(path: &Path, Fault { offset, reason }: Fault) -> Error {
    let path = path.to_path_buf();
    Error::Pickle {
        path,
        offset,
        reason,
    }
}

fn array(path: &Path, pickle: &Pickle, key: &str) -> Result<Vec<i64>> {
    let wrong = |reason: String| Error::Labels {
        path: path.to_path_buf(),
        reason,
    };
    let Some(value) = pickle.key(key) else {
        let shown = |key: &str| key.chars().take(40).collect::<String>();
        let keys: Vec<_> = pickle.keys().into_iter().take(20).map(shown).collect();
        let keys = keys.join(", ");
        return Err(wrong(format!("it has no `{key}`; valid: {keys}")));
    };
    let array = Array::read(pickle, value).map_err(|fault| damaged(path, fault))?;
    let Some(array) = array else {
        return Err(wrong(format!("`{key}` is no array")));
    };
    match array.element.numbers(&array.data) {
        Some(numbers) if array.shape == [numbers.len()] => Ok(numbers),
        _ => Err(wrong(format!(
            "`{key}` has shape {:?}, expected one dimension and its numbers",
            array.shape
        ))),
    }
}
