//! Where all parameters are on one CUDA device: their norms and updates are a few launches together.
use candle_core::{CudaDevice, DType, Device, Result, Tensor, bail};

use super::state::Slot;
use crate::kernels::cuda;

/// The CUDA device of all parameters, if they are on one and in f32.
pub(super) fn one_device<S>(slots: &[Slot<S>]) -> Option<CudaDevice> {
    device_of_all(slots.iter().map(|slot| slot.parameter.as_tensor()))
}

/// The CUDA device of all tensors, if they are on one and in f32.
pub(super) fn device_of_all<'a>(tensors: impl Iterator<Item = &'a Tensor>) -> Option<CudaDevice> {
    let mut found: Option<CudaDevice> = None;
    for tensor in tensors {
        let Device::Cuda(device) = tensor.device() else {
            return None;
        };
        if tensor.dtype() != DType::F32 || found.as_ref().is_some_and(|f| f.id() != device.id()) {
            return None;
        }
        found.get_or_insert_with(|| device.clone());
    }
    found
}

/// The norm of contiguous gradients, and the gradients scaled to a norm of at most `max_norm`.
pub(super) struct Clipped {
    /// The norm before and the factor, (2), f64.
    numbers: Tensor,
    /// In the order of the gradients; empty without a `max_norm`.
    pub(super) scaled: Vec<Tensor>,
}

impl Clipped {
    /// Queued, not waited for.
    pub(super) fn new(
        device: &CudaDevice,
        gradients: &[Tensor],
        max_norm: Option<f64>,
        epsilon: f64,
    ) -> Result<Self> {
        let numbers = cuda::optim::norm(device, gradients, max_norm, epsilon)?;
        let scaled = match max_norm {
            None => Vec::new(),
            Some(_) => cuda::optim::scaled(device, gradients, &numbers)?,
        };
        Ok(Self { numbers, scaled })
    }

    /// The norm, a scalar in f64 on the device.
    pub(super) fn norm(&self) -> Result<Tensor> {
        self.numbers.get(0)
    }

    /// Waits for the norm and the factor.
    pub(super) fn read(&self) -> Result<(f64, f64)> {
        match self.numbers.to_vec1::<f64>()?[..] {
            [norm, factor] => Ok((norm, factor)),
            _ => bail!("optimiser: norm and factor expected"),
        }
    }
}
