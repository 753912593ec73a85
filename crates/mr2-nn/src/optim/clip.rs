//! The norm of all gradients, and clipping by it.
use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Result, Tensor, Var, bail};
use rayon::prelude::*;

#[cfg(feature = "cuda")]
use super::on_device::{self, Clipped};
use crate::ops::float::{self, Float};

/// Elements summed by one task; fixed, so that the bits don't depend on the number of threads.
const CHUNK: usize = 1 << 14;

/// PyTorch's guard against division by zero in `clip_grad_norm_`.
const EPSILON: f64 = 1e-6;

/// The L2 norm of the gradients of `params`, taken together in the order of the list. Parameters
/// without a gradient count as zero.
///
/// # Errors
/// A norm that is NaN or infinite; the error names the first parameter whose gradient is to blame.
pub fn grad_norm(params: &[(String, Var)], gradients: &GradStore) -> Result<f64> {
    #[cfg(feature = "cuda")]
    if let Some(found) = Found::on_one_device(params, gradients)? {
        return found.read(&found.clipped(None)?).map(|(norm, _)| norm);
    }
    one_by_one(params, gradients)
}

fn one_by_one(params: &[(String, Var)], gradients: &GradStore) -> Result<f64> {
    let mut total = 0.0;
    for (name, parameter) in params {
        if let Some(gradient) = gradients.get(parameter.as_tensor()) {
            let squares = sum_of_squares(gradient)?;
            if !squares.is_finite() {
                bail!("the gradient of {name:?} has the norm {}", squares.sqrt())
            }
            total += squares;
        }
    }
    Ok(total.sqrt())
}

/// `torch.nn.utils.clip_grad_norm_`: scales all gradients by `max_norm / (norm + 1e-6)` where
/// that is below one. Returns the norm before.
///
/// # Errors
/// As [`grad_norm`], with the gradients unchanged; a `max_norm` that is not positive.
pub fn clip_grad_norm(
    params: &[(String, Var)],
    gradients: &mut GradStore,
    max_norm: f64,
) -> Result<f64> {
    check_max_norm(max_norm)?;
    #[cfg(feature = "cuda")]
    if let Some(found) = Found::on_one_device(params, gradients)? {
        let clipped = found.clipped(Some(max_norm))?;
        let (norm, factor) = found.read(&clipped)?;
        if factor < 1.0 {
            found.insert(clipped, gradients);
        }
        return Ok(norm);
    }
    let norm = one_by_one(params, gradients)?;
    let factor = max_norm / (norm + EPSILON);
    if factor < 1.0 {
        for (_, parameter) in params {
            // A new tensor: two entries of the store may share their storage.
            if let Some(gradient) = gradients.get(parameter.as_tensor()) {
                let scaled = (gradient * factor)?;
                gradients.insert(parameter.as_tensor(), scaled);
            }
        }
    }
    Ok(norm)
}

/// [`clip_grad_norm`], or [`grad_norm`] without a `max_norm`, that leaves the norm of gradients in f32 on one
/// CUDA device there, where nothing waits for it; a norm that isn't finite is no error then: it is returned, and the gradients
/// are as before. Of other gradients the norm is on the CPU.
///
/// # Shapes
/// The result is a scalar in f64.
///
/// # Errors
/// As [`clip_grad_norm`] where the norm is at hand, as on the CPU.
pub fn clip_grad_norm_unread(
    params: &[(String, Var)],
    gradients: &mut GradStore,
    max_norm: Option<f64>,
) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if let Some(found) = Found::on_one_device(params, gradients)? {
        max_norm.map_or(Ok(()), check_max_norm)?;
        let clipped = found.clipped(max_norm)?;
        let norm = clipped.norm()?;
        if max_norm.is_some() {
            found.insert(clipped, gradients);
        }
        return Ok(norm);
    }
    let norm = match max_norm {
        None => grad_norm(params, gradients)?,
        Some(max_norm) => clip_grad_norm(params, gradients, max_norm)?,
    };
    Tensor::new(norm, &Device::Cpu)
}

fn check_max_norm(max_norm: f64) -> Result<()> {
    if max_norm.is_nan() || max_norm <= 0.0 {
        bail!("clip_grad_norm: max_norm must be positive, got {max_norm}")
    }
    Ok(())
}

/// Gradients that are all on one CUDA device, contiguous, with their parameters.
#[cfg(feature = "cuda")]
struct Found<'a> {
    device: candle_core::CudaDevice,
    names: Vec<&'a str>,
    parameters: Vec<&'a Var>,
    gradients: Vec<Tensor>,
}

#[cfg(feature = "cuda")]
impl<'a> Found<'a> {
    fn on_one_device(params: &'a [(String, Var)], store: &GradStore) -> Result<Option<Self>> {
        let (mut names, mut parameters, mut gradients) = (Vec::new(), Vec::new(), Vec::new());
        for (name, parameter) in params {
            if let Some(gradient) = store.get(parameter.as_tensor()) {
                names.push(name.as_str());
                parameters.push(parameter);
                gradients.push(gradient.contiguous()?);
            }
        }
        let device = on_device::device_of_all(gradients.iter());
        Ok(device.map(|device| Self {
            device,
            names,
            parameters,
            gradients,
        }))
    }

    fn clipped(&self, max_norm: Option<f64>) -> Result<Clipped> {
        Clipped::new(&self.device, &self.gradients, max_norm, EPSILON)
    }

    /// Waits for norm and factor; refuses a norm that isn't finite, and then looks for whose it is.
    fn read(&self, clipped: &Clipped) -> Result<(f64, f64)> {
        let (norm, factor) = clipped.read()?;
        if norm.is_finite() {
            return Ok((norm, factor));
        }
        for (name, gradient) in self.names.iter().zip(&self.gradients) {
            let squares = sum_of_squares(gradient)?;
            if !squares.is_finite() {
                bail!("the gradient of {name:?} has the norm {}", squares.sqrt())
            }
        }
        bail!("the gradients have the norm {norm}")
    }

    fn insert(&self, clipped: Clipped, store: &mut GradStore) {
        for (parameter, scaled) in self.parameters.iter().zip(clipped.scaled) {
            store.insert(parameter.as_tensor(), scaled);
        }
    }
}

/// In f64, in an order that the number of threads doesn't change.
pub(super) fn sum_of_squares(tensor: &Tensor) -> Result<f64> {
    let gradient = tensor.contiguous()?;
    match (gradient.device(), gradient.dtype()) {
        (Device::Cpu, DType::F32) => on_host::<f32>(&gradient),
        (Device::Cpu, DType::F64) => on_host::<f64>(&gradient),
        _ => gradient.to_dtype(DType::F64)?.sqr()?.sum_all()?.to_scalar(),
    }
}

fn on_host<T: Float>(gradient: &Tensor) -> Result<f64> {
    // In f64, since the square of an f32 beyond 1.8e19 overflows.
    let squares = |chunk: &[T]| {
        let mut lanes = [0.0; 8];
        let groups = chunk.chunks_exact(lanes.len());
        let tail: f64 = groups
            .remainder()
            .iter()
            .map(|v| v.to_f64() * v.to_f64())
            .sum();
        for group in groups {
            for (lane, value) in lanes.iter_mut().zip(group) {
                *lane += value.to_f64() * value.to_f64();
            }
        }
        tail + lanes.iter().sum::<f64>()
    };
    float::with_slice("grad_norm", gradient, |values: &[T]| {
        let partial: Vec<f64> = match values.len() < float::PARALLEL_FROM {
            true => values.chunks(CHUNK).map(squares).collect(),
            false => values.par_chunks(CHUNK).map(squares).collect(),
        };
        partial.iter().sum()
    })
}
