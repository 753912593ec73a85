//! PyTorch's format since version 1.6: a zip archive with the pickle `data.pkl` and a member for each storage.

use std::path::Path;

use mr2_pickle::{Archive, Pickle};

use super::names::NAMES;
use super::objects::read_tensors;
use super::storage::StorageRef;
use crate::weights::{Error, Format, Result, WeightFile};

pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<WeightFile> {
    let broken = |reason: String| Error::format(path, reason);
    let archive = Archive::open(bytes).map_err(broken)?;
    let root = archive
        .names()
        .find_map(|name| name.strip_suffix("data.pkl"));
    let root = root.ok_or_else(|| broken("it is a zip archive without data.pkl".to_string()))?;
    let member = |name: &str| archive.member(&format!("{root}{name}")).map_err(broken);
    // A program's constants; a dictionary of tensors has none.
    if member("constants.pkl")?.is_some() {
        let path = path.to_path_buf();
        return Err(Error::TorchScript { path });
    }
    if member("byteorder")?.is_some_and(|order| order.trim_ascii() != b"little") {
        return Err(broken(
            "its numbers are big-endian, which is not read".to_string(),
        ));
    }
    let pickled = member("data.pkl")?.unwrap_or_default();
    let pickle = Pickle::read(pickled, NAMES).map_err(|fault| Error::pickle(path, 0, fault))?;
    let storage = |storage: &StorageRef| {
        let found = archive.member(&format!("{root}data/{}", storage.key))?;
        let bytes = found.ok_or_else(|| format!("its storage {:?} is missing", storage.key))?;
        match storage.bytes() == Some(bytes.len()) {
            true => Ok(bytes),
            false => Err(format!(
                "its storage {:?} has {} bytes, expected {} elements of {} bytes",
                storage.key,
                bytes.len(),
                storage.len,
                storage.element.size()
            )),
        }
    };
    Ok(WeightFile {
        tensors: read_tensors(path, &pickle, 0, bytes.len(), &storage)?,
        sha256: String::new(),
        format: Format::TorchZip,
        metadata: Default::default(),
    })
}
