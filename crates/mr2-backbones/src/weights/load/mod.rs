//! Reading: which format it is, and one file for each.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Device;

use super::{Error, Format, Result, WeightFile};

/// Reads a file of weights, or a folder as the Hub lays it out.
///
/// # Errors
/// What is damaged, hostile or of another format; the error names the file.
pub fn read(path: &Path) -> Result<WeightFile> {
    let tensors =
        candle_core::safetensors::load(path, &Device::Cpu).map_err(|e| Error::format(path, e))?;
    Ok(WeightFile {
        tensors: tensors.into_iter().collect(),
        sha256: String::new(),
        format: Format::Safetensors,
        metadata: BTreeMap::new(),
    })
}
