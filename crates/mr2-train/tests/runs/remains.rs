//! All that a run leaves, comparable to the bit.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use mr2_train::{Outcome, Start};

use crate::support::{Process, process};

/// Type, shape and bytes of each tensor.
pub type Tensors = HashMap<String, (String, Vec<usize>, Vec<u8>)>;

/// All that a run leaves except for the time it took, comparable to the bit.
#[derive(Debug, PartialEq)]
pub struct Remains {
    pub tensors: Tensors,
    pub state: serde_json::Value,
    pub metrics: Vec<serde_json::Value>,
    pub result: serde_json::Value,
    pub predictions: Vec<u8>,
    pub csv: String,
}

pub fn remains(folder: &Path) -> Remains {
    let (tensors, state) = checkpoint(&newest_checkpoint(folder));
    let metrics = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    let result = fs::read_to_string(folder.join("result.json")).unwrap();
    Remains {
        tensors,
        state,
        metrics: metrics.lines().map(timeless).collect(),
        result: timeless(&result),
        predictions: fs::read(folder.join("predictions.safetensors")).unwrap(),
        csv: fs::read_to_string(folder.join("predictions.csv")).unwrap(),
    }
}

/// The checkpoint of the latest step.
pub fn newest_checkpoint(folder: &Path) -> PathBuf {
    let entries = fs::read_dir(folder.join("checkpoint")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let named_last = |path: &PathBuf| {
        path.file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("last-")
    };
    paths.filter(named_last).max().unwrap()
}

/// Weights and buffers in the newest checkpoint, by name.
pub fn weights_of(folder: &Path) -> Vec<(String, Vec<f32>)> {
    let (tensors, _) = checkpoint(&newest_checkpoint(folder));
    let mut found: Vec<_> = tensors
        .into_iter()
        .filter(|(name, _)| name.starts_with("model."))
        .map(|(name, (_, _, bytes))| {
            let (values, _) = bytes.as_chunks();
            (
                name,
                values.iter().map(|x| f32::from_le_bytes(*x)).collect(),
            )
        })
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

/// Tensors and state of a checkpoint.
pub fn checkpoint(path: &Path) -> (Tensors, serde_json::Value) {
    let bytes = fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let header = &metadata.metadata().as_ref().unwrap()["mr2_checkpoint"];
    let tensors = file.tensors().into_iter().map(|(name, view)| {
        let dtype = format!("{:?}", view.dtype());
        (name, (dtype, view.shape().to_vec(), view.data().to_vec()))
    });
    (tensors.collect(), timeless(header)["state"].clone())
}

fn timeless(json: &str) -> serde_json::Value {
    let mut value = serde_json::from_str(json).unwrap();
    remove_times(&mut value);
    value
}

fn remove_times(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(map) => {
            for key in ["timings", "seconds", "images_per_second", "checksum"] {
                map.remove(key);
            }
            map.values_mut().for_each(remove_times);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(remove_times),
        _ => {}
    }
}

/// What a run that nothing happened to leaves.
pub fn uninterrupted() -> Remains {
    uninterrupted_by(&process())
}

/// What the run of a process leaves that nothing happened to.
pub fn uninterrupted_by(process: &Process) -> Remains {
    let folder = tempfile::tempdir().unwrap();
    let outcome = process.run(folder.path(), Start::Fresh).unwrap();
    assert!(matches!(outcome, Outcome::Finished(_)));
    remains(folder.path())
}
