//! Convolution of every channel by itself: a matrix of patches would be a matrix of one column each. Rows of
//! channels are multiplied tap by tap, while sums stay in registers, or a row of them in the first-level cache.

use super::geometry::Geometry;
use crate::kernels::channel_lanes::lanes;
use crate::kernels::parallel::per_chunk;
use crate::kernels::real::Real;
use crate::kernels::simd::vectorise;
use rayon::prelude::*;
use std::ops::Range;

/// Whether each output channel sees one input channel, its own.
pub(super) fn suits(g: &Geometry) -> bool {
    g.groups > 1 && g.groups == g.in_channels && g.groups == g.out_channels
}

/// `out = images * weight`, or added to `out`; then `finish`, given the first element of a row and the row, while
/// that is in the cache.
pub(super) fn forward<T: Real>(
    g: &Geometry,
    images: &[T],
    weight: &[T],
    out: &mut [T],
    accumulate: bool,
    finish: impl Fn(usize, &mut [T]) + Sync,
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
                    for (x, out) in out.chunks_exact_mut(g.out_channels).enumerate() {
                        add_pixel(g, image, &weight, (y, x), out);
                    }
                },
            );
            finish(index * row, out);
        });
}

/// Channels whose sums stay in registers together.
const WIDE: usize = 64;
const NARROW: usize = 16;

/// Adds what pixel (y, x) of the output sees to `out`.
#[inline(always)]
fn add_pixel<T: Real>(
    g: &Geometry,
    image: &[T],
    weight: &[T],
    (y, x): (usize, usize),
    out: &mut [T],
) {
    let [rows_before, cols_before] = g.padding;
    let rows = inside(y * g.stride, rows_before, g.in_height, g);
    let cols = inside(x * g.stride, cols_before, g.in_width, g);
    let mut channel = 0;
    while channel < g.in_channels {
        let place = Place {
            channel,
            corner: (y * g.stride, x * g.stride),
        };
        channel += match g.in_channels - channel {
            WIDE.. => add_lanes::<T, WIDE>(g, image, weight, place, [&rows, &cols], out),
            NARROW.. => add_lanes::<T, NARROW>(g, image, weight, place, [&rows, &cols], out),
            _ => add_lanes::<T, 1>(g, image, weight, place, [&rows, &cols], out),
        };
    }
}

/// A channel, and the corner of the window on the padded image.
#[derive(Clone, Copy)]
struct Place {
    channel: usize,
    corner: (usize, usize),
}

/// Taps of the window from `start` on that fall on `size` pixels behind `before` zeros.
#[inline(always)]
fn inside(start: usize, before: usize, size: usize, g: &Geometry) -> Range<usize> {
    let first = before.saturating_sub(start).div_ceil(g.dilation);
    let end = (size + before).saturating_sub(start).div_ceil(g.dilation);
    first..end.min(g.kernel)
}

#[inline(always)]
fn add_lanes<T: Real, const L: usize>(
    g: &Geometry,
    image: &[T],
    weight: &[T],
    place: Place,
    [rows, cols]: [&Range<usize>; 2],
    out: &mut [T],
) -> usize {
    let Place { channel, corner } = place;
    let out = &mut out[channel..channel + L];
    let mut sums = lanes::<T, L>(out, 0);
    for ky in rows.clone() {
        let row = corner.0 + ky * g.dilation - g.padding[0];
        for kx in cols.clone() {
            let column = corner.1 + kx * g.dilation - g.padding[1];
            let pixel = lanes::<T, L>(image, (row * g.in_width + column) * g.in_channels + channel);
            let factor = lanes::<T, L>(weight, (ky * g.kernel + kx) * g.in_channels + channel);
            for lane in 0..L {
                sums[lane] += pixel[lane] * factor[lane];
            }
        }
    }
    out.copy_from_slice(&sums);
    L
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
    let [rows_before, cols_before] = g.padding;
    for ky in 0..g.kernel {
        let Some(row) = (y * g.stride + ky * g.dilation)
            .checked_sub(rows_before)
            .filter(|&row| row < g.in_height)
        else {
            continue;
        };
        for kx in 0..g.kernel {
            // Column x of the output sees column `x * stride + shift - padding` of the image.
            let shift = kx * g.dilation;
            let first = cols_before.saturating_sub(shift).div_ceil(g.stride);
            let end = (g.in_width + cols_before)
                .saturating_sub(shift)
                .div_ceil(g.stride)
                .min(g.out_width);
            if first < end {
                let column = first * g.stride + shift - cols_before;
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
