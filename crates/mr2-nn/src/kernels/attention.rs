//! Scaled dot-product attention of all heads, forward and backward, on queries, keys and values that lie
//! side by side in each token: (batch, token, [queries, keys, values] x head x feature).
//!
//! A task is one head of one image: scores of a block of rows stay in the second-level cache from the
//! product of queries and keys to that with the values. The backward pass computes the probabilities
//! again, from the logarithm of each row's sum of exponentials (arXiv 2205.14135).

use super::columns::Columns;
use super::matmul::Matrix;
use super::pool::{Pool, PoolBuf};
use super::real::Real;
use super::right::{Add, Right};
use super::simd::vectorise;
use super::softmax::{dot, softmax};
use rayon::prelude::*;
use std::sync::Arc;

/// Scores of a block of rows: 512 KiB of f32, of which the backward pass has two.
const SCORES: usize = 1 << 17;

/// Sizes of an attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heads {
    pub(crate) tokens: usize,
    pub(crate) heads: usize,
    /// Features of a head.
    pub(crate) features: usize,
    /// A token sees itself and those before it only.
    pub(crate) causal: bool,
}

impl Heads {
    /// Features of a token's output.
    fn width(&self) -> usize {
        self.heads * self.features
    }

    fn block_rows(&self) -> usize {
        (SCORES / self.tokens).clamp(1, self.tokens)
    }

    fn scale<T: Real>(&self) -> T {
        T::one() / T::from_f64(self.features as f64).square_root()
    }

    /// Queries (0), keys (1) or values (2) of one head of one image.
    fn part<'a, T: Real>(&self, qkv: &'a [T], task: usize, part: usize) -> Matrix<'a, T> {
        let (image, head) = (task / self.heads, task % self.heads);
        let step = 3 * self.width();
        let start = image * self.tokens * step + part * self.width() + head * self.features;
        Matrix::rows(&qkv[start..], self.tokens, self.features, step)
    }

    /// One head of one image of an output or its gradient.
    fn head<'a, T: Real>(&self, out: &'a [T], task: usize) -> Matrix<'a, T> {
        let (image, head) = (task / self.heads, task % self.heads);
        let start = image * self.tokens * self.width() + head * self.features;
        Matrix::rows(&out[start..], self.tokens, self.features, self.width())
    }

    /// What row `row` sees.
    fn visible(&self, row: usize) -> usize {
        if self.causal { row + 1 } else { self.tokens }
    }

    /// The attention's output. `log_sums` gets, for each (image, head, token), the logarithm of the sum of
    /// the exponentials of its scaled scores, which the backward pass needs.
    pub(crate) fn forward<T: Real>(
        &self,
        qkv: &[T],
        out: &mut [T],
        log_sums: &mut [T],
        pool: &Arc<Pool>,
    ) {
        assert_eq!(
            qkv.len(),
            3 * out.len(),
            "queries, keys and values, or the output"
        );
        let out = Columns::new(out, self.width(), self.features);
        log_sums
            .par_chunks_mut(self.tokens)
            .enumerate()
            .for_each(|(task, log_sums)| {
                let [queries, keys, values] = [0, 1, 2].map(|part| self.part(qkv, task, part));
                let keys = Right::new(keys.transposed(), pool);
                let values = Right::new(values, pool);
                let block = self.block_rows();
                let mut scores = pool.take::<T>(block * self.tokens);
                let mut mixed = pool.take::<T>(block * self.features);
                for first in (0..self.tokens).step_by(block) {
                    let count = block.min(self.tokens - first);
                    let scores = &mut scores[..count * self.tokens];
                    let mixed = &mut mixed[..count * self.features];
                    keys.multiply(rows_of(queries, first, count), scores, Add::No, pool);
                    let log_sums = &mut log_sums[first..][..count];
                    self.exponentials(first, scores, log_sums);
                    let scores = Matrix::rows(scores, count, self.tokens, self.tokens);
                    values.multiply(scores, mixed, Add::No, pool);
                    for (row, mixed) in mixed.chunks_exact(self.features).enumerate() {
                        let token = task / self.heads * self.tokens + first + row;
                        // SAFETY: this head's columns of this image's rows, which no other task writes.
                        let out = unsafe { out.row(token, task % self.heads) };
                        out.copy_from_slice(mixed);
                    }
                }
            });
    }

    /// Scores to probabilities, row by row.
    fn exponentials<T: Real>(&self, first: usize, scores: &mut [T], log_sums: &mut [T]) {
        let scale = self.scale::<T>();
        vectorise(
            #[inline(always)]
            || {
                let rows = scores.chunks_exact_mut(self.tokens).zip(log_sums);
                for (row, (scores, log_sum)) in rows.enumerate() {
                    let (seen, unseen) = scores.split_at_mut(self.visible(first + row));
                    *log_sum = softmax(seen, scale);
                    unseen.fill(T::zero());
                }
            },
        );
    }

    /// The gradient of queries, keys and values, all of which is overwritten.
    pub(crate) fn backward<T: Real>(
        &self,
        qkv: &[T],
        out: &[T],
        log_sums: &[T],
        gradient: &[T],
        into: &mut [T],
        pool: &Arc<Pool>,
    ) {
        assert_eq!(
            qkv.len(),
            into.len(),
            "queries, keys and values, or their gradient"
        );
        let into = Columns::new(into, 3 * self.width(), self.features);
        log_sums
            .par_chunks(self.tokens)
            .enumerate()
            .for_each(|(task, log_sums)| {
                let head = Head {
                    sizes: *self,
                    parts: [0, 1, 2].map(|part| self.part(qkv, task, part)),
                    out: self.head(out, task),
                    gradient: self.head(gradient, task),
                    log_sums,
                };
                let gradients = head.backward(pool);
                for (part, gradient) in gradients
                    .chunks_exact(self.tokens * self.features)
                    .enumerate()
                {
                    for (row, gradient) in gradient.chunks_exact(self.features).enumerate() {
                        let token = task / self.heads * self.tokens + row;
                        let group = part * self.heads + task % self.heads;
                        // SAFETY: this head's columns of this image's rows, which no other task writes.
                        unsafe { into.row(token, group) }.copy_from_slice(gradient);
                    }
                }
            });
    }
}

/// What the backward pass of one head of one image reads.
struct Head<'a, T: Real> {
    sizes: Heads,
    /// Queries, keys, values.
    parts: [Matrix<'a, T>; 3],
    out: Matrix<'a, T>,
    gradient: Matrix<'a, T>,
    log_sums: &'a [T],
}

impl<T: Real> Head<'_, T> {
    /// The gradients of queries, keys and values, one after the other.
    ///
    /// With P the probabilities and G the output's gradient, that of the values is P^T G, and that of the
    /// scores P * (G V^T - sum(G * out)).
    fn backward(&self, pool: &Arc<Pool>) -> PoolBuf<T> {
        let Heads {
            tokens, features, ..
        } = self.sizes;
        let [queries, keys, values] = self.parts;
        let (seen, from_values) = (
            Right::new(keys.transposed(), pool),
            Right::new(values.transposed(), pool),
        );
        let keys = Right::new(keys, pool);
        let mut gradients = pool.take::<T>(3 * tokens * features);
        let (of_queries, rest) = gradients.split_at_mut(tokens * features);
        let (of_keys, of_values) = rest.split_at_mut(tokens * features);
        let block = self.sizes.block_rows();
        let mut probabilities = pool.take::<T>(block * tokens);
        let mut slopes = pool.take::<T>(block * tokens);
        for first in (0..tokens).step_by(block) {
            let count = block.min(tokens - first);
            let probabilities = &mut probabilities[..count * tokens];
            let slopes = &mut slopes[..count * tokens];
            let queries = rows_of(queries, first, count);
            let gradient = rows_of(self.gradient, first, count);
            seen.multiply(queries, probabilities, Add::No, pool);
            from_values.multiply(gradient, slopes, Add::No, pool);
            self.slopes(first, probabilities, slopes);
            let add = if first == 0 { Add::No } else { Add::Yes };
            let matrix = |values| Matrix::rows(values, count, tokens, tokens);
            let (probabilities, slopes) = (matrix(&*probabilities), matrix(&*slopes));
            Right::new(gradient, pool).multiply(probabilities.transposed(), of_values, add, pool);
            Right::new(queries, pool).multiply(slopes.transposed(), of_keys, add, pool);
            let of_queries = &mut of_queries[first * features..][..count * features];
            keys.multiply(slopes, of_queries, Add::No, pool);
        }
        gradients
    }

    /// Scores to probabilities, and the probabilities' gradients to those of the scores.
    fn slopes(&self, first: usize, probabilities: &mut [T], slopes: &mut [T]) {
        let tokens = self.sizes.tokens;
        let scale = self.sizes.scale::<T>();
        vectorise(
            #[inline(always)]
            || {
                let rows = probabilities
                    .chunks_exact_mut(tokens)
                    .zip(slopes.chunks_exact_mut(tokens));
                for (row, (probabilities, slopes)) in rows.enumerate() {
                    let row = first + row;
                    let seen = self.sizes.visible(row);
                    let total = dot(row_of(self.gradient, row), row_of(self.out, row));
                    let log_sum = self.log_sums[row];
                    for (p, slope) in probabilities[..seen].iter_mut().zip(&mut slopes[..seen]) {
                        *p = (*p * scale - log_sum).exponential();
                        *slope = *p * (*slope - total) * scale;
                    }
                    probabilities[seen..].fill(T::zero());
                    slopes[seen..].fill(T::zero());
                }
            },
        );
    }
}

fn rows_of<T>(matrix: Matrix<'_, T>, first: usize, count: usize) -> Matrix<'_, T> {
    Matrix {
        data: &matrix.data[first * matrix.row_stride..],
        rows: count,
        ..matrix
    }
}

#[inline(always)]
fn row_of<T>(matrix: Matrix<'_, T>, row: usize) -> &[T] {
    &matrix.data[row * matrix.row_stride..][..matrix.cols]
}
