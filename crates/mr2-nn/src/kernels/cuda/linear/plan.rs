//! What cuBLASLt is told of a product, and the call.
//!
//! cuBLASLt counts column by column, and a tensor of rows is, column by column, its transpose. So
//! `out = x weightᵀ + bias + skip`, of `rows` x `columns` with `inner` in between, is to it
//! `outᵀ = weight xᵀ + bias + skipᵀ`: D of columns x rows is op(A) B + C, where
//! - A is how `weight` (columns, inner) lies: inner x columns, a column every `inner` elements; op transposes it;
//! - B is how `x` (rows, inner) lies: inner x rows, a column every `inner` elements;
//! - C and D are how `skip` and `out` (rows, columns) lie: columns x rows, a column every `columns` elements;
//! - the bias has an element for each row of D, that is for each of `columns`, and goes to all columns of D.

use candle_core::cuda_backend::DeviceId;
use candle_core::cuda_backend::cudarc::cublas::sys::cublasOperation_t;
use candle_core::cuda_backend::cudarc::cublaslt::{result, sys};
use candle_core::cuda_backend::cudarc::driver::DevicePtr;
use candle_core::{CudaDevice, DType, Error, Result};
use result::CublasError;
use std::ffi::c_void;
use sys::cublasLtEpilogue_t as Epilogue;
use sys::cublasLtMatmulDescAttributes_t as Attribute;
use sys::cublasLtMatmulPreferenceAttributes_t as Preference;

/// Workspace that an algorithm may take: what NVIDIA recommends for Hopper.
static WORKSPACE: u64 = 32 << 20;

/// Where the operands lie. Without `skip`, C is D, which is then not read; without a bias there is a 0.
#[derive(Clone, Copy)]
pub(super) struct Pointers {
    pub(super) a: u64,
    pub(super) b: u64,
    pub(super) c: u64,
    pub(super) d: u64,
    pub(super) bias: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) device: DeviceId,
    pub(super) dtype: DType,
    pub(super) reduced: bool,
    pub(super) rows: usize,
    pub(super) inner: usize,
    pub(super) columns: usize,
    pub(super) bias: bool,
    pub(super) skip: bool,
    pub(super) aligned: u32,
}

/// What a call needs beside its pointers.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    handle: sys::cublasLtHandle_t,
    product: sys::cublasLtMatmulDesc_t,
    a: sys::cublasLtMatrixLayout_t,
    b: sys::cublasLtMatrixLayout_t,
    d: sys::cublasLtMatrixLayout_t,
    algorithm: sys::cublasLtMatmulAlgo_t,
    workspace: usize,
}

/// None is what cuBLASLt doesn't do; the rest are failures.
pub(super) fn done<T>(outcome: std::result::Result<T, CublasError>) -> Result<Option<T>> {
    use sys::cublasStatus_t::{
        CUBLAS_STATUS_ARCH_MISMATCH, CUBLAS_STATUS_INVALID_VALUE, CUBLAS_STATUS_NOT_SUPPORTED,
    };
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(CublasError(
            CUBLAS_STATUS_ARCH_MISMATCH | CUBLAS_STATUS_INVALID_VALUE | CUBLAS_STATUS_NOT_SUPPORTED,
        )) => Ok(None),
        Err(error) => Err(Error::Msg(format!("linear: cuBLASLt says {error}"))),
    }
}

fn data_type(dtype: DType) -> sys::cudaDataType {
    match dtype {
        DType::BF16 => sys::cudaDataType::CUDA_R_16BF,
        DType::F16 => sys::cudaDataType::CUDA_R_16F,
        _ => sys::cudaDataType::CUDA_R_32F,
    }
}

fn compute_type(key: &Key) -> sys::cublasComputeType_t {
    match key.reduced {
        true => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32,
        false => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
    }
}

/// Descriptors, and the algorithm that cuBLASLt expects to be fastest.
///
/// # Safety
/// `handle` is alive. `bias` is an address that is only looked at, or 0.
pub(super) unsafe fn plan(
    handle: sys::cublasLtHandle_t,
    key: &Key,
    bias: u64,
) -> std::result::Result<Plan, CublasError> {
    let [rows, inner, columns] = [key.rows, key.inner, key.columns].map(|size| size as u64);
    let dtype = data_type(key.dtype);
    let product = result::create_matmul_desc(compute_type(key), sys::cudaDataType::CUDA_R_32F)?;
    let a = result::create_matrix_layout(dtype, inner, columns, inner as i64)?;
    let b = result::create_matrix_layout(dtype, inner, rows, inner as i64)?;
    let d = result::create_matrix_layout(dtype, columns, rows, columns as i64)?;
    let epilogue = match key.bias {
        true => Epilogue::CUBLASLT_EPILOGUE_BIAS,
        false => Epilogue::CUBLASLT_EPILOGUE_DEFAULT,
    };
    // SAFETY: the descriptors and layouts were just made, and the values are of the attributes' types.
    let found = unsafe {
        let transposed = cublasOperation_t::CUBLAS_OP_T;
        set(product, Attribute::CUBLASLT_MATMUL_DESC_TRANSA, &transposed)?;
        set(product, Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue)?;
        // Looked at for its alignment.
        set(product, Attribute::CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias)?;
        let limits = result::create_matmul_pref()?;
        let found = limit(limits, key.aligned)
            .and_then(|()| result::get_matmul_algo_heuristic(handle, product, a, b, d, d, limits));
        result::destroy_matmul_pref(limits)?;
        found?
    };
    Ok(Plan {
        handle,
        product,
        a,
        b,
        d,
        algorithm: found.algo,
        workspace: found.workspaceSize,
    })
}

/// # Safety
/// `product` is alive, and `value` is of the attribute's type.
unsafe fn set<T>(
    product: sys::cublasLtMatmulDesc_t,
    attribute: Attribute,
    value: &T,
) -> std::result::Result<(), CublasError> {
    let from = (&raw const *value).cast::<c_void>();
    // SAFETY: as the caller says; cuBLASLt copies the value.
    unsafe { result::set_matmul_desc_attribute(product, attribute, from, size_of::<T>()) }
}

/// # Safety
/// `limits` is alive.
unsafe fn limit(
    limits: sys::cublasLtMatmulPreference_t,
    aligned: u32,
) -> std::result::Result<(), CublasError> {
    let workspace = (&raw const WORKSPACE).cast::<c_void>();
    let aligned = (&raw const aligned).cast::<c_void>();
    // SAFETY: the values are of the attributes' types, and cuBLASLt copies them.
    unsafe {
        result::set_matmul_pref_attribute(
            limits,
            Preference::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
            workspace,
            size_of::<u64>(),
        )?;
        for operand in [
            Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
            Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
            Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
            Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
        ] {
            result::set_matmul_pref_attribute(limits, operand, aligned, size_of::<u32>())?;
        }
    }
    Ok(())
}

/// None where cuBLASLt refuses the algorithm after all.
///
/// # Safety
/// The plan is this thread's; the pointers are those of living tensors of the sizes that it was made for, on `device`.
pub(super) unsafe fn execute(
    device: &CudaDevice,
    plan: &Plan,
    p: Pointers,
    skip: bool,
) -> Result<Option<()>> {
    let workspace = match plan.workspace {
        0 => None,
        // SAFETY: nothing reads what the algorithm writes there.
        bytes => Some(unsafe { device.alloc::<u8>(bytes) }?),
    };
    let at = workspace.as_ref().map_or(std::ptr::null_mut(), |memory| {
        memory.device_ptr(memory.stream()).0 as *mut c_void
    });
    let (alpha, beta) = (1f32, if skip { 1f32 } else { 0f32 });
    // SAFETY: as the caller says; the plan's objects are never destroyed, and memory is freed in the order of the stream.
    done(unsafe {
        set(
            plan.product,
            Attribute::CUBLASLT_MATMUL_DESC_BIAS_POINTER,
            &p.bias,
        )
        .and_then(|()| {
            result::matmul(
                plan.handle,
                plan.product,
                (&raw const alpha).cast(),
                (&raw const beta).cast(),
                p.a as *const c_void,
                plan.a,
                p.b as *const c_void,
                plan.b,
                p.c as *const c_void,
                plan.d,
                p.d as *mut c_void,
                plan.d,
                &raw const plan.algorithm,
                at,
                plan.workspace,
                device.cuda_stream().cu_stream() as *mut _,
            )
        })
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_what_cublaslt_does_not_do_is_left_to_others() {
        use sys::cublasStatus_t::{CUBLAS_STATUS_EXECUTION_FAILED, CUBLAS_STATUS_NOT_SUPPORTED};
        assert_eq!(done(Ok(7)).unwrap(), Some(7));
        let refused = done::<()>(Err(CublasError(CUBLAS_STATUS_NOT_SUPPORTED)));
        assert_eq!(refused.unwrap(), None);
        let failed = done::<()>(Err(CublasError(CUBLAS_STATUS_EXECUTION_FAILED)));
        let error = failed.unwrap_err().to_string();
        assert!(error.contains("EXECUTION_FAILED"), "{error}");
    }
}
