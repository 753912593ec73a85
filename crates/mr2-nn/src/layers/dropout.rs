//! Dropout on activations and on ordinary tensors.

#[cfg(feature = "cuda")]
mod cuda;

use super::Layer;
use crate::graph::{Act, Core, Ctx, InHandle, Node, Slot, with_slot, with_values};
use crate::kernels::dropout::Mask;
use crate::kernels::pool::PoolBuf;
use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, bail};
use std::sync::Arc;

/// In training, zeroes each element with probability `p` and divides the others by `1 - p`; in
/// evaluation, the identity.
///
/// Masks are a function of the seed and step given to [`Ctx::begin_step`], of the number of the
/// dropout call within the step, and of the element's index: nothing to save in a checkpoint, and
/// the same on any number of threads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    p: f64,
}

impl Dropout {
    /// Dropout with probability `p`.
    ///
    /// # Errors
    /// A `p` outside of 0 (inclusive) to 1 (exclusive).
    pub fn new(p: f64) -> Result<Self> {
        if !(0.0..1.0).contains(&p) {
            bail!("dropout: p must be at least 0 and below 1, got {p}");
        }
        Ok(Self { p })
    }

    fn is_identity(&self, cx: &Ctx) -> bool {
        !cx.is_train() || self.p == 0.0
    }

    fn next_mask(&self, cx: &Ctx) -> Result<Mask> {
        Ok(Mask {
            key: cx.core.next_dropout_key()?,
            p: self.p,
        })
    }

    /// Drops elements of an activation.
    ///
    /// # Errors
    /// In training, no [`Ctx::begin_step`] before.
    pub fn forward(&self, cx: &Ctx, x: &Act) -> Result<Act> {
        x.check_context(cx)?;
        if self.is_identity(cx) {
            return Ok(x.clone());
        }
        let mask = self.next_mask(cx)?;
        with_slot!(
            x,
            slot => forward_slot(x, slot, mask),
            cuda slot => cuda::forward(x, slot, mask)
        )
    }

    /// Drops elements of an ordinary tensor, such as features before the head.
    ///
    /// # Shapes
    /// `x` may have any shape; the result has the same.
    ///
    /// # Errors
    /// In training, no [`Ctx::begin_step`] before; an element type other than f32 and
    /// f64 (on CUDA f32, bf16 and f16).
    pub fn forward_tensor(&self, cx: &Ctx, x: &Tensor) -> Result<Tensor> {
        if self.is_identity(cx) {
            return Ok(x.clone());
        }
        let (x, mask) = (x.contiguous()?, self.next_mask(cx)?);
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() {
            return cuda::forward_tensor(&x, mask);
        }
        x.apply_op1(TensorDropout(mask))
    }
}

impl Layer for Dropout {
    fn forward(&self, cx: &Ctx, x: &Act) -> Result<Act> {
        Dropout::forward(self, cx, x)
    }
}

fn forward_slot<T: InHandle>(x: &Act, slot: &Arc<Slot<T>>, mask: Mask) -> Result<Act> {
    let mut out = x.core.pool.take(slot.shape.elements());
    mask.apply(slot.data(), &mut out);
    x.core.record(slot.shape, out, &[x], &[], || DropoutNode {
        x: slot.clone(),
        mask,
    })
}

struct DropoutNode<T: InHandle> {
    x: Arc<Slot<T>>,
    mask: Mask,
}

impl<T: InHandle> Node<T> for DropoutNode<T> {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn backward(&self, core: &Core, _: &Slot<T>, gradient: PoolBuf<T>) -> Result<()> {
        let mut part = core.pool.take(gradient.len());
        self.mask.apply(&gradient, &mut part);
        self.x.give_gradient(core, part)
    }
}

/// Dropout as an operation on ordinary tensors.
struct TensorDropout(Mask);

impl TensorDropout {
    fn run<T: InHandle>(&self, x: &[T]) -> CpuStorage {
        let mut out = vec![T::zero(); x.len()];
        self.0.apply(x, &mut out);
        T::to_cpu_storage_owned(out)
    }

    fn gradient<T: InHandle>(&self, gradient: &Tensor) -> Result<Tensor> {
        let mut out = vec![T::zero(); gradient.elem_count()];
        with_values(gradient, "dropout", |values| self.0.apply(values, &mut out))?;
        Tensor::from_vec(out, gradient.shape(), gradient.device())
    }
}

impl CustomOp1 for TensorDropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            bail!("dropout: expected a contiguous tensor");
        };
        let out = match storage {
            CpuStorage::F32(values) => self.run(&values[start..end]),
            CpuStorage::F64(values) => self.run(&values[start..end]),
            other => bail!("dropout: expected f32 or f64, got {}", dtype_name(other)),
        };
        Ok((out, layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let gradient = gradient.contiguous()?;
        match gradient.dtype() {
            DType::F64 => self.gradient::<f64>(&gradient).map(Some),
            _ => self.gradient::<f32>(&gradient).map(Some),
        }
    }
}

fn dtype_name(storage: &CpuStorage) -> &'static str {
    candle_core::backend::BackendStorage::dtype(storage).as_str()
}
