//! A factor for each column of rows of features, forward and backward, with the sum that follows it.

use super::channel_lanes::{block_len, flush, for_lanes, lanes};
use super::parallel::per_chunk;
use super::real::Real;
use super::simd::vectorise;
use rayon::prelude::*;

/// `out = skip + factors * x`.
pub(crate) fn forward<T: Real>(x: &[T], factors: &[T], skip: &[T], out: &mut [T]) {
    let columns = factors.len();
    let chunk = per_chunk(x.len() / columns) * columns;
    out.par_chunks_mut(chunk)
        .zip(x.par_chunks(chunk))
        .zip(skip.par_chunks(chunk))
        .for_each(|((out, x), skip)| {
            vectorise(
                #[inline(always)]
                || {
                    let rows = out.chunks_exact_mut(columns).zip(x.chunks_exact(columns));
                    for ((out, x), skip) in rows.zip(skip.chunks_exact(columns)) {
                        for (((out, &x), &skip), &factor) in
                            out.iter_mut().zip(x).zip(skip).zip(factors)
                        {
                            *out = skip + factor * x;
                        }
                    }
                },
            );
        });
}

/// The gradient of `x`, written or added to what is there.
pub(crate) fn input_gradient<T: Real>(
    gradient: &[T],
    factors: &[T],
    into: &mut [T],
    accumulate: bool,
) {
    let columns = factors.len();
    let chunk = per_chunk(gradient.len() / columns) * columns;
    into.par_chunks_mut(chunk)
        .zip(gradient.par_chunks(chunk))
        .for_each(|(into, gradient)| {
            vectorise(
                #[inline(always)]
                || {
                    let rows = into
                        .chunks_exact_mut(columns)
                        .zip(gradient.chunks_exact(columns));
                    for (into, gradient) in rows {
                        for ((into, &gradient), &factor) in
                            into.iter_mut().zip(gradient).zip(factors)
                        {
                            let part = factor * gradient;
                            *into = if accumulate { *into + part } else { part };
                        }
                    }
                },
            );
        });
}

/// The gradient of the factors: the sums over rows of `gradient * x`.
pub(crate) fn factor_gradient<T: Real>(gradient: &[T], x: &[T], columns: usize) -> Vec<T> {
    let (chunk, block) = (per_chunk(x.len() / columns) * columns, block_len(columns));
    let parts: Vec<Vec<f64>> = gradient
        .par_chunks(chunk)
        .zip(x.par_chunks(chunk))
        .map(|(gradient, x)| {
            let mut sums = vec![0f64; columns];
            for (gradient, x) in gradient.chunks(block).zip(x.chunks(block)) {
                vectorise(
                    #[inline(always)]
                    || for_lanes!(columns, add_products(gradient, x, columns, &mut sums)),
                );
            }
            sums
        })
        .collect();
    (0..columns)
        .map(|column| T::from_f64(parts.iter().map(|part| part[column]).sum()))
        .collect()
}

#[inline(always)]
fn add_products<T: Real, const L: usize>(
    column: usize,
    gradient: &[T],
    x: &[T],
    columns: usize,
    sums: &mut [f64],
) {
    let mut sum = [T::zero(); L];
    for (gradient, x) in gradient.chunks_exact(columns).zip(x.chunks_exact(columns)) {
        let (gradient, x) = (lanes::<T, L>(gradient, column), lanes::<T, L>(x, column));
        for lane in 0..L {
            sum[lane] += gradient[lane] * x[lane];
        }
    }
    flush(column, &sum, sums);
}
