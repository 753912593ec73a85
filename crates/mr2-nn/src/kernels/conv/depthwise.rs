//! Convolution of every channel by itself: a matrix of patches would be a matrix of one column each. Rows of
//! channels are multiplied tap by tap, while the output's row stays in the first-level cache.

use super::geometry::Geometry;
use crate::kernels::parallel::per_chunk;
use crate::kernels::real::Real;
use crate::kernels::simd::vectorise;
use rayon::prelude::*;
use std::ops::Range;

/// Whether each output channel sees one input channel, its own.
pub(super) fn suits(g: &Geometry) -> bool {
    g.groups > 1 && g.groups == g.in_channels && g.groups == g.out_channels
}

/// `out = images * weight`, or added to `out`.
pub(super) fn forward<T: Real>(
    g: &Geometry,
    images: &[T],
    weight: &[T],
    out: &mut [T],
    accumulate: bool,
) {
    let weight = by_tap(g, weight);
    let row = g.out_width * g.out_channels;
    out.par_chunks_mut(row)
        .enumerate()
        .for_each(|(index, out)| {
            let (image, y) = (index / g.out_height, index % g.out_height);
            let image = &images[image * g.in_image()..][..g.in_image()];
            if !accumulate {
                out.fill(T::zero());
            }
            vectorise(
                #[inline(always)]
                || {
                    for_each_row(g, y, |tap, input, outputs| {
                        let weight = &weight[tap * g.in_channels..][..g.in_channels];
                        for (x, from) in outputs.zip(input) {
                            let out = &mut out[x * g.in_channels..][..g.in_channels];
                            add_products(out, &image[from..from + g.in_channels], weight);
                        }
                    });
                },
            );
        });
}

/// Adds the gradient of the images to `image_gradient`.
pub(super) fn image_gradient<T: Real>(
    g: &Geometry,
    weight: &[T],
    out_gradient: &[T],
    image_gradient: &mut [T],
) {
    let weight = by_tap(g, weight);
    image_gradient
        .par_chunks_mut(g.in_image())
        .zip(out_gradient.par_chunks(g.out_image()))
        .for_each(|(images, gradient)| {
            let rows = gradient.chunks_exact(g.out_width * g.out_channels);
            for (y, gradient) in rows.enumerate() {
                vectorise(
                    #[inline(always)]
                    || {
                        for_each_row(g, y, |tap, input, outputs| {
                            let weight = &weight[tap * g.in_channels..][..g.in_channels];
                            for (x, to) in outputs.zip(input) {
                                let gradient = &gradient[x * g.in_channels..][..g.in_channels];
                                add_products(&mut images[to..to + g.in_channels], gradient, weight);
                            }
                        });
                    },
                );
            }
        });
}

/// The gradient of the weight, in PyTorch's order.
pub(super) fn weight_gradient<T: Real>(
    g: &Geometry,
    images: &[T],
    out_gradient: &[T],
    weight_gradient: &mut [T],
) {
    let chunk = per_chunk(g.batch);
    let parts: Vec<Vec<T>> = images
        .par_chunks(chunk * g.in_image())
        .zip(out_gradient.par_chunks(chunk * g.out_image()))
        .map(|(images, gradients)| {
            let mut sums = vec![T::zero(); g.weights()];
            let rows = gradients.chunks_exact(g.out_width * g.out_channels);
            for (index, gradient) in rows.enumerate() {
                let (image, y) = (index / g.out_height, index % g.out_height);
                let image = &images[image * g.in_image()..][..g.in_image()];
                vectorise(
                    #[inline(always)]
                    || {
                        for_each_row(g, y, |tap, input, outputs| {
                            let sums = &mut sums[tap * g.in_channels..][..g.in_channels];
                            for (x, from) in outputs.zip(input) {
                                let gradient = &gradient[x * g.in_channels..][..g.in_channels];
                                add_products(sums, &image[from..from + g.in_channels], gradient);
                            }
                        });
                    },
                );
            }
            sums
        })
        .collect();
    let taps = g.kernel * g.kernel;
    for (index, value) in weight_gradient.iter_mut().enumerate() {
        let (channel, tap) = (index / taps, index % taps);
        let parts = parts.iter().map(|sums| sums[tap * g.in_channels + channel]);
        *value = parts.fold(T::zero(), |sum, part| sum + part);
    }
}

/// The weight in the order (tap, channel).
fn by_tap<T: Real>(g: &Geometry, weight: &[T]) -> Vec<T> {
    let taps = g.kernel * g.kernel;
    let value = |index: usize| weight[index % g.in_channels * taps + index / g.in_channels];
    (0..weight.len()).map(value).collect()
}

/// Calls `visit(tap, elements of the image, output columns)` for each tap that falls on the image anywhere in
/// output row `y`.
#[inline(always)]
fn for_each_row(
    g: &Geometry,
    y: usize,
    mut visit: impl FnMut(usize, std::iter::StepBy<std::ops::RangeFrom<usize>>, Range<usize>),
) {
    for ky in 0..g.kernel {
        let Some(row) = (y * g.stride + ky * g.dilation)
            .checked_sub(g.padding)
            .filter(|&row| row < g.in_height)
        else {
            continue;
        };
        for kx in 0..g.kernel {
            // Column x of the output sees column `x * stride + shift - padding` of the image.
            let shift = kx * g.dilation;
            let first = g.padding.saturating_sub(shift).div_ceil(g.stride);
            let end = (g.in_width + g.padding)
                .saturating_sub(shift)
                .div_ceil(g.stride)
                .min(g.out_width);
            if first < end {
                let column = first * g.stride + shift - g.padding;
                let start = (row * g.in_width + column) * g.in_channels;
                let step = g.stride * g.in_channels;
                visit(ky * g.kernel + kx, (start..).step_by(step), first..end);
            }
        }
    }
}

#[inline(always)]
fn add_products<T: Real>(sum: &mut [T], a: &[T], b: &[T]) {
    for ((sum, &a), &b) in sum.iter_mut().zip(a).zip(b) {
        *sum += a * b;
    }
}
