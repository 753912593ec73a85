//! A running moment of a gradient, and the passes that update it with its parameter.
use std::cell::RefCell;
use std::sync::Arc;

use candle_core::{CpuStorage, DType, Device, InplaceOp2, Layout, Result, Tensor, Var, bail};
use rayon::prelude::*;

use crate::kernels::simd::vectorise;
use crate::ops::float::Float;

/// Elements per task. Updates are elementwise, so the split doesn't show in the bits.
const CHUNK: usize = 1 << 15;

/// On the CPU a plain vector, so that one pass can change it together with the parameter: Candle's
/// in-place ops have one destination.
#[derive(Debug, Clone)]
pub(super) enum Moment {
    F32(Vec<f32>),
    F64(Vec<f64>),
    /// Behind a count, since kernels change it in place and clones of an optimiser share it until then.
    OnDevice(Arc<Tensor>),
}

impl Moment {
    pub(super) fn zeros_like(parameter: &Var) -> Result<Self> {
        Self::from_tensor(&parameter.zeros_like()?)
    }

    /// A copy of `tensor`'s values.
    pub(super) fn from_tensor(tensor: &Tensor) -> Result<Self> {
        let tensor = tensor.detach();
        Ok(match (tensor.device(), tensor.dtype()) {
            (Device::Cpu, DType::F32) => Self::F32(tensor.flatten_all()?.to_vec1()?),
            (Device::Cpu, DType::F64) => Self::F64(tensor.flatten_all()?.to_vec1()?),
            (Device::Cpu, dtype) => {
                bail!("optimiser: parameters must be f32 or f64, got {dtype:?}")
            }
            _ => Self::OnDevice(Arc::new(tensor.copy()?)),
        })
    }

    /// A copy as a tensor with the parameter's shape.
    pub(super) fn to_tensor(&self, parameter: &Var) -> Result<Tensor> {
        match self {
            Self::F32(values) => Tensor::from_slice(values, parameter.shape(), &Device::Cpu),
            Self::F64(values) => Tensor::from_slice(values, parameter.shape(), &Device::Cpu),
            Self::OnDevice(tensor) => tensor.copy(),
        }
    }

    /// Copies values that another moment has too: what follows may change them in place.
    #[cfg(feature = "cuda")]
    pub(super) fn unshare(&mut self) -> Result<()> {
        if let Self::OnDevice(tensor) = self
            && Arc::strong_count(tensor) > 1
        {
            *tensor = Arc::new(tensor.copy()?);
        }
        Ok(())
    }

    /// The values on a device other than the CPU.
    #[cfg(feature = "cuda")]
    pub(super) fn on_device(&self) -> Result<&Tensor> {
        match self {
            Self::OnDevice(tensor) => Ok(tensor),
            _ => bail!("optimiser: the state is not on the parameter's device"),
        }
    }
}

/// An elementwise update of a parameter and `N` moments by a gradient, in f32 or f64.
pub(super) trait Update<const N: usize>: Sync {
    /// One pass over a part of them. Implementations are `#[inline(always)]`: only so are they compiled for this CPU's vectors.
    fn apply<T: Float>(&self, parameter: &mut [T], gradient: &[T], moments: [&mut [T]; N]);
}

/// Runs `update` over a CPU parameter in one pass; `gradient` is checked.
pub(super) fn update_in_place<const N: usize>(
    parameter: &Var,
    gradient: &Tensor,
    moments: [&mut Moment; N],
    update: &impl Update<N>,
) -> Result<()> {
    let op = InPlace {
        update,
        moments: RefCell::new(moments),
    };
    parameter.inplace_op2(gradient, &op)
}

/// A gradient that fits its parameter, contiguous.
pub(super) fn check_gradient(name: &str, parameter: &Var, gradient: &Tensor) -> Result<Tensor> {
    if gradient.shape() != parameter.shape() || gradient.dtype() != parameter.dtype() {
        bail!(
            "optimiser: the gradient of {name:?} must be {:?} {:?} like the parameter, got {:?} \
             {:?}",
            parameter.dims(),
            parameter.dtype(),
            gradient.dims(),
            gradient.dtype()
        )
    }
    if !gradient.device().same_device(parameter.device()) {
        bail!("optimiser: the gradient of {name:?} is not on its parameter's device")
    }
    gradient.contiguous()
}

fn apply<T: Float, const N: usize>(
    update: &impl Update<N>,
    parameter: &mut [T],
    gradient: &[T],
    moments: [&mut [T]; N],
) {
    vectorise(
        #[inline(always)]
        || update.apply(parameter, gradient, moments),
    );
}

struct InPlace<'a, U, const N: usize> {
    update: &'a U,
    moments: RefCell<[&'a mut Moment; N]>,
}

impl<U: Update<N>, const N: usize> InPlace<'_, U, N> {
    fn run<T: Float>(
        &self,
        parameter: &mut [T],
        gradient: &[T],
        moments: [&mut [T]; N],
    ) -> Result<()> {
        let length = parameter.len();
        if moments.iter().any(|moment| moment.len() != length) {
            bail!("optimiser: the state's dtype is not its parameter's")
        }
        if length <= CHUNK {
            apply(self.update, parameter, gradient, moments);
            return Ok(());
        }
        let mut tasks = Vec::with_capacity(length.div_ceil(CHUNK));
        let (mut parameter, mut gradient, mut moments) = (parameter, gradient, moments);
        while !parameter.is_empty() {
            let size = CHUNK.min(parameter.len());
            let (head, tail) = parameter.split_at_mut(size);
            let (gradient_head, gradient_tail) = gradient.split_at(size);
            let mut moment_tails = moments.map(|moment| moment.split_at_mut(size));
            let moment_heads = moment_tails
                .each_mut()
                .map(|(head, _)| std::mem::take(head));
            tasks.push((head, gradient_head, moment_heads));
            parameter = tail;
            gradient = gradient_tail;
            moments = moment_tails.map(|(_, tail)| tail);
        }
        tasks
            .into_par_iter()
            .for_each(|(parameter, gradient, moments)| {
                apply(self.update, parameter, gradient, moments);
            });
        Ok(())
    }
}

impl<U: Update<N>, const N: usize> InplaceOp2 for InPlace<'_, U, N> {
    fn name(&self) -> &'static str {
        "optimiser update"
    }

    fn cpu_fwd(
        &self,
        parameter: &mut CpuStorage,
        parameter_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> Result<()> {
        let (Some((start, end)), Some((from, to))) = (
            parameter_layout.contiguous_offsets(),
            gradient_layout.contiguous_offsets(),
        ) else {
            bail!("optimiser: parameters and gradients must be contiguous")
        };
        let mut moments = self.moments.borrow_mut();
        let moments = moments.each_mut().map(|moment| &mut **moment);
        match (parameter, gradient) {
            (CpuStorage::F32(parameter), CpuStorage::F32(gradient)) => {
                let moments = moments.map(|moment| match moment {
                    Moment::F32(values) => values.as_mut_slice(),
                    _ => &mut [],
                });
                self.run(&mut parameter[start..end], &gradient[from..to], moments)
            }
            (CpuStorage::F64(parameter), CpuStorage::F64(gradient)) => {
                let moments = moments.map(|moment| match moment {
                    Moment::F64(values) => values.as_mut_slice(),
                    _ => &mut [],
                });
                self.run(&mut parameter[start..end], &gradient[from..to], moments)
            }
            _ => bail!("optimiser: parameters must be f32 or f64"),
        }
    }
}
