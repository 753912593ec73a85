//! Weights of others: files and folders as they are published, read without running anything that
//! is in them, and loaded strictly.
//!
//! [`read`] tells the format from the content: safetensors, or either of PyTorch's two formats, in one file
//! or in shards. What it gives are the names of the file; [`fit`] puts tensors into a model and names in one
//! error whatever is missing, unexpected, of another shape or not finite.
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use mr2_backbones::weights::{fit, read};
//! use mr2_nn::params::ParamStore;
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("model.safetensors");
//! # let weight = Tensor::ones((2, 3), DType::F16, &Device::Cpu)?;
//! # candle_core::safetensors::save(&[("model.fc.weight".to_string(), weight)].into(), &path)?;
//! let file = read(&path)?;
//! let named = |(name, tensor): (String, Tensor)| {
//!     let name = name.strip_prefix("model.").unwrap_or(&name).to_string();
//!     (name, tensor)
//! };
//! let tensors = file.tensors.into_iter().map(named).collect();
//!
//! let store = ParamStore::new(7, DType::F32, &Device::Cpu);
//! let layer = store.var_builder().pp("fc");
//! let weight = layer.get((2, 3), "weight")?;
//! layer.get(2, "bias")?;
//! let kept = fit(&store, tensors, &["*.bias".to_string()])?;
//! assert_eq!(kept, ["fc.bias"]);
//! assert_eq!(weight.sum_all()?.to_scalar::<f32>()?, 6.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
mod error;
mod fit;
#[cfg(feature = "hub")]
pub mod hub;
pub mod keys;
mod load;
pub mod positions;

use std::collections::BTreeMap;

use candle_core::Tensor;

pub use error::{Error, Result};
pub use fit::fit;
pub use load::{NAMES, read};

/// Tensors by name, on the CPU. Nested dictionaries and lists are joined with dots:
/// `state_dict.module.encoder_q.conv1.weight`, `optimizer.state.0.exp_avg`.
pub type Tensors = BTreeMap<String, Tensor>;

/// What a file of weights, or a folder of shards, holds.
#[derive(Debug)]
pub struct WeightFile {
    /// The tensors, under the names of the file.
    pub tensors: Tensors,
    /// SHA-256 of the file, in hexadecimal; of several shards: SHA-256 of their sums in hexadecimal, one after
    /// the other, in the order of the shards' names.
    pub sha256: String,
    /// How it is written.
    pub format: Format,
    /// The text that safetensors keeps beside the tensors; of several shards, what the first says.
    pub metadata: BTreeMap<String, String>,
}

/// How weights are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// <https://huggingface.co/docs/safetensors>
    Safetensors,
    /// `torch.save` since PyTorch 1.6: a pickle and its storages in a zip archive.
    TorchZip,
    /// `torch.save` before, and still with `_use_new_zipfile_serialization=False`: pickles, then storages.
    TorchLegacy,
}
