//! How many parameters an architecture has, without drawing them.
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};

use crate::registry::{BuildConfig, build};

/// The trainable parameters of the architecture called `name`, and the length of its feature.
///
/// Nothing is initialised: a net of 58 million parameters takes no longer than one of 75 thousand.
///
/// # Errors
/// Those of [`build`].
pub fn parameter_count(name: &str, config: &BuildConfig) -> Result<(usize, usize)> {
    let counter = Counter::default();
    let backend = Box::new(counter.clone());
    let model = build(
        name,
        config,
        VarBuilder::from_backend(backend, DType::F32, Device::Cpu),
    )?;
    let counts = counter.0.lock().unwrap_or_else(PoisonError::into_inner);
    Ok((counts.values().sum(), model.feature_dim()))
}

/// Elements of what was asked for, by name; running statistics are left out.
#[derive(Clone, Default)]
struct Counter(Arc<Mutex<HashMap<String, usize>>>);

impl SimpleBackend for Counter {
    fn get(&self, s: Shape, name: &str, _: Init, dtype: DType, dev: &Device) -> Result<Tensor> {
        if !name.ends_with("running_mean") && !name.ends_with("running_var") {
            let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            counts.insert(name.to_string(), s.elem_count());
        }
        Tensor::zeros(s, dtype, dev)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
        candle_core::bail!("parameter {name:?}: no shape was given for it")
    }

    fn contains_tensor(&self, name: &str) -> bool {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.contains_key(name)
    }
}
