//! Safetensors (<https://huggingface.co/docs/safetensors>): a JSON header, then the tensors' bytes.

use std::path::Path;

use candle_core::DType;
use safetensors::{Dtype, SafeTensors};

use super::elements::Element;
use crate::weights::{Error, Format, Result, Tensors, WeightFile};

/// Whether a file begins with the length of a header and a header.
pub(super) fn is_safetensors(bytes: &[u8]) -> bool {
    let length = bytes
        .first_chunk::<8>()
        .map(|&head| u64::from_le_bytes(head));
    bytes.get(8) == Some(&b'{') && length.is_some_and(|length| length < 1 << 32)
}

pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<WeightFile> {
    let broken = |e| Error::format(path, format!("damaged safetensors: {e}"));
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(broken)?;
    let file = SafeTensors::deserialize(bytes).map_err(broken)?;
    let mut tensors = Tensors::new();
    for (name, view) in file.iter() {
        let element = element(view.dtype()).ok_or_else(|| {
            Error::tensor(
                path,
                name,
                format!("its dtype {:?} is not read", view.dtype()),
            )
        })?;
        let tensor = element.tensor(view.data(), view.shape())?;
        tensors.insert(name.to_string(), tensor);
    }
    Ok(WeightFile {
        tensors,
        sha256: String::new(),
        format: Format::Safetensors,
        metadata: header
            .metadata()
            .clone()
            .unwrap_or_default()
            .into_iter()
            .collect(),
    })
}

fn element(dtype: Dtype) -> Option<Element> {
    Some(match dtype {
        Dtype::F16 => Element::Same(DType::F16),
        Dtype::BF16 => Element::Same(DType::BF16),
        Dtype::F32 => Element::Same(DType::F32),
        Dtype::F64 => Element::Same(DType::F64),
        Dtype::F8_E4M3 => Element::Same(DType::F8E4M3),
        Dtype::U8 => Element::Same(DType::U8),
        Dtype::U32 => Element::Same(DType::U32),
        Dtype::I16 => Element::Same(DType::I16),
        Dtype::I32 => Element::Same(DType::I32),
        Dtype::I64 => Element::Same(DType::I64),
        Dtype::BOOL => Element::Bool,
        Dtype::I8 => Element::I8,
        Dtype::U16 => Element::U16,
        _ => return None,
    })
}
