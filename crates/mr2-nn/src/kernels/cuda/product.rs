//! Matrix products through cuBLAS, of matrices that may lie within larger tensors.

use super::{address, device_of};
use candle_core::cuda_backend::cudarc::cublas::{result, sys};
use candle_core::cuda_backend::gemm_reduced_precision_f32;
use candle_core::{DType, Result, Tensor, bail};
use std::ffi::c_void;

/// A matrix, or one in each of a batch, of the elements of a tensor.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(crate) tensor: &'a Tensor,
    /// The element where the first matrix begins.
    pub(crate) first: usize,
    /// Elements from one row to the next, as they are stored.
    pub(crate) row_step: usize,
    /// Elements from one matrix to the next.
    pub(crate) batch_step: usize,
    /// Whether the product sees the transpose of what is stored.
    pub(crate) transposed: bool,
}

impl<'a> Matrix<'a> {
    /// All of a tensor as rows of its last dimension.
    pub(crate) fn rows(tensor: &'a Tensor) -> Result<Self> {
        Ok(Self {
            tensor,
            first: 0,
            row_step: tensor.dim(candle_core::D::Minus1)?,
            batch_step: 0,
            transposed: false,
        })
    }

    pub(crate) fn transpose(self) -> Self {
        Self {
            transposed: !self.transposed,
            ..self
        }
    }

    /// Checks that matrices of `rows` x `columns`, as the product sees them, lie within the tensor.
    fn check(&self, rows: usize, columns: usize, batch: usize) -> Result<()> {
        let (rows, columns) = match self.transposed {
            true => (columns, rows),
            false => (rows, columns),
        };
        let last = self.first + (batch - 1) * self.batch_step + (rows - 1) * self.row_step;
        if columns > self.row_step || last + columns > self.tensor.elem_count() {
            bail!(
                "product: {batch} matrices of {rows} x {columns}, steps {} and {} from element {}, do not fit \
                 into a tensor of {:?}",
                self.batch_step,
                self.row_step,
                self.first,
                self.tensor.dims()
            );
        }
        Ok(())
    }

    fn address(&self) -> Result<u64> {
        let start = address(self.tensor)?;
        Ok(start + (self.first * self.tensor.dtype().size_in_bytes()) as u64)
    }

    /// Row by row is column by column of the transpose, which is what cuBLAS is told.
    fn operation(&self) -> sys::cublasOperation_t {
        match self.transposed {
            true => sys::cublasOperation_t::CUBLAS_OP_T,
            false => sys::cublasOperation_t::CUBLAS_OP_N,
        }
    }
}

/// Sizes of a batch of products: (rows, inner) times (inner, columns).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) batch: usize,
    pub(crate) rows: usize,
    pub(crate) inner: usize,
    pub(crate) columns: usize,
}

/// `out = scale * a b`, summed in f32. `out`, which nobody else has seen yet, has the factors' element type or f32.
pub(crate) fn multiply(
    a: Matrix<'_>,
    b: Matrix<'_>,
    out: Matrix<'_>,
    sizes: Sizes,
    scale: f32,
) -> Result<()> {
    let Sizes {
        batch,
        rows,
        inner,
        columns,
    } = sizes;
    if [batch, rows, inner, columns].contains(&0) {
        bail!("product: sizes must be at least 1, got {sizes:?}");
    }
    a.check(rows, inner, batch)?;
    b.check(inner, columns, batch)?;
    out.check(rows, columns, batch)?;
    let (factors, result_type) = (a.tensor.dtype(), out.tensor.dtype());
    let fits = result_type == factors || result_type == DType::F32;
    if b.tensor.dtype() != factors || !fits || out.transposed {
        bail!(
            "product: {} times {} cannot go to {}",
            factors.as_str(),
            b.tensor.dtype().as_str(),
            result_type.as_str()
        );
    }
    call(a, b, out, sizes, scale)
}

fn call(a: Matrix<'_>, b: Matrix<'_>, out: Matrix<'_>, sizes: Sizes, scale: f32) -> Result<()> {
    let device = device_of(out.tensor)?;
    let blas = device.cublas_handle();
    if let Err(error) = device.cuda_stream().context().bind_to_thread() {
        bail!("product: {error}");
    }
    let factors = data_type(a.tensor.dtype())?;
    let (alpha, beta) = (scale, 0f32);
    // SAFETY: `multiply` has checked that all matrices lie within living tensors of these types; memory is freed in the
    // order of the stream, which is the handle's too.
    let done = unsafe {
        result::gemm_strided_batched_ex(
            *blas.handle(),
            b.operation(),
            a.operation(),
            int(sizes.columns)?,
            int(sizes.rows)?,
            int(sizes.inner)?,
            (&raw const alpha).cast::<c_void>(),
            b.address()? as *const c_void,
            factors,
            int(b.row_step)?,
            b.batch_step as i64,
            a.address()? as *const c_void,
            factors,
            int(a.row_step)?,
            a.batch_step as i64,
            (&raw const beta).cast::<c_void>(),
            out.address()? as *mut c_void,
            data_type(out.tensor.dtype())?,
            int(out.row_step)?,
            out.batch_step as i64,
            int(sizes.batch)?,
            compute_type(a.tensor.dtype()),
            sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT_TENSOR_OP,
        )
    };
    match done {
        Ok(()) => Ok(()),
        Err(error) => bail!("product of {sizes:?}: {error}"),
    }
}

fn data_type(dtype: DType) -> Result<sys::cudaDataType> {
    Ok(match dtype {
        DType::F32 => sys::cudaDataType::CUDA_R_32F,
        DType::BF16 => sys::cudaDataType::CUDA_R_16BF,
        DType::F16 => sys::cudaDataType::CUDA_R_16F,
        other => bail!("product: no CUDA product of {}", other.as_str()),
    })
}

fn compute_type(factors: DType) -> sys::cublasComputeType_t {
    match factors == DType::F32 && gemm_reduced_precision_f32() {
        true => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32,
        false => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
    }
}

fn int(size: usize) -> Result<i32> {
    match i32::try_from(size) {
        Ok(size) => Ok(size),
        Err(_) => bail!("product: a size of {size} is too large for cuBLAS"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use candle_core::Device;

    #[test]
    fn matrices_must_lie_within_their_tensor() {
        let tensor = Tensor::zeros((2, 5, 12), DType::F32, &Device::Cpu).unwrap();
        // The last third of each row, of both images.
        let part = Matrix {
            first: 8,
            batch_step: 60,
            ..Matrix::rows(&tensor).unwrap()
        };
        part.check(5, 4, 2).unwrap();
        part.transpose().check(4, 5, 2).unwrap();
        for (rows, columns, batch) in [(6, 4, 2), (5, 5, 2), (5, 4, 3)] {
            let error = part.check(rows, columns, batch).unwrap_err().to_string();
            assert!(error.contains("do not fit"), "{error}");
        }
        assert!(part.transpose().check(4, 6, 2).is_err());
    }

    #[test]
    fn factors_of_different_types_are_refused() {
        let [a, b] = [DType::BF16, DType::F16]
            .map(|dtype| Tensor::zeros((3, 3), dtype, &Device::Cpu).unwrap());
        let [a, b] = [&a, &b].map(|tensor| Matrix::rows(tensor).unwrap());
        let sizes = Sizes {
            batch: 1,
            rows: 3,
            inner: 3,
            columns: 3,
        };
        let error = multiply(a, b, a, sizes, 1.0).unwrap_err().to_string();
        assert!(error.contains("bf16 times f16"), "{error}");
        let none = Sizes { rows: 0, ..sizes };
        assert!(multiply(a, a, a, none, 1.0).is_err());
    }
}
