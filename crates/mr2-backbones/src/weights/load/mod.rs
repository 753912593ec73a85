//! Reading: where the weights are, which format they have, and one file for each format.

mod elements;
mod folder;
mod map;
mod names;
mod objects;
mod safetensors;
mod storage;
mod torch_legacy;
mod torch_zip;

use std::fmt::Write;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{Error, Result, WeightFile};

pub use folder::NAMES;

/// Reads a file of weights, the index of a sharded checkpoint, or a folder as the Hub lays it out: with
/// `model.safetensors`, `open_clip_model.safetensors`, `pytorch_model.bin`, `open_clip_pytorch_model.bin` or
/// the index of one of them, looked for in this order.
///
/// Of what PyTorch writes, tensors and parameters are read, however deep they are nested; numbers, text, NumPy's
/// arrays and the like are passed over. Dtypes that Candle lacks become `i64` (`i8`, `u16`) or `u8` (Booleans).
///
/// # Errors
/// A file that is missing, damaged, hostile, big-endian, TorchScript or of another format, or a pickle that
/// names anything beside tensors, their storages and plain containers. The error names the file.
pub fn read(path: &Path) -> Result<WeightFile> {
    if path.is_dir() {
        folder::read(path)
    } else if path.to_string_lossy().ends_with(folder::INDEX) {
        folder::read_shards(path)
    } else {
        read_file(path)
    }
}

fn read_file(path: &Path) -> Result<WeightFile> {
    let bytes = map::map(path)?;
    let bytes: &[u8] = &bytes;
    let mut file = if safetensors::is_safetensors(bytes) {
        safetensors::read(path, bytes)
    } else if mr2_pickle::Archive::is_zip(bytes) {
        torch_zip::read(path, bytes)
    } else if bytes.first() == Some(&0x80) {
        torch_legacy::read(path, bytes)
    } else {
        Err(Error::format(path, what_else(bytes)))
    }?;
    file.sha256 = sha256(bytes);
    Ok(file)
}

/// What people have in place of weights.
fn what_else(bytes: &[u8]) -> String {
    let start = &bytes[..bytes.len().min(400)];
    let text = String::from_utf8_lossy(start).to_ascii_lowercase();
    let text = text.trim_start();
    if bytes.is_empty() {
        "it is empty".to_string()
    } else if text.starts_with("version https://git-lfs") {
        "it is a pointer of Git LFS in place of the file: run `git lfs pull`".to_string()
    } else if text.starts_with('<') {
        "it is a web page, perhaps a server's error: get it again".to_string()
    } else {
        let shown = &bytes[..bytes.len().min(8)];
        format!("its first bytes are {shown:02x?}, which begin none of the formats")
    }
}

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
