//! Layer normalisation of rows of features, forward and backward, each in one pass over memory.

use super::parallel::per_chunk;
use super::real::Real;
use super::simd::vectorise;
use rayon::prelude::*;

/// Partial sums of a row: enough vectors to hide the latency of an addition.
const LANES: usize = 64;

/// Rows whose gradients of weight and bias are summed in the element type; sums over blocks are f64.
const BLOCK_ROWS: usize = 32;

/// The sum of `term(i)` over a row, in one order on every instruction set.
#[inline(always)]
fn sum<T: Real>(len: usize, term: impl Fn(usize) -> T) -> T {
    let mut lanes = [T::zero(); LANES];
    let whole = len / LANES * LANES;
    for first in (0..whole).step_by(LANES) {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += term(first + lane);
        }
    }
    for at in whole..len {
        lanes[at - whole] += term(at);
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            let other = lanes[lane + width];
            lanes[lane] += other;
        }
        width /= 2;
    }
    lanes[0]
}

/// `out = (x - mean) * rate * weight + bias` for each row; `statistics` gets mean and rate of each, the
/// rate being one over the standard deviation.
pub(crate) fn forward<T: Real>(
    x: &[T],
    weight: &[T],
    bias: &[T],
    eps: f64,
    out: &mut [T],
    statistics: &mut [[T; 2]],
) {
    let features = weight.len();
    let chunk = per_chunk(statistics.len());
    out.par_chunks_mut(chunk * features)
        .zip(x.par_chunks(chunk * features))
        .zip(statistics.par_chunks_mut(chunk))
        .for_each(|((out, x), statistics)| {
            vectorise(
                #[inline(always)]
                || {
                    let rows = out.chunks_exact_mut(features).zip(x.chunks_exact(features));
                    for ((out, x), statistics) in rows.zip(statistics) {
                        *statistics = forward_row(x, weight, bias, eps, out);
                    }
                },
            );
        });
}

#[inline(always)]
fn forward_row<T: Real>(x: &[T], weight: &[T], bias: &[T], eps: f64, out: &mut [T]) -> [T; 2] {
    let features = weight.len();
    let (x, bias, out) = (&x[..features], &bias[..features], &mut out[..features]);
    let scale = T::one() / T::from_f64(features as f64);
    // The mean is taken about the first element, so that a large one costs no digits.
    let origin = x[0];
    let mean = origin + sum(features, |i| x[i] - origin) * scale;
    let variance = sum(features, |i| (x[i] - mean) * (x[i] - mean)) * scale;
    let rate = T::one() / (variance + T::from_f64(eps)).square_root();
    for i in 0..features {
        out[i] = (x[i] - mean) * rate * weight[i] + bias[i];
    }
    [mean, rate]
}

/// What the backward pass reads.
pub(crate) struct Saved<'a, T> {
    pub(crate) x: &'a [T],
    pub(crate) weight: &'a [T],
    pub(crate) statistics: &'a [[T; 2]],
}

/// The gradients of weight and bias. The input's goes to `into`, or is added to what is there.
///
/// With g the gradient times the weight and h the normalised input, that is
/// `rate * (g - mean(g) - h * mean(g * h))`.
pub(crate) fn backward<T: Real>(
    saved: &Saved<'_, T>,
    gradient: &[T],
    into: &mut [T],
    accumulate: bool,
) -> [Vec<T>; 2] {
    let features = saved.weight.len();
    let chunk = per_chunk(saved.statistics.len());
    let parts: Vec<[Vec<f64>; 2]> = into
        .par_chunks_mut(chunk * features)
        .zip(gradient.par_chunks(chunk * features))
        .zip(saved.x.par_chunks(chunk * features))
        .zip(saved.statistics.par_chunks(chunk))
        .map(|(((into, gradient), x), statistics)| {
            let mut sums = [vec![0f64; features], vec![0f64; features]];
            let mut block_sums = vec![T::zero(); 2 * features];
            let size = BLOCK_ROWS * features;
            let blocks = into
                .chunks_mut(size)
                .zip(gradient.chunks(size))
                .zip(x.chunks(size));
            for (((into, gradient), x), statistics) in blocks.zip(statistics.chunks(BLOCK_ROWS)) {
                let saved = Saved {
                    x,
                    weight: saved.weight,
                    statistics,
                };
                vectorise(
                    #[inline(always)]
                    || backward_block(&saved, gradient, into, accumulate, &mut block_sums),
                );
                for (sums, block) in sums.iter_mut().zip(block_sums.chunks_exact_mut(features)) {
                    for (sum, block) in sums.iter_mut().zip(block) {
                        *sum += block.to_f64();
                        *block = T::zero();
                    }
                }
            }
            sums
        })
        .collect();
    [0, 1].map(|which| {
        let total = |i: usize| parts.iter().map(|part| part[which][i]).sum();
        (0..features).map(|i| T::from_f64(total(i))).collect()
    })
}

#[inline(always)]
fn backward_block<T: Real>(
    saved: &Saved<'_, T>,
    gradient: &[T],
    into: &mut [T],
    accumulate: bool,
    sums: &mut [T],
) {
    let features = saved.weight.len();
    let (by_weight, by_bias) = sums.split_at_mut(features);
    let (by_bias, weight) = (&mut by_bias[..features], &saved.weight[..features]);
    let scale = T::one() / T::from_f64(features as f64);
    let rows = into
        .chunks_exact_mut(features)
        .zip(gradient.chunks_exact(features))
        .zip(saved.x.chunks_exact(features));
    for (((into, gradient), x), &[mean, rate]) in rows.zip(saved.statistics) {
        let (into, gradient, x) = (&mut into[..features], &gradient[..features], &x[..features]);
        let mean_gradient = sum(features, |i| gradient[i] * weight[i]) * scale;
        let product = sum(features, |i| {
            gradient[i] * weight[i] * ((x[i] - mean) * rate)
        });
        let mean_product = product * scale;
        for i in 0..features {
            let normalised = (x[i] - mean) * rate;
            by_weight[i] += gradient[i] * normalised;
            by_bias[i] += gradient[i];
            let own = rate * (gradient[i] * weight[i] - mean_gradient - normalised * mean_product);
            into[i] = if accumulate { into[i] + own } else { own };
        }
    }
}
