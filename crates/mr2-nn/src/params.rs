//! The parameters and buffers of a model, in order and from a seed.
//!
//! `candle_nn::VarMap` is unordered, can't be seeded on the CPU and mixes running statistics with
//! weights. [`ParamStore`] is the same thing for training: a back end of `candle_nn::VarBuilder`
//! whose sums over parameters give the same bits in every run and whose buffers never reach an
//! optimiser. Layers built from a `VarMap` work too, unseeded and with the buffers among the
//! variables.
//!
//! ```
//! use candle_core::{DType, Device};
//! use mr2_nn::params::ParamStore;
//! let store = ParamStore::new(7, DType::F32, &Device::Cpu);
//! let weight = store.var_builder().pp("fc").get((2, 3), "weight")?;
//! assert_eq!(store.parameters()[0].0, "fc.weight");
//! assert_eq!(store.parameters()[0].1.as_tensor().id(), weight.id());
//! # Ok::<(), candle_core::Error>(())
//! ```
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device, Result, Shape, Tensor, Var, bail};
use candle_nn::init::NormalOrUniform;
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use rayon::prelude::*;

use crate::rng;
use crate::weight_differences::differences;

/// The last parts of the names that belong to buffers: state that is saved but not optimised.
const BUFFER_NAMES: [&str; 2] = ["running_mean", "running_var"];

/// An ordered, seeded store of named variables. Clones share the variables.
///
/// The first request for a name creates the variable, drawn from the initialisation of the
/// request and a stream of the store's seed named after it: two stores with one seed agree on
/// every tensor whatever else they hold. Later requests return the same variable. The order is
/// that of the first requests: build in one thread where sums over parameters must repeat.
#[derive(Clone)]
pub struct ParamStore {
    /// Without it parameters start from zeros.
    seed: Option<u64>,
    /// These start from zeros in any case.
    zeros: Arc<HashSet<String>>,
    dtype: DType,
    device: Device,
    entries: Arc<Mutex<Entries>>,
}

#[derive(Default)]
struct Entries {
    in_order: Vec<(String, Var)>,
    index: HashMap<String, usize>,
}

impl Entries {
    /// What an earlier request for `name` created.
    fn find(&self, name: &str, shape: &Shape, dtype: DType) -> Result<Option<Tensor>> {
        let Some(&at) = self.index.get(name) else {
            return Ok(None);
        };
        let tensor = self.in_order[at].1.as_tensor();
        if tensor.shape() != shape || tensor.dtype() != dtype {
            bail!(
                "parameter {name:?} exists with shape {:?} and dtype {:?}, asked for again with \
                 {:?} and {dtype:?}",
                tensor.dims(),
                tensor.dtype(),
                shape.dims()
            )
        }
        Ok(Some(tensor.clone()))
    }
}

impl ParamStore {
    /// An empty store.
    pub fn new(seed: u64, dtype: DType, device: &Device) -> Self {
        Self {
            seed: Some(seed),
            zeros: Arc::default(),
            dtype,
            device: device.clone(),
            entries: Arc::default(),
        }
    }

    /// An empty store whose variables start from zeros, whatever the layers ask for: where weights are to
    /// be loaded or only counted, drawing millions of numbers would be in vain.
    pub fn zeros(dtype: DType, device: &Device) -> Self {
        Self {
            seed: None,
            zeros: Arc::default(),
            dtype,
            device: device.clone(),
            entries: Arc::default(),
        }
    }

    /// The same, but for variables of these names, which start from zeros: those of a file that is loaded next.
    ///
    /// ```
    /// use candle_core::{DType, Device};
    /// use mr2_nn::params::ParamStore;
    /// let store = ParamStore::new(7, DType::F32, &Device::Cpu).zeros_for(["fc.weight".to_string()]);
    /// let (fc, head) = (store.var_builder().pp("fc"), store.var_builder().pp("head"));
    /// let normal = candle_nn::Init::Randn { mean: 0.0, stdev: 1.0 };
    /// assert_eq!(fc.get_with_hints(2, "weight", normal)?.to_vec1::<f32>()?, [0.0, 0.0]);
    /// assert_ne!(head.get_with_hints(2, "weight", normal)?.to_vec1::<f32>()?, [0.0, 0.0]);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn zeros_for(self, names: impl IntoIterator<Item = String>) -> Self {
        Self {
            zeros: Arc::new(names.into_iter().collect()),
            ..self
        }
    }

    /// The builder to construct layers from; what they ask for is kept here.
    pub fn var_builder(&self) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self.clone()), self.dtype, self.device.clone())
    }

    /// What an optimiser may change, in order of creation.
    pub fn parameters(&self) -> Vec<(String, Var)> {
        self.select(|name| !is_buffer(name))
    }

    /// Running statistics (names that end in `running_mean` or `running_var`), in order of
    /// creation.
    pub fn buffers(&self) -> Vec<(String, Var)> {
        self.select(is_buffer)
    }

    /// Parameters and buffers, in order of creation, cut off from any graph. They share storage
    /// with the variables: copy them to keep a state that training goes on to change.
    ///
    /// # Shapes
    /// Each tensor has the shape that its layer asked for.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        let all = self.select(|_| true);
        all.into_iter()
            .map(|(name, var)| (name, var.as_tensor().detach()))
            .collect()
    }

    /// Sets every parameter and buffer. Values are converted to the dtype of the store;
    /// `num_batches_tracked`, which PyTorch's state dicts have, is passed over.
    ///
    /// # Shapes
    /// Each tensor must have the shape of the one it replaces.
    ///
    /// # Errors
    /// Names that are missing, unexpected or have another shape: one error lists them all, with
    /// the nearest name where there is one, and nothing is changed.
    pub fn load(&self, tensors: &HashMap<String, Tensor>) -> Result<()> {
        self.load_present(tensors, |_| false).map(drop)
    }

    /// [`Self::load`], but a tensor whose name `may_miss` accepts may be missing. Returns the names of those
    /// that are and so keep their values, in order of creation.
    ///
    /// # Shapes
    /// Each tensor must have the shape of the one it replaces.
    ///
    /// # Errors
    /// Those of [`Self::load`].
    pub fn load_present(
        &self,
        tensors: &HashMap<String, Tensor>,
        may_miss: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>> {
        let problems = self.differences(tensors, may_miss);
        if !problems.is_empty() {
            bail!(
                "the weights don't fit the model:\n  {}",
                problems.join("\n  ")
            )
        }
        let (given, kept): (Vec<_>, Vec<_>) = self
            .select(|_| true)
            .into_iter()
            .partition(|(name, _)| tensors.contains_key(name));
        // All are copied before the first is set: they may be this store's own tensors.
        let mut values = Vec::with_capacity(given.len());
        for (name, var) in &given {
            let value = tensors[name].to_device(var.device())?;
            values.push(value.to_dtype(var.dtype())?.copy()?);
        }
        for ((_, var), value) in given.iter().zip(&values) {
            var.set(value)?;
        }
        Ok(kept.into_iter().map(|(name, _)| name).collect())
    }

    /// One line for every tensor that is missing (and may not be), unexpected or of another shape, with the
    /// nearest name where there is one: what [`Self::load`] refuses.
    ///
    /// # Shapes
    /// Any: they are compared.
    pub fn differences(
        &self,
        tensors: &HashMap<String, Tensor>,
        may_miss: impl Fn(&str) -> bool,
    ) -> Vec<String> {
        differences(&self.select(|_| true), tensors, may_miss)
    }

    fn select(&self, keep: impl Fn(&str) -> bool) -> Vec<(String, Var)> {
        let entries = self.lock();
        entries
            .in_order
            .iter()
            .filter(|(name, _)| keep(name))
            .cloned()
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // An entry is pushed whole or not at all, so a panic elsewhere leaves the map usable.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SimpleBackend for ParamStore {
    fn get(&self, s: Shape, name: &str, h: Init, dtype: DType, dev: &Device) -> Result<Tensor> {
        if let Some(tensor) = self.lock().find(name, &s, dtype)? {
            return Ok(tensor);
        }
        // Without the lock: a thread that waits for the loops of `draw` may run another task of
        // rayon's, which may ask for a parameter too.
        let var = match self.seed.filter(|_| !self.zeros.contains(name)) {
            Some(seed) => {
                let values = draw(&s, h, rng::stream(seed, name));
                Var::from_tensor(&Tensor::from_vec(values, &s, dev)?.to_dtype(dtype)?)?
            }
            None => Var::zeros(s.clone(), dtype, dev)?,
        };
        let tensor = var.as_tensor().clone();
        let mut entries = self.lock();
        if let Some(tensor) = entries.find(name, &s, dtype)? {
            return Ok(tensor); // Another thread was faster, with the same values.
        }
        let at = entries.in_order.len();
        entries.index.insert(name.to_string(), at);
        entries.in_order.push((name.to_string(), var));
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, _dev: &Device) -> Result<Tensor> {
        let entries = self.lock();
        match entries
            .index
            .get(name)
            .map(|&at| entries.in_order[at].1.as_tensor())
        {
            Some(tensor) if tensor.dtype() == dtype => Ok(tensor.clone()),
            Some(tensor) => {
                bail!(
                    "parameter {name:?} has dtype {:?}, asked for {dtype:?}",
                    tensor.dtype()
                )
            }
            None => bail!("parameter {name:?} doesn't exist yet and no shape was given for it"),
        }
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.lock().index.contains_key(name)
    }
}

fn is_buffer(name: &str) -> bool {
    BUFFER_NAMES.contains(&name.rsplit('.').next().unwrap_or(name))
}

/// The values of a new variable. `Init` says "Kaiming" by fan and gain as PyTorch does.
fn draw(shape: &Shape, init: Init, seed: u64) -> Vec<f64> {
    let indices = (0..shape.elem_count() as u64).into_par_iter();
    let uniform = |lo: f64, up: f64| -> Vec<f64> {
        indices
            .clone()
            .map(|i| lo + (up - lo) * rng::uniform(seed, i))
            .collect()
    };
    let normal = |mean: f64, stdev: f64| -> Vec<f64> {
        indices
            .clone()
            .map(|i| mean + stdev * rng::normal(seed, i))
            .collect()
    };
    match init {
        Init::Const(value) => vec![value; shape.elem_count()],
        Init::Randn { mean, stdev } => normal(mean, stdev),
        Init::Uniform { lo, up } => uniform(lo, up),
        Init::Kaiming {
            dist,
            fan,
            non_linearity,
        } => {
            let stdev = non_linearity.gain() / (fan.for_shape(shape) as f64).sqrt();
            match dist {
                NormalOrUniform::Normal => normal(0.0, stdev),
                NormalOrUniform::Uniform => uniform(-(3f64.sqrt() * stdev), 3f64.sqrt() * stdev),
            }
        }
    }
}
