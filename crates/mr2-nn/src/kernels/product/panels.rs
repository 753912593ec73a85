//! The right factor of a product, laid out as the inner loop reads it.

use super::tile::VECTORS;
use crate::kernels::matmul::Matrix;
use crate::kernels::pool::{Pool, PoolBuf};
use crate::kernels::vector::{Isa, Kernel, Vector};
use rayon::prelude::*;
use std::sync::Arc;

/// Elements of a matrix worth a task of its own when it is laid out.
const PARALLEL_ELEMENTS: usize = 1 << 16;

/// A (depth, columns) matrix as panels of two vectors of columns: (panel, depth, column), the last panel
/// filled up with zeros.
pub(crate) struct Panels {
    values: PoolBuf<f32>,
    pub(super) isa: Isa,
    pub(super) depth: usize,
    pub(super) cols: usize,
}

impl Panels {
    /// Lays out `matrix`, whose rows or columns must be adjacent elements.
    pub(crate) fn new(isa: Isa, matrix: Matrix<'_, f32>, pool: &Arc<Pool>) -> Self {
        let (depth, cols) = (matrix.rows, matrix.cols);
        let width = VECTORS * isa.lanes();
        let mut values = pool.take(cols.div_ceil(width) * width * depth);
        let work = |(index, panel): (usize, &mut [f32])| {
            fill(isa, matrix, index * width, width, panel);
        };
        // A small one is part of a task already.
        if values.len() < PARALLEL_ELEMENTS {
            values
                .chunks_exact_mut(width * depth)
                .enumerate()
                .for_each(work);
        } else {
            values
                .par_chunks_exact_mut(width * depth)
                .enumerate()
                .for_each(work);
        }
        Self {
            values,
            isa,
            depth,
            cols,
        }
    }

    /// The panels of the transposed matrix.
    pub(crate) fn transposed(&self, pool: &Arc<Pool>) -> Self {
        let width = VECTORS * self.isa.lanes();
        let (depth, cols) = (self.cols, self.depth);
        let mut values = pool.take(cols.div_ceil(width) * width * depth);
        values
            .par_chunks_exact_mut(width * depth)
            .enumerate()
            .for_each(|(index, panel)| {
                let first = index * width;
                for (source, part) in panel.chunks_mut(width * width).enumerate() {
                    let block = Matrix {
                        data: &self.values[(source * self.depth + first) * width..],
                        rows: part.len() / width,
                        cols: width.min(cols - first),
                        row_stride: 1,
                        col_stride: width,
                    };
                    fill(self.isa, block, 0, width, part);
                }
            });
        Self {
            values,
            isa: self.isa,
            depth,
            cols,
        }
    }

    /// Columns of the matrix.
    pub(crate) fn cols(&self) -> usize {
        self.cols
    }

    pub(super) fn width(&self) -> usize {
        VECTORS * self.isa.lanes()
    }

    /// The panel of columns `index * width..`.
    pub(super) fn panel(&self, index: usize) -> &[f32] {
        let len = self.width() * self.depth;
        &self.values[index * len..][..len]
    }
}

/// Columns `first..first + width` of `matrix`, zeros beyond its last.
fn fill(isa: Isa, matrix: Matrix<'_, f32>, first: usize, width: usize, panel: &mut [f32]) {
    let valid = width.min(matrix.cols - first);
    if matrix.col_stride == 1 {
        for (row, target) in panel.chunks_exact_mut(width).enumerate() {
            let source = &matrix.data[row * matrix.row_stride + first..][..valid];
            target[..valid].copy_from_slice(source);
            target[valid..].fill(0.0);
        }
        return;
    }
    assert_eq!(
        matrix.row_stride, 1,
        "neither rows nor columns are adjacent"
    );
    let source = &matrix.data[first * matrix.col_stride..];
    assert!(
        (valid - 1) * matrix.col_stride + matrix.rows <= source.len()
            && panel.len() == matrix.rows * width,
        "a panel leaves its matrix"
    );
    let transpose = Transpose {
        source,
        step: matrix.col_stride,
        depth: matrix.rows,
        valid,
        width,
        panel,
    };
    // SAFETY: the CPU has the instructions of every `Isa` that it lists as available; the sizes are asserted.
    unsafe { isa.run(transpose) }
}

/// From (column, depth) to (depth, column).
struct Transpose<'a> {
    source: &'a [f32],
    step: usize,
    depth: usize,
    valid: usize,
    width: usize,
    panel: &'a mut [f32],
}

impl Kernel for Transpose<'_> {
    #[inline(always)]
    // SAFETY: the caller has asserted the sizes.
    unsafe fn run<V: Vector>(self) {
        let whole = (
            self.valid / V::LANES * V::LANES,
            self.depth / V::LANES * V::LANES,
        );
        for col in (0..whole.0).step_by(V::LANES) {
            for row in (0..whole.1).step_by(V::LANES) {
                // SAFETY: whole blocks within both.
                unsafe {
                    V::transpose(
                        self.source.as_ptr().add(col * self.step + row),
                        self.step,
                        self.panel.as_mut_ptr().add(row * self.width + col),
                        self.width,
                    );
                }
            }
        }
        for (row, target) in self.panel.chunks_exact_mut(self.width).enumerate() {
            let done = if row < whole.1 { whole.0 } else { 0 };
            for (col, value) in target.iter_mut().enumerate().skip(done) {
                *value = match col < self.valid {
                    true => self.source[col * self.step + row],
                    false => 0.0,
                };
            }
        }
    }
}
