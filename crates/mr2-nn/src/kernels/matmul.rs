//! A checked front of the `gemm` crate for strided matrices in slices.

use super::real::Real;

/// A matrix inside a slice: element (i, j) lies at `i * row_stride + j * col_stride`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, T> {
    pub(crate) data: &'a [T],
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) row_stride: usize,
    pub(crate) col_stride: usize,
}

/// Where a product goes: rows of `cols` adjacent elements, `row_stride` apart.
pub(crate) struct Target<'a, T> {
    pub(crate) data: &'a mut [T],
    pub(crate) row_stride: usize,
    /// Add to what is there instead of overwriting it.
    pub(crate) accumulate: bool,
}

impl<'a, T> Matrix<'a, T> {
    /// Rows of adjacent elements.
    pub(crate) fn rows(data: &'a [T], rows: usize, cols: usize, row_stride: usize) -> Self {
        Self {
            data,
            rows,
            cols,
            row_stride,
            col_stride: 1,
        }
    }

    /// The same elements with rows and columns exchanged.
    pub(crate) fn transposed(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }

    /// The same matrix, if its elements are f32.
    pub(super) fn f32(self) -> Option<Matrix<'a, f32>>
    where
        T: Real,
    {
        Some(Matrix {
            data: T::f32s(self.data)?,
            rows: self.rows,
            cols: self.cols,
            row_stride: self.row_stride,
            col_stride: self.col_stride,
        })
    }

    pub(super) fn fits(&self) -> bool {
        last(self.rows, self.cols, self.row_stride, self.col_stride) < self.data.len()
    }
}

/// The offset of the last element of a matrix with at least one.
fn last(rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> usize {
    (rows - 1) * row_stride + (cols - 1) * col_stride
}

/// `target = lhs * rhs`, or `target += lhs * rhs`, on the calling thread.
pub(crate) fn multiply<T: Real>(target: Target<'_, T>, lhs: Matrix<'_, T>, rhs: Matrix<'_, T>) {
    assert_eq!(lhs.cols, rhs.rows, "inner dimensions differ");
    let (rows, cols, depth) = (lhs.rows, rhs.cols, lhs.cols);
    if rows == 0 || cols == 0 || depth == 0 {
        return;
    }
    assert!(lhs.fits() && rhs.fits(), "a factor exceeds its slice");
    assert!(
        last(rows, cols, target.row_stride, 1) < target.data.len(),
        "the target is too short"
    );
    assert!(
        rows == 1 || target.row_stride >= cols,
        "rows of the target overlap"
    );
    // SAFETY: every element that is addressed lies inside its slice (asserted above; strides are
    // not negative, so the last element has the largest offset); the target is borrowed mutably,
    // so it overlaps neither factor; `Real` is f32 or f64, which the crate supports.
    unsafe {
        gemm::gemm(
            rows,
            cols,
            depth,
            target.data.as_mut_ptr(),
            1,
            target.row_stride as isize,
            target.accumulate,
            lhs.data.as_ptr(),
            lhs.col_stride as isize,
            lhs.row_stride as isize,
            rhs.data.as_ptr(),
            rhs.col_stride as isize,
            rhs.row_stride as isize,
            T::one(),
            T::one(),
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strided_products_overwrite_or_add() {
        let a: Vec<f64> = (0..6).map(f64::from).collect();
        let b: Vec<f64> = (0..6).map(|i| f64::from(i) * 0.5).collect();
        let mut out = vec![1.0; 8];
        let target = Target {
            data: &mut out[..],
            row_stride: 4,
            accumulate: true,
        };
        multiply(
            target,
            Matrix::rows(&a, 2, 3, 3),
            Matrix::rows(&b, 2, 3, 3).transposed(),
        );
        assert_eq!(out, [3.5, 8.0, 1.0, 1.0, 8.0, 26.0, 1.0, 1.0]);
        let target = Target {
            data: &mut out[..],
            row_stride: 4,
            accumulate: false,
        };
        multiply(target, Matrix::rows(&a, 2, 3, 3), Matrix::rows(&b, 3, 2, 2));
        assert_eq!(out, [5.0, 6.5, 1.0, 1.0, 14.0, 20.0, 1.0, 1.0]);
    }

    #[test]
    fn a_factor_longer_than_its_slice_does_not_fit() {
        let data = [0f32; 6];
        assert!(Matrix::rows(&data, 2, 3, 3).fits());
        assert!(Matrix::rows(&data, 2, 2, 4).fits());
        assert!(Matrix::rows(&data, 2, 3, 3).transposed().fits());
        assert!(!Matrix::rows(&data[..5], 2, 3, 3).fits());
        assert!(!Matrix::rows(&data, 2, 3, 4).fits());
        assert!(!Matrix::rows(&data, 3, 3, 3).transposed().fits());
    }
}
