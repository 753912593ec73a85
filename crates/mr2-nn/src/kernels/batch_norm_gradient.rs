//! The two passes of batch normalisation backwards: sums over rows, then the input's gradient.

use super::channel_lanes::{block_len, flush, for_lanes, lanes};
use super::parallel::per_chunk;
use super::real::Real;
use super::simd::vectorise;
use rayon::prelude::*;

/// Sums over the rows of the gradient, and of the gradient times `x - mean`.
pub(crate) struct GradientSums {
    pub(crate) gradient: Vec<f64>,
    pub(crate) product: Vec<f64>,
}

/// Clears the gradient where `relu_out` is zero (if given), and sums it over the rows.
pub(crate) fn gradient_sums<T: Real>(
    x: &[T],
    mean: &[T],
    relu_out: Option<&[T]>,
    gradient: &mut [T],
) -> GradientSums {
    let channels = mean.len();
    let chunk = per_chunk(x.len() / channels) * channels;
    let block = block_len(channels);
    let out = relu_out.unwrap_or(x);
    let parts: Vec<GradientSums> = gradient
        .par_chunks_mut(chunk)
        .zip(x.par_chunks(chunk))
        .zip(out.par_chunks(chunk))
        .map(|((gradient, x), out)| {
            let mut sums = GradientSums {
                gradient: vec![0.0; channels],
                product: vec![0.0; channels],
            };
            let blocks = gradient
                .chunks_mut(block)
                .zip(x.chunks(block))
                .zip(out.chunks(block));
            for ((gradient, x), out) in blocks {
                vectorise(
                    #[inline(always)]
                    || {
                        if relu_out.is_some() {
                            for_lanes!(
                                channels,
                                sum_block[true](x, mean, out, gradient, &mut sums)
                            );
                        } else {
                            for_lanes!(
                                channels,
                                sum_block[false](x, mean, out, gradient, &mut sums)
                            );
                        }
                    },
                );
            }
            sums
        })
        .collect();
    let total = |of: fn(&GradientSums) -> &[f64]| {
        (0..channels)
            .map(|channel| parts.iter().map(|part| of(part)[channel]).sum())
            .collect()
    };
    GradientSums {
        gradient: total(|part| &part.gradient),
        product: total(|part| &part.product),
    }
}

#[inline(always)]
fn sum_block<T: Real, const L: usize, const MASK: bool>(
    channel: usize,
    x: &[T],
    mean: &[T],
    out: &[T],
    gradient: &mut [T],
    sums: &mut GradientSums,
) {
    let channels = mean.len();
    let mean = lanes::<T, L>(mean, channel);
    let (mut sum, mut product) = ([T::zero(); L], [T::zero(); L]);
    let rows = gradient
        .chunks_exact_mut(channels)
        .zip(x.chunks_exact(channels));
    for ((gradient, x), out) in rows.zip(out.chunks_exact(channels)) {
        let (x, out) = (lanes::<T, L>(x, channel), lanes::<T, L>(out, channel));
        let gradient = &mut gradient[channel..channel + L];
        for lane in 0..L {
            if MASK {
                let kept = if out[lane] <= T::zero() {
                    T::zero()
                } else {
                    gradient[lane]
                };
                gradient[lane] = kept;
            }
            sum[lane] += gradient[lane];
            product[lane] += gradient[lane] * (x[lane] - mean[lane]);
        }
    }
    flush(channel, &sum, &mut sums.gradient);
    flush(channel, &product, &mut sums.product);
}

/// What the gradient of the input is made of: `gradient * by_gradient + (x - mean) * by_input +
/// constant`.
pub(crate) struct InputGradient<T> {
    pub(crate) mean: Vec<T>,
    pub(crate) by_gradient: Vec<T>,
    pub(crate) by_input: Vec<T>,
    pub(crate) constant: Vec<T>,
}

/// Writes the gradient of `x` to `out`.
pub(crate) fn input_gradient<T: Real>(
    terms: &InputGradient<T>,
    x: &[T],
    gradient: &[T],
    out: &mut [T],
) {
    let channels = terms.mean.len();
    let chunk = per_chunk(x.len() / channels) * channels;
    let block = block_len(channels);
    out.par_chunks_mut(chunk)
        .zip(x.par_chunks(chunk))
        .zip(gradient.par_chunks(chunk))
        .for_each(|((out, x), gradient)| {
            let blocks = out
                .chunks_mut(block)
                .zip(x.chunks(block))
                .zip(gradient.chunks(block));
            for ((out, x), gradient) in blocks {
                vectorise(
                    #[inline(always)]
                    || for_lanes!(channels, input_gradient_block(terms, x, gradient, out)),
                );
            }
        });
}

#[inline(always)]
fn input_gradient_block<T: Real, const L: usize>(
    channel: usize,
    terms: &InputGradient<T>,
    x: &[T],
    gradient: &[T],
    out: &mut [T],
) {
    let channels = terms.mean.len();
    let mean = lanes::<T, L>(&terms.mean, channel);
    let by_gradient = lanes::<T, L>(&terms.by_gradient, channel);
    let by_input = lanes::<T, L>(&terms.by_input, channel);
    let constant = lanes::<T, L>(&terms.constant, channel);
    let rows = out.chunks_exact_mut(channels).zip(x.chunks_exact(channels));
    for ((out, x), gradient) in rows.zip(gradient.chunks_exact(channels)) {
        let (x, gradient) = (lanes::<T, L>(x, channel), lanes::<T, L>(gradient, channel));
        let out = &mut out[channel..channel + L];
        for lane in 0..L {
            out[lane] = gradient[lane] * by_gradient[lane]
                + (x[lane] - mean[lane]) * by_input[lane]
                + constant[lane];
        }
    }
}
