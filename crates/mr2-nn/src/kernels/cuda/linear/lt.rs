//! Calls of cuBLASLt, which adds a bias and a matrix while it writes a product.
//!
//! Handles and descriptors are kept by each thread that calls, and never destroyed: there are as many as a program has
//! shapes.

use super::super::product::Sizes;
use super::super::{address, device_of};
use super::plan::{Key, Plan, Pointers, done, execute, plan};
use candle_core::cuda_backend::cudarc::cublaslt::{result, sys};
use candle_core::cuda_backend::{DeviceId, gemm_reduced_precision_f32};
use candle_core::{CudaDevice, DType, Result, Tensor, bail};
use std::cell::RefCell;
use std::collections::HashMap;

/// Sizes up to here are those that other users of cuBLASLt's epilogues dare.
const LARGEST: usize = 65_535 * 32;

/// Bytes that pointers are multiples of: the least that is worth a try, and all that makes a difference.
const ALIGNED: [u64; 2] = [16, 256];

/// Contiguous tensors of one element type that fit together, as `linear::sizes` checks.
#[derive(Clone, Copy)]
pub(super) struct Operands<'a> {
    pub(super) x: &'a Tensor,
    pub(super) weight: &'a Tensor,
    pub(super) bias: Option<&'a Tensor>,
    pub(super) skip: Option<&'a Tensor>,
    pub(super) out: &'a Tensor,
}

thread_local! {
    static HANDLES: RefCell<HashMap<DeviceId, sys::cublasLtHandle_t>> = RefCell::default();
    /// None is for what cuBLASLt doesn't do.
    static PLANS: RefCell<HashMap<Key, Option<Plan>>> = RefCell::default();
}

/// `out = x weightᵀ + bias + skip`, or false where cuBLASLt can't.
pub(super) fn multiply(operands: Operands<'_>, sizes: Sizes) -> Result<bool> {
    let device = device_of(operands.out)?;
    let pointers = operands.pointers()?;
    let Some(aligned) = alignment(&pointers).filter(|_| may_try(sizes)) else {
        return Ok(false);
    };
    let dtype = operands.x.dtype();
    let key = Key {
        device: device.id(),
        dtype,
        reduced: dtype == DType::F32 && gemm_reduced_precision_f32(),
        rows: sizes.rows,
        inner: sizes.inner,
        columns: sizes.columns,
        bias: operands.bias.is_some(),
        skip: operands.skip.is_some(),
        aligned,
    };
    if let Err(error) = device.cuda_stream().context().bind_to_thread() {
        bail!("linear: {error}");
    }
    let known = PLANS.with_borrow(|plans| plans.get(&key).copied());
    let plan = match known {
        Some(plan) => plan,
        None => {
            let handle = handle_of(&device)?;
            // SAFETY: handles are never destroyed.
            let plan = done(unsafe { plan(handle, &key, pointers.bias) })?;
            PLANS.with_borrow_mut(|plans| plans.insert(key, plan));
            plan
        }
    };
    let Some(plan) = plan else {
        return Ok(false);
    };
    // SAFETY: the operands outlive the call, and have the sizes and types of the key (`linear::sizes`).
    let ran = unsafe { execute(&device, &plan, pointers, key.skip) }?.is_some();
    if !ran {
        PLANS.with_borrow_mut(|plans| plans.insert(key, None));
    }
    Ok(ran)
}

impl Operands<'_> {
    fn pointers(&self) -> Result<Pointers> {
        let d = address(self.out)?;
        Ok(Pointers {
            a: address(self.weight)?,
            b: address(self.x)?,
            c: self.skip.map_or(Ok(d), address)?,
            d,
            bias: self.bias.map_or(Ok(0), address)?,
        })
    }
}

/// The power of two that all pointers are multiples of, unless it is too small.
fn alignment(p: &Pointers) -> Option<u32> {
    let [least, most] = ALIGNED;
    let common = p.a | p.b | p.c | p.d | p.bias | most;
    let aligned = 1u64 << common.trailing_zeros();
    (aligned >= least).then_some(aligned as u32)
}

/// cuBLASLt has had mistakes in products of vectors, and in very large ones.
fn may_try(sizes: Sizes) -> bool {
    [sizes.rows, sizes.inner, sizes.columns]
        .iter()
        .all(|size| (2..=LARGEST).contains(size))
}

fn handle_of(device: &CudaDevice) -> Result<sys::cublasLtHandle_t> {
    if let Some(handle) = HANDLES.with_borrow(|handles| handles.get(&device.id()).copied()) {
        return Ok(handle);
    }
    let handle = match result::create_handle() {
        Ok(handle) => handle,
        Err(error) => bail!("linear: cuBLASLt says {error}"),
    };
    HANDLES.with_borrow_mut(|handles| handles.insert(device.id(), handle));
    Ok(handle)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const ALL: Pointers = Pointers {
        a: 0x1000,
        b: 0x2000,
        c: 0x3000,
        d: 0x3000,
        bias: 0,
    };

    #[test]
    fn the_least_aligned_pointer_decides() {
        assert_eq!(alignment(&ALL), Some(256));
        assert_eq!(alignment(&Pointers { b: 0x2040, ..ALL }), Some(64));
        let bias = |bias| alignment(&Pointers { bias, ..ALL });
        assert_eq!(bias(0x5010), Some(16));
        assert_eq!(bias(0x5008), None);
    }

    #[test]
    fn vectors_and_very_large_sizes_are_left_to_others() {
        let sizes = Sizes {
            batch: 1,
            rows: 50_432,
            inner: 768,
            columns: 10,
        };
        assert!(may_try(sizes));
        assert!(!may_try(Sizes { rows: 1, ..sizes }));
        assert!(!may_try(Sizes {
            columns: 1,
            ..sizes
        }));
        assert!(!may_try(Sizes {
            rows: LARGEST + 1,
            ..sizes
        }));
    }
}
