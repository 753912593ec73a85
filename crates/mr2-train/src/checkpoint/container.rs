//! One checkpoint as bytes: a safetensors file whose only metadata entry is one JSON string.
//!
//! The entry `mr2_checkpoint` is `{"format_version": 2, "checksum": "…", "state": {…}}`. The
//! checksum is SHA-256 over the text of `state` and then, in the order of their names, each
//! tensor's name, type, shape and bytes. One entry, because safetensors keeps its metadata in an
//! unordered map and two entries would make the bytes differ from run to run.

use std::borrow::Cow;
use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use safetensors::tensor::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::format_version;

/// Version of the layout described on this page.
pub(super) const FORMAT_VERSION: u32 = 2;
const METADATA_KEY: &str = "mr2_checkpoint";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format_version: u32,
    checksum: String,
    state: serde_json::Value,
}

/// A tensor copied to the host.
struct HostTensor {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl View for &HostTensor {
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

/// Serialises named tensors with their state; `Err` is a sentence.
///
/// Names must be unique. The same tensors and state give the same bytes.
pub(super) fn encode(
    tensors: &[(String, Tensor)],
    state: &serde_json::Value,
) -> Result<Vec<u8>, String> {
    let mut host = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        host.push((
            name.as_str(),
            to_host(tensor).map_err(|e| format!("tensor {name}: {e}"))?,
        ));
    }
    host.sort_by_key(|(name, _)| *name);
    if let Some(pair) = host.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(format!("two tensors are named {}", pair[0].0));
    }
    let parts = host
        .iter()
        .map(|(name, t)| (*name, t.dtype, &t.shape[..], &t.bytes[..]));
    let header = Header {
        format_version: FORMAT_VERSION,
        checksum: checksum(&state.to_string(), parts),
        state: state.clone(),
    };
    let header = serde_json::to_string(&header).map_err(|e| e.to_string())?;
    let metadata = HashMap::from([(METADATA_KEY.to_string(), header)]);
    safetensors::serialize(host.iter().map(|(name, t)| (*name, t)), Some(metadata))
        .map_err(|e| e.to_string())
}

/// Reads what [`encode`] wrote, after checking version and checksum; `Err` is a sentence.
pub(super) fn decode(
    bytes: &[u8],
    device: &Device,
) -> Result<(HashMap<String, Tensor>, serde_json::Value), String> {
    let file = SafeTensors::deserialize(bytes)
        .map_err(|e| format!("incomplete or not a safetensors file ({e})"))?;
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| e.to_string())?;
    let header = metadata
        .metadata()
        .as_ref()
        .and_then(|entries| entries.get(METADATA_KEY))
        .ok_or_else(|| format!("its metadata has no entry {METADATA_KEY}"))?;
    format_version::check(header, FORMAT_VERSION)?;
    let header: Header =
        serde_json::from_str(header).map_err(|e| format!("its metadata is malformed ({e})"))?;
    let mut views = file.tensors();
    views.sort_by(|a, b| a.0.cmp(&b.0));
    let parts = views
        .iter()
        .map(|(name, v)| (name.as_str(), v.dtype(), v.shape(), v.data()));
    if checksum(&header.state.to_string(), parts) != header.checksum {
        return Err("the checksum differs, so the file was damaged after it was written".into());
    }
    let mut tensors = HashMap::with_capacity(views.len());
    for (name, view) in views {
        let tensor = DType::try_from(view.dtype())
            .and_then(|dtype| Tensor::from_raw_buffer(view.data(), dtype, view.shape(), device))
            .map_err(|e| format!("tensor {name}: {e}"))?;
        tensors.insert(name, tensor);
    }
    Ok((tensors, header.state))
}

/// SHA-256, in hexadecimal, over a text and over each tensor's name, type, shape and bytes.
pub(crate) fn checksum<'a>(
    state: &str,
    tensors: impl Iterator<Item = (&'a str, Dtype, &'a [usize], &'a [u8])>,
) -> String {
    let mut hash = Sha256::new();
    hash.update(state);
    for (name, dtype, shape, bytes) in tensors {
        hash.update(format!("\n{name} {dtype:?} {shape:?} {}\n", bytes.len()));
        hash.update(bytes);
    }
    hex(&hash.finalize())
}

/// Hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn to_host(tensor: &Tensor) -> candle_core::Result<HostTensor> {
    let flat = tensor.flatten_all()?;
    let bytes = match tensor.dtype() {
        DType::U8 => flat.to_vec1::<u8>()?,
        DType::U32 => flat
            .to_vec1::<u32>()?
            .into_iter()
            .flat_map(u32::to_le_bytes)
            .collect(),
        DType::I64 => flat
            .to_vec1::<i64>()?
            .into_iter()
            .flat_map(i64::to_le_bytes)
            .collect(),
        DType::F32 => flat
            .to_vec1::<f32>()?
            .into_iter()
            .flat_map(f32::to_le_bytes)
            .collect(),
        DType::F64 => flat
            .to_vec1::<f64>()?
            .into_iter()
            .flat_map(f64::to_le_bytes)
            .collect(),
        other => candle_core::bail!("a checkpoint holds u8, u32, i64, f32 and f64, not {other:?}"),
    };
    Ok(HostTensor {
        dtype: tensor.dtype().into(),
        shape: tensor.dims().to_vec(),
        bytes,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> (Vec<(String, Tensor)>, serde_json::Value) {
        let device = Device::Cpu;
        let tensors = vec![
            (
                "b.weight".to_string(),
                Tensor::new(&[[1f32, f32::MIN_POSITIVE]], &device).unwrap(),
            ),
            (
                "a".to_string(),
                Tensor::new(&[0.1f64, -0.0], &device).unwrap(),
            ),
            ("seen".to_string(), Tensor::new(&[0u8, 1], &device).unwrap()),
        ];
        (
            tensors,
            serde_json::json!({"step": 3, "loss_sum": 0.1 + 0.2, "best": null}),
        )
    }

    #[test]
    fn what_is_written_is_read_back_to_the_bit_and_the_bytes_do_not_vary() {
        let (tensors, state) = sample();
        let bytes = encode(&tensors, &state).unwrap();
        assert_eq!(bytes, encode(&tensors, &state).unwrap());
        let (read, read_state) = decode(&bytes, &Device::Cpu).unwrap();
        assert_eq!(read_state, state);
        assert_eq!(read.len(), tensors.len());
        let again: Vec<_> = tensors
            .iter()
            .map(|(n, _)| (n.clone(), read[n].clone()))
            .collect();
        assert_eq!(encode(&again, &read_state).unwrap(), bytes);
    }

    #[test]
    fn another_format_version_is_refused_by_its_number() {
        let (tensors, state) = sample();
        let bytes = encode(&tensors, &state).unwrap();
        let from = b"\\\"format_version\\\":2";
        let at = bytes.windows(from.len()).position(|w| w == from).unwrap();
        let mut other = bytes;
        other[at + from.len() - 1] = b'7';
        let message = decode(&other, &Device::Cpu).unwrap_err();
        assert_eq!(
            message,
            "format version 7, and this program reads version 2"
        );
    }

    proptest! {
        #[test]
        fn a_file_cut_short_or_with_one_byte_changed_is_never_read(
            at in 0usize..1000, flip in 1u8..=255, cut in any::<bool>(),
        ) {
            let (tensors, state) = sample();
            let mut bytes = encode(&tensors, &state).unwrap();
            let at = at % bytes.len();
            if cut {
                bytes.truncate(at);
            } else {
                bytes[at] ^= flip;
            }
            // A space of the header's padding may become another blank, which changes nothing.
            if let Ok((read, read_state)) = decode(&bytes, &Device::Cpu) {
                let again: Vec<_> = read.into_iter().collect();
                prop_assert_eq!(
                    encode(&again, &read_state).unwrap(), encode(&tensors, &state).unwrap()
                );
            }
        }
    }
}
