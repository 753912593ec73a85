//! PyTorch's format before version 1.6: five pickles (a magic number, a version, the writer's machine, the object,
//! the keys of its storages), then each storage in that order, with its length in front.

use std::collections::HashMap;
use std::path::Path;

use mr2_pickle::{Fault, Name, Pickle, Value};

use super::names::NAMES;
use super::objects::read_tensors;
use super::storage::StorageRef;
use crate::weights::{Error, Format, Result, WeightFile};

/// 0x1950a86a20f9469cfc6c, the lowest byte first.
const MAGIC: &[u8] = b"\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";

/// The one version that there is.
const VERSION: i64 = 1001;

/// The pickles of a file, one after the other.
struct Pickles<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Pickles<'a> {
    fn next(&mut self, names: &'static [Name]) -> Result<Pickle<'a>> {
        let (pickle, len) = Pickle::read_prefix(&self.bytes[self.at..], names)
            .map_err(|fault| Error::pickle(self.path, self.at, fault))?;
        self.at += len;
        Ok(pickle)
    }

    fn wrong(&self, reason: impl ToString) -> Error {
        let (offset, reason) = (0, reason.to_string());
        Error::pickle(self.path, self.at, Fault { offset, reason })
    }
}

pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<WeightFile> {
    let mut pickles = Pickles { path, bytes, at: 0 };
    let magic = pickles.next(NAMES)?;
    if magic.bytes(magic.root()) != Some(MAGIC) {
        let reason = "it is a pickle, but not one that torch.save writes";
        return Err(Error::format(path, reason));
    }
    let version = pickles.next(NAMES)?;
    if version.get(version.root()) != &Value::Int(VERSION) {
        return Err(pickles.wrong(format!("its version is not {VERSION}")));
    }
    let machine = pickles.next(NAMES)?;
    if machine.key("little_endian") != Some(&Value::Bool(true)) {
        return Err(pickles.wrong("its numbers are big-endian, which is not read"));
    }
    let start = pickles.at;
    let object = pickles.next(NAMES)?;
    let keys = pickles.next(NAMES)?;
    let storages = storages(&mut pickles, &object, &keys)?;
    let storage = |storage: &StorageRef| {
        let found = storages.get(storage.key).copied();
        found.ok_or_else(|| format!("its storage {:?} is missing", storage.key))
    };
    Ok(WeightFile {
        tensors: read_tensors(path, &object, start, bytes.len(), &storage)?,
        sha256: String::new(),
        format: Format::TorchLegacy,
        metadata: Default::default(),
    })
}

/// Where the storages are, which the file says only by their order.
fn storages<'a>(
    file: &mut Pickles<'a>,
    object: &Pickle<'a>,
    keys: &Pickle<'a>,
) -> Result<HashMap<&'a str, &'a [u8]>> {
    let mut described: HashMap<&str, StorageRef> = HashMap::new();
    for value in object.values() {
        let Value::Persistent(id) = value else {
            continue;
        };
        let storage = StorageRef::read(object, *id).map_err(|reason| file.wrong(reason))?;
        let known = described.entry(storage.key).or_insert(storage);
        if (known.element, known.len) != (storage.element, storage.len) {
            return Err(file.wrong(format!("storage {:?} is described twice", storage.key)));
        }
    }
    let Value::List(order) = keys.get(keys.root()) else {
        return Err(file.wrong("the keys of the storages are no list"));
    };
    let mut found = HashMap::new();
    for &key in order {
        let key = keys.text(key);
        let key = key.ok_or_else(|| file.wrong("a storage's key that is no text"))?;
        let storage = described.get(key);
        let storage =
            storage.ok_or_else(|| file.wrong(format!("no tensor has storage {key:?}")))?;
        let rest = &file.bytes[file.at..];
        let too_short = || file.wrong(format!("storage {key:?} ends too early"));
        let (length, rest) = rest.split_first_chunk::<8>().ok_or_else(too_short)?;
        if u64::from_le_bytes(*length) != storage.len as u64 {
            return Err(file.wrong(format!(
                "the length of storage {key:?} differs from its tensors'"
            )));
        }
        let len = storage.bytes().ok_or_else(too_short)?;
        found.insert(key, rest.get(..len).ok_or_else(too_short)?);
        file.at += 8 + len;
    }
    if file.at != file.bytes.len() {
        return Err(file.wrong("bytes after the last storage"));
    }
    Ok(found)
}
