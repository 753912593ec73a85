//! How many parameters an architecture has, without drawing them.
use candle_core::{DType, Device, Result};
use mr2_nn::params::ParamStore;

use crate::registry::{BuildConfig, build};

/// The trainable parameters of the architecture called `name`, and the length of its feature.
///
/// # Errors
/// Those of [`build`].
pub fn parameter_count(name: &str, config: &BuildConfig) -> Result<(usize, usize)> {
    let store = ParamStore::zeros(DType::F32, &Device::Cpu);
    let model = build(name, config, store.var_builder())?;
    let parameters = store.parameters();
    let count = parameters.iter().map(|(_, var)| var.elem_count()).sum();
    Ok((count, model.feature_dim()))
}
