//! Values of Candle tensors as slices.

use crate::kernels::real::Real;
use candle_core::{Result, Storage, Tensor, bail};

/// Calls `read` with the values of a contiguous CPU tensor; `what` names it in errors.
pub(crate) fn with_values<T: Real, R>(
    tensor: &Tensor,
    what: &str,
    read: impl FnOnce(&[T]) -> R,
) -> Result<R> {
    if tensor.dtype() != T::DTYPE {
        bail!("{what}: expected {:?}, got {:?}", T::DTYPE, tensor.dtype());
    }
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else {
        bail!(
            "{what}: expected a tensor on the CPU, got one on {:?}",
            tensor.device()
        );
    };
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!(
            "{what}: expected a contiguous tensor, got strides {:?}",
            layout.stride()
        );
    };
    Ok(read(&T::cpu_storage_as_slice(storage)?[start..end]))
}

/// The values of a parameter.
pub(crate) fn values_of<T: Real>(tensor: &Tensor, what: &str) -> Result<Vec<T>> {
    with_values(&tensor.contiguous()?, what, |values: &[T]| values.to_vec())
}
