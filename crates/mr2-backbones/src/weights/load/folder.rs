//! Folders as the Hub lays them out, and checkpoints in shards.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::weights::{Error, Result, WeightFile};

/// What the name of an index ends in.
pub(super) const INDEX: &str = ".index.json";

/// The names of files that weights are published in, the better first.
pub const NAMES: [&str; 4] = [
    "model.safetensors",
    "open_clip_model.safetensors",
    "pytorch_model.bin",
    "open_clip_pytorch_model.bin",
];

/// The largest index. One of 100,000 tensors takes 10 MB.
const MAX_INDEX_BYTES: u64 = 64 << 20;

pub(super) fn read(folder: &Path) -> Result<WeightFile> {
    for name in NAMES {
        let (file, index) = (folder.join(name), folder.join(format!("{name}{INDEX}")));
        if file.exists() {
            return super::read_file(&file);
        }
        if index.exists() {
            return read_shards(&index);
        }
    }
    Err(Error::NoWeights {
        path: folder.to_path_buf(),
        looked_for: format!("{}, each also with {INDEX}", NAMES.join(", ")),
    })
}

/// Reads the shards that an index names: `{"metadata": …, "weight_map": {tensor: file}}`.
pub(super) fn read_shards(path: &Path) -> Result<WeightFile> {
    let wrong = |reason: String| Error::Index {
        path: path.to_path_buf(),
        reason,
    };
    let places = weight_map(path)?;
    let names: BTreeSet<&str> = places.values().map(String::as_str).collect();
    let plain = |name: &str| Path::new(name).file_name().is_some_and(|file| file == name);
    if let Some(name) = names.iter().find(|name| !plain(name)) {
        let reason = format!("{name:?} is not the name of a file beside it");
        return Err(wrong(reason));
    }
    let (mut whole, mut sums): (Option<WeightFile>, String) = (None, String::new());
    for name in names {
        let shard = super::read_file(&path.with_file_name(name))?;
        let listed = |tensor: &String| places.get(tensor).is_some_and(|file| file == name);
        if let Some(tensor) = shard.tensors.keys().find(|tensor| !listed(tensor)) {
            return Err(wrong(format!("it does not say that {tensor} is in {name}")));
        }
        sums.push_str(&shard.sha256);
        match &mut whole {
            Some(whole) => whole.tensors.extend(shard.tensors),
            None => whole = Some(shard),
        }
    }
    let mut whole = whole.ok_or_else(|| wrong("it names no files".to_string()))?;
    if let Some((tensor, file)) = places.iter().find(|&(t, _)| !whole.tensors.contains_key(t)) {
        return Err(wrong(format!(
            "it says that {tensor} is in {file}, which has no such tensor"
        )));
    }
    whole.sha256 = super::sha256(sums.as_bytes());
    Ok(whole)
}

fn weight_map(path: &Path) -> Result<BTreeMap<String, String>> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let io = |cause| Error::io(path, cause);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(io)?;
    let read = file.take(MAX_INDEX_BYTES + 1).read_to_end(&mut bytes);
    let wrong = |reason: String| Error::Index {
        path: path.to_path_buf(),
        reason,
    };
    if read.map_err(io)? as u64 > MAX_INDEX_BYTES {
        return Err(wrong(format!("it has over {MAX_INDEX_BYTES} bytes")));
    }
    let index: Index = serde_json::from_slice(&bytes).map_err(|e| wrong(e.to_string()))?;
    Ok(index.weight_map)
}
