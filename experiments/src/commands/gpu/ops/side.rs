//! One side of a comparison: a device, element types, and the same random numbers for both.

use anyhow::Result;
use candle_core::{DType, Device, Tensor, Var};
use mr2_nn::graph::{Act, Ctx, Mode};
use mr2_nn::params::ParamStore;

use crate::commands::bench::inputs::normals;
use crate::device::Precision;

const SEED: u64 = 3;
/// What is added to initial values, many of which are 0 or 1.
const NOISE: f64 = 0.1;

/// Where and how an operation runs.
pub(super) struct Side {
    pub(super) device: Device,
    /// Of activations.
    compute: DType,
    /// Of parameters, losses and everything else that is kept.
    pub(super) wide: DType,
    /// What inputs are rounded to on both sides.
    rounded: DType,
}

impl Side {
    /// The CPU in f64.
    pub(super) fn reference(precision: Precision) -> Self {
        Self {
            device: Device::Cpu,
            compute: DType::F64,
            wide: DType::F64,
            rounded: precision.dtype(),
        }
    }

    /// The device in a precision.
    pub(super) fn checked(device: &Device, precision: Precision) -> Self {
        Self {
            device: device.clone(),
            compute: precision.dtype(),
            wide: DType::F32,
            rounded: precision.dtype(),
        }
    }

    /// A context whose dropout stream has begun.
    pub(super) fn context(&self, mode: Mode) -> Result<Ctx> {
        let context = Ctx::new(&self.device, self.compute, mode)?;
        context.begin_step(SEED, 1);
        Ok(context)
    }

    pub(super) fn store(&self) -> ParamStore {
        ParamStore::new(SEED, self.wide, &self.device)
    }

    /// Moves every parameter and buffer off its initial value.
    pub(super) fn perturb(&self, store: &ParamStore) -> Result<()> {
        for (name, var) in store.parameters().into_iter().chain(store.buffers()) {
            let noise = self.exact(&normals(&name, var.dims())?)?;
            var.set(&(var.as_tensor() + (noise * NOISE)?)?)?;
        }
        Ok(())
    }

    /// Normal numbers that both sides hold exactly.
    pub(super) fn numbers(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        self.exact(&normals(name, shape)?.to_dtype(self.rounded)?)
    }

    /// The same as a variable.
    pub(super) fn variable(&self, name: &str, shape: &[usize]) -> Result<Var> {
        Ok(Var::from_tensor(&self.numbers(name, shape)?)?)
    }

    /// Images, or sequences where there are three dimensions, in the type of activations.
    pub(super) fn enter(&self, context: &Ctx, values: &Var) -> Result<Act> {
        let values = values.to_dtype(self.compute)?;
        Ok(match values.rank() {
            3 => context.enter_tokens(&values)?,
            _ => context.enter(&values)?,
        })
    }

    /// A tensor that leaves the layers, in the type of losses.
    pub(super) fn wide(&self, tensor: &Tensor) -> candle_core::Result<Tensor> {
        tensor.to_dtype(self.wide)
    }

    /// A linear function with random weights, so that every element of the gradient differs.
    pub(super) fn weighted_sum(&self, output: &Tensor) -> Result<Tensor> {
        let weights = self.numbers("upstream", output.dims())?;
        Ok((output * weights)?.sum_all()?)
    }

    fn exact(&self, numbers: &Tensor) -> Result<Tensor> {
        Ok(numbers.to_dtype(self.wide)?.to_device(&self.device)?)
    }
}
