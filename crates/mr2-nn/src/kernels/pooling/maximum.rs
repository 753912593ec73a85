//! The maximum of each window.

use super::Windows;
use crate::kernels::real::Real;
use crate::kernels::simd::vectorise;
use rayon::prelude::*;

/// The maximum of each window, and the number of the tap that had it: the first of equal values, and NaN above all, as in
/// PyTorch. Numbers are of the element type, so that their buffer comes from the pool; empty `taps` are left so.
pub(crate) fn max_forward<T: Real>(windows: &Windows, images: &[T], out: &mut [T], taps: &mut [T]) {
    if taps.is_empty() {
        return windows.for_each_row(images, out, |first, image, out| {
            vectorise(
                #[inline(always)]
                || maxima(windows, first, image, out),
            );
        });
    }
    let row = windows.out_width * windows.channels;
    let image = windows.in_image();
    out.par_chunks_mut(row)
        .zip(taps.par_chunks_mut(row))
        .enumerate()
        .for_each(|(number, (out, taps))| {
            let start = number / windows.out_height * image;
            let first = number % windows.out_height * windows.out_width;
            let image = &images[start..start + image];
            vectorise(
                #[inline(always)]
                || maxima_with_taps(windows, first, image, out, taps),
            );
        });
}

/// The maxima of the output pixels from `first` on.
#[inline(always)]
fn maxima<T: Real>(windows: &Windows, first: usize, image: &[T], out: &mut [T]) {
    let channels = windows.channels;
    for (index, out) in (first..).zip(out.chunks_exact_mut(channels)) {
        let mut taps = windows.taps(index, 0..windows.in_height);
        if let Some((_, source)) = taps.next() {
            out.copy_from_slice(&image[source..source + channels]);
        }
        for (_, source) in taps {
            for (max, &value) in out.iter_mut().zip(&image[source..source + channels]) {
                *max = if wins(value, *max) { value } else { *max };
            }
        }
    }
}

/// As [`maxima`], with the numbers of the taps.
#[inline(always)]
fn maxima_with_taps<T: Real>(
    windows: &Windows,
    first: usize,
    image: &[T],
    out: &mut [T],
    numbers: &mut [T],
) {
    let channels = windows.channels;
    let pixels = out
        .chunks_exact_mut(channels)
        .zip(numbers.chunks_exact_mut(channels));
    for (index, (out, numbers)) in (first..).zip(pixels) {
        let mut taps = windows.taps(index, 0..windows.in_height);
        if let Some((tap, source)) = taps.next() {
            out.copy_from_slice(&image[source..source + channels]);
            numbers.fill(T::from_f64(tap as f64));
        }
        for (tap, source) in taps {
            let tap = T::from_f64(tap as f64);
            let pixel = &image[source..source + channels];
            for ((max, number), &value) in out.iter_mut().zip(numbers.iter_mut()).zip(pixel) {
                let wins = wins(value, *max);
                *max = if wins { value } else { *max };
                *number = if wins { tap } else { *number };
            }
        }
    }
}

/// Whether a later value takes the place of the maximum so far: a larger one does, and NaN.
#[inline(always)]
#[allow(clippy::eq_op)] // Only NaN differs from itself; `partial_cmp` has branches.
fn wins<T: Real>(value: T, max: T) -> bool {
    (value > max) | (value != value)
}

/// The gradient of the images: each gradient at the tap that had the maximum, zeros elsewhere.
pub(crate) fn max_backward<T: Real>(
    windows: &Windows,
    gradient: &[T],
    taps: &[T],
    images: &mut [T],
) {
    let (channels, out_image) = (windows.channels, windows.out_image());
    windows.for_each_band(images, |number, rows, pixels, part| {
        let top = rows.start * windows.in_width * channels;
        vectorise(
            #[inline(always)]
            || {
                for index in pixels.clone() {
                    let at = number * out_image + index * channels;
                    let (gradient, numbers) =
                        (&gradient[at..at + channels], &taps[at..at + channels]);
                    for (tap, source) in windows.taps(index, rows.clone()) {
                        let tap = T::from_f64(tap as f64);
                        let target = &mut part[source - top..source - top + channels];
                        for ((sum, &value), &number) in target.iter_mut().zip(gradient).zip(numbers)
                        {
                            *sum += if number == tap { value } else { T::zero() };
                        }
                    }
                }
            },
        );
    });
}
