//! One shard: some images' features in a safetensors file whose only metadata entry is a JSON header.
//!
//! The entry `mr2_features` has the fields of [`Header`]. Its checksum is SHA-256 over the rest of the header
//! and over each tensor, as in checkpoints.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use half::f16;
use safetensors::tensor::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};

use super::meta::{FeatureMeta, FeatureType};
use crate::checkpoint::checksum;
use crate::format_version;

const FORMAT_VERSION: u32 = 1;
const METADATA_KEY: &str = "mr2_features";
const TENSORS: [&str; 3] = ["features", "labels", "indices"];

/// Features of some images, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    /// (images, `dim`), row after row.
    pub values: Vec<f32>,
    /// Length of a row.
    pub dim: usize,
    /// The label of each image.
    pub labels: Vec<u32>,
    /// The position of each image in its set.
    pub indices: Vec<u32>,
}

impl Features {
    /// No image.
    pub(super) fn none(dim: usize) -> Self {
        Self {
            values: Vec::new(),
            dim,
            labels: Vec::new(),
            indices: Vec::new(),
        }
    }

    /// Keeps the first `rows` and returns the others.
    pub(super) fn split_off(&mut self, rows: usize) -> Self {
        Self {
            values: self.values.split_off(rows * self.dim),
            dim: self.dim,
            labels: self.labels.split_off(rows),
            indices: self.indices.split_off(rows),
        }
    }
}

/// What a shard says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    pub(super) meta: FeatureMeta,
    /// `encoder_hash` before the first image of the shard, and after the last one.
    pub(super) encoder_before: String,
    pub(super) encoder_after: String,
    /// Which view of the images, from 0.
    pub(super) view: u32,
    /// The first image of the shard, and how many it has.
    pub(super) first: u64,
    pub(super) images: u64,
    pub(super) feature_dim: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    format_version: u32,
    checksum: String,
    header: Header,
}

struct Bytes {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl View for &Bytes {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }
    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// The bytes of a shard's file; `Err` is a sentence.
pub(super) fn encode(features: &Features, header: &Header) -> Result<Vec<u8>, String> {
    let rows = features.labels.len();
    let words = |words: &[u32]| Bytes {
        dtype: Dtype::U32,
        shape: vec![rows],
        bytes: words.iter().flat_map(|word| word.to_le_bytes()).collect(),
    };
    let values = features.values.iter();
    let (dtype, bytes) = match header.meta.source.dtype {
        FeatureType::F32 => (Dtype::F32, values.flat_map(|v| v.to_le_bytes()).collect()),
        FeatureType::F16 => (
            Dtype::F16,
            values
                .flat_map(|&v| f16::from_f32(v).to_le_bytes())
                .collect(),
        ),
    };
    let shape = vec![rows, features.dim];
    let values = Bytes {
        dtype,
        shape,
        bytes,
    };
    let tensors = [values, words(&features.labels), words(&features.indices)];
    let named = || TENSORS.into_iter().zip(&tensors);
    let text = serde_json::to_string(header).map_err(|e| e.to_string())?;
    let parts = named().map(|(name, t)| (name, t.dtype, &t.shape[..], &t.bytes[..]));
    let signed = Signed {
        format_version: FORMAT_VERSION,
        checksum: checksum(&text, parts),
        header: header.clone(),
    };
    let signed = serde_json::to_string(&signed).map_err(|e| e.to_string())?;
    let metadata = HashMap::from([(METADATA_KEY.to_string(), signed)]);
    safetensors::serialize(named(), Some(metadata)).map_err(|e| e.to_string())
}

/// Reads what [`encode`] wrote, after checking version, checksum and shapes; `Err` is a sentence.
pub(super) fn decode(bytes: &[u8]) -> Result<(Features, Header), String> {
    let file = SafeTensors::deserialize(bytes)
        .map_err(|e| format!("incomplete or not a safetensors file ({e})"))?;
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| e.to_string())?;
    let entries = metadata.metadata().as_ref();
    let signed = entries
        .and_then(|entries| entries.get(METADATA_KEY))
        .ok_or_else(|| format!("its metadata has no entry {METADATA_KEY}"))?;
    format_version::check(signed, FORMAT_VERSION)?;
    let Signed {
        checksum: expected,
        header,
        ..
    } = serde_json::from_str(signed).map_err(|e| format!("its header is malformed ({e})"))?;
    let text = serde_json::to_string(&header).map_err(|e| e.to_string())?;
    let mut views = Vec::new();
    for name in TENSORS {
        views.push((
            name,
            file.tensor(name)
                .map_err(|e| format!("tensor {name}: {e}"))?,
        ));
    }
    let parts = views
        .iter()
        .map(|(name, v)| (*name, v.dtype(), v.shape(), v.data()));
    if checksum(&text, parts) != expected {
        return Err("the checksum differs, so the file was damaged after it was written".into());
    }
    let (rows, dim) = (header.images as usize, header.feature_dim as usize);
    let shapes = [vec![rows, dim], vec![rows], vec![rows]];
    let dtypes = [
        Dtype::from(header.meta.source.dtype.dtype()),
        Dtype::U32,
        Dtype::U32,
    ];
    for ((name, view), (shape, dtype)) in views.iter().zip(shapes.iter().zip(dtypes)) {
        if view.shape() != shape || view.dtype() != dtype {
            let (found, of) = (view.shape(), view.dtype());
            return Err(format!(
                "tensor {name} is {found:?} in {of:?}, but the header says {shape:?} in {dtype:?}"
            ));
        }
    }
    let words = |bytes: &[u8]| -> Vec<u32> {
        let words = bytes.chunks_exact(4);
        words
            .map(|word| {
                word.iter()
                    .rev()
                    .fold(0, |n, &byte| n << 8 | u32::from(byte))
            })
            .collect()
    };
    let values = Tensor::from_raw_buffer(
        views[0].1.data(),
        header.meta.source.dtype.dtype(),
        &[rows * dim],
        &Device::Cpu,
    );
    let values = values.and_then(|v| v.to_dtype(DType::F32)?.to_vec1());
    let features = Features {
        values: values.map_err(|e| format!("tensor features: {e}"))?,
        dim,
        labels: words(views[1].1.data()),
        indices: words(views[2].1.data()),
    };
    Ok((features, header))
}

/// Reads the file of a shard; `Err` is a sentence.
pub(super) fn read(path: &Path) -> Result<(Features, Header), String> {
    let bytes = std::fs::read(path).map_err(|e| format!("cannot be read ({e})"))?;
    decode(&bytes)
}
