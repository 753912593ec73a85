//! Fully connected layers on rows of features: the output with what follows it, and all gradients.

use super::activation::Activation;
use super::channel_lanes::{block_len, flush, for_lanes, lanes};
use super::elementwise::add_assign;
use super::matmul::{self, Matrix};
use super::parallel::per_chunk;
use super::pool::{Pool, PoolBuf};
use super::product::{self, Epilogue, Initial, Panels};
use super::real::Real;
use super::simd::vectorise;
use super::vector::Isa;
use rayon::prelude::*;
use std::sync::Arc;

/// A product's depth is cut into parts where its tiles alone would leave threads without work.
const PARTS: usize = 16;

/// Elements of a weight that give enough tiles of its gradient for all threads.
const ENOUGH_ELEMENTS: usize = 1 << 15;

/// A weight (outputs, inputs), kept as the products want it.
pub(crate) struct Weight<T: Real> {
    values: Values<T>,
    outputs: usize,
    inputs: usize,
}

enum Values<T: Real> {
    /// The transposed weight.
    Panels(Panels),
    Plain(PoolBuf<T>),
}

/// What follows the product.
pub(crate) struct After<'a, T> {
    pub(crate) bias: Option<&'a [T]>,
    /// Added to the product.
    pub(crate) residual: Option<&'a [T]>,
    pub(crate) activation: Option<Activation>,
    /// Where to keep what goes into the activation.
    pub(crate) before: Option<&'a mut [T]>,
}

impl<T: Real> Weight<T> {
    pub(crate) fn new(weight: &[T], outputs: usize, inputs: usize, pool: &Arc<Pool>) -> Self {
        let values = match T::f32s(weight) {
            Some(weight) => {
                let transposed = Matrix::rows(weight, outputs, inputs, inputs).transposed();
                Values::Panels(Panels::new(Isa::best(), transposed, pool))
            }
            None => {
                let mut copy = pool.take(weight.len());
                copy.copy_from_slice(weight);
                Values::Plain(copy)
            }
        };
        Self {
            values,
            outputs,
            inputs,
        }
    }

    /// `out = activation(x * weight^T + bias + residual)`, rows of features.
    pub(crate) fn forward(&self, x: &[T], after: After<'_, T>, out: &mut [T], pool: &Arc<Pool>) {
        let rows = x.len() / self.inputs;
        match &self.values {
            Values::Panels(panels) => {
                // Panels are made of f32 only.
                let (Some(x), Some(out)) = (T::f32s(x), T::f32s_mut(out)) else {
                    return;
                };
                let (data, activated) = match after.before.and_then(T::f32s_mut) {
                    Some(before) => (before, Some(out)),
                    None => (out, None),
                };
                let target = product::Target {
                    data,
                    row_stride: self.outputs,
                    initial: match after.residual.and_then(T::f32s) {
                        Some(residual) => Initial::Other(residual),
                        None => Initial::Zero,
                    },
                };
                let epilogue = Epilogue {
                    bias: after.bias.and_then(T::f32s),
                    activation: after.activation,
                    activated,
                };
                let x = Matrix::rows(x, rows, self.inputs, self.inputs);
                product::multiply(x, panels, target, epilogue, pool);
            }
            Values::Plain(weight) => {
                let weight = Matrix::rows(weight, self.outputs, self.inputs, self.inputs);
                multiply_rows(x, self.inputs, weight.transposed(), out, false);
                self.finish(after, out);
            }
        }
    }

    fn finish(&self, after: After<'_, T>, out: &mut [T]) {
        if let Some(bias) = after.bias {
            for row in out.chunks_exact_mut(self.outputs) {
                for (out, &bias) in row.iter_mut().zip(bias) {
                    *out += bias;
                }
            }
        }
        if let Some(residual) = after.residual {
            add_assign(out, residual);
        }
        if let Some(before) = after.before {
            before.copy_from_slice(out);
        }
        if let Some(activation) = after.activation {
            activation.apply_in_place(out);
        }
    }

    /// Writes the gradient of the input, or adds it to what is there.
    pub(crate) fn input_gradient(
        &self,
        gradient: &[T],
        into: &mut [T],
        accumulate: bool,
        pool: &Arc<Pool>,
    ) {
        let rows = gradient.len() / self.outputs;
        match &self.values {
            Values::Panels(panels) => {
                let (Some(gradient), Some(into)) = (T::f32s(gradient), T::f32s_mut(into)) else {
                    return;
                };
                let target = product::Target {
                    data: into,
                    row_stride: self.inputs,
                    initial: if accumulate {
                        Initial::Target
                    } else {
                        Initial::Zero
                    },
                };
                let gradient = Matrix::rows(gradient, rows, self.outputs, self.outputs);
                let panels = panels.transposed(pool);
                product::multiply(gradient, &panels, target, Epilogue::default(), pool);
            }
            Values::Plain(weight) => {
                let weight = Matrix::rows(weight, self.outputs, self.inputs, self.inputs);
                multiply_rows(gradient, self.outputs, weight, into, accumulate);
            }
        }
    }

    /// The gradient of the weight, (outputs, inputs).
    pub(crate) fn gradient(&self, x: &[T], gradient: &[T], pool: &Arc<Pool>) -> Vec<T> {
        weight_gradient(x, gradient, self.outputs, self.inputs, pool)
    }
}

/// The gradient of a weight (outputs, inputs), given rows of inputs and of the gradient of the outputs.
pub(crate) fn weight_gradient<T: Real>(
    x: &[T],
    gradient: &[T],
    outputs: usize,
    inputs: usize,
    pool: &Arc<Pool>,
) -> Vec<T> {
    let rows = x.len() / inputs;
    if let (Some(x), Some(gradient)) = (T::f32s(x), T::f32s(gradient)) {
        let gradient = Matrix::rows(gradient, rows, outputs, outputs).transposed();
        let x = Matrix::rows(x, rows, inputs, inputs);
        return T::from_f32s(deep_product(gradient, x, pool));
    }
    let mut sum = vec![T::zero(); outputs * inputs];
    let per_task = outputs.div_ceil(PARTS);
    sum.par_chunks_mut(per_task * inputs)
        .enumerate()
        .for_each(|(task, sum)| {
            let first = task * per_task;
            let count = sum.len() / inputs;
            let target = matmul::Target {
                data: sum,
                row_stride: inputs,
                accumulate: false,
            };
            let gradient = Matrix::rows(&gradient[first..], rows, count, outputs).transposed();
            matmul::multiply(target, gradient, Matrix::rows(x, rows, inputs, inputs));
        });
    sum
}

/// `out = x * right`, or added to it, parallel over rows.
fn multiply_rows<T: Real>(
    x: &[T],
    depth: usize,
    right: Matrix<'_, T>,
    out: &mut [T],
    accumulate: bool,
) {
    let cols = right.cols;
    let chunk = per_chunk(x.len() / depth);
    out.par_chunks_mut(chunk * cols)
        .zip(x.par_chunks(chunk * depth))
        .for_each(|(out, x)| {
            let target = matmul::Target {
                data: out,
                row_stride: cols,
                accumulate,
            };
            matmul::multiply(
                target,
                Matrix::rows(x, x.len() / depth, depth, depth),
                right,
            );
        });
}

/// `left * right` with a large inner dimension: where the output is small, parts of the depth are
/// multiplied side by side and added in order.
fn deep_product(left: Matrix<'_, f32>, right: Matrix<'_, f32>, pool: &Arc<Pool>) -> Vec<f32> {
    let (isa, depth, cols) = (Isa::best(), right.rows, right.cols);
    let len = left.rows * cols;
    let parts = match len >= ENOUGH_ELEMENTS {
        true => 1,
        // A part shorter than the tiles are tall or wide would be mostly overhead.
        false => (depth / 256).clamp(1, PARTS),
    };
    if parts == 1 {
        return product::product(left, &Panels::new(isa, right, pool), pool);
    }
    let per_part = depth.div_ceil(parts);
    let mut partial = pool.zeros::<f32>(parts * len);
    partial
        .par_chunks_exact_mut(len)
        .enumerate()
        .for_each(|(part, sum)| {
            let rows = (part * per_part).min(depth)..((part + 1) * per_part).min(depth);
            if rows.is_empty() {
                return;
            }
            let right = Matrix {
                data: &right.data[rows.start * right.row_stride..],
                rows: rows.len(),
                ..right
            };
            let left = Matrix {
                data: &left.data[rows.start * left.col_stride..],
                cols: rows.len(),
                ..left
            };
            let target = product::Target {
                data: sum,
                row_stride: cols,
                initial: Initial::Zero,
            };
            product::multiply_here(left, &Panels::new(isa, right, pool), target, pool);
        });
    let mut out = vec![0.0; len];
    for part in partial.chunks_exact(len) {
        add_assign(&mut out, part);
    }
    out
}

/// The sum of rows of `cols` elements: the gradient of a bias.
pub(crate) fn column_sums<T: Real>(rows: &[T], cols: usize) -> Vec<T> {
    let chunk = per_chunk(rows.len() / cols) * cols;
    let parts: Vec<Vec<f64>> = rows
        .par_chunks(chunk)
        .map(|part| {
            let mut sums = vec![0f64; cols];
            for block in part.chunks(block_len(cols)) {
                vectorise(
                    #[inline(always)]
                    || for_lanes!(cols, add_rows(block, cols, &mut sums)),
                );
            }
            sums
        })
        .collect();
    (0..cols)
        .map(|col| T::from_f64(parts.iter().map(|part| part[col]).sum()))
        .collect()
}

#[inline(always)]
fn add_rows<T: Real, const L: usize>(col: usize, block: &[T], cols: usize, sums: &mut [f64]) {
    let mut sum = [T::zero(); L];
    for row in block.chunks_exact(cols) {
        let row = lanes::<T, L>(row, col);
        for lane in 0..L {
            sum[lane] += row[lane];
        }
    }
    flush(col, &sum, sums);
}
