//! The mean of each window.

use super::Windows;
use crate::kernels::real::Real;
use crate::kernels::simd::vectorise;

/// What the sum of a window is divided by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Divisor {
    /// The window's pixels on the image.
    Inside,
    /// Also its pixels on the padding, as PyTorch's `count_include_pad`.
    Padded,
}

impl Divisor {
    fn of<T: Real>(self, windows: &Windows, index: usize) -> T {
        let count = match self {
            Self::Inside => {
                let (rows, cols) = windows.window(index);
                rows.len() * cols.len()
            }
            // Output sizes round down, so no window reaches beyond the padding.
            Self::Padded => windows.kernel * windows.kernel,
        };
        T::from_f64(count as f64)
    }
}

/// The mean of each window.
pub(crate) fn mean_forward<T: Real>(
    windows: &Windows,
    divisor: Divisor,
    images: &[T],
    out: &mut [T],
) {
    let channels = windows.channels;
    windows.for_each_row(images, out, |first, image, out| {
        vectorise(
            #[inline(always)]
            || {
                for (index, out) in (first..).zip(out.chunks_exact_mut(channels)) {
                    out.fill(T::zero());
                    for (_, source) in windows.taps(index, 0..windows.in_height) {
                        for (sum, &value) in out.iter_mut().zip(&image[source..source + channels]) {
                            *sum += value;
                        }
                    }
                    let divisor = divisor.of(windows, index);
                    out.iter_mut().for_each(|sum| *sum /= divisor);
                }
            },
        );
    });
}

/// The gradient of the images: each window's share of its gradient on all its pixels.
pub(crate) fn mean_backward<T: Real>(
    windows: &Windows,
    divisor: Divisor,
    gradient: &[T],
    images: &mut [T],
) {
    let (channels, out_image) = (windows.channels, windows.out_image());
    windows.for_each_band(images, |number, rows, pixels, part| {
        let top = rows.start * windows.in_width * channels;
        let mut shares = vec![T::zero(); channels];
        vectorise(
            #[inline(always)]
            || {
                for index in pixels.clone() {
                    let at = number * out_image + index * channels;
                    let divisor = divisor.of::<T>(windows, index);
                    for (share, &value) in shares.iter_mut().zip(&gradient[at..at + channels]) {
                        *share = value / divisor;
                    }
                    for (_, source) in windows.taps(index, rows.clone()) {
                        let target = &mut part[source - top..source - top + channels];
                        for (sum, &share) in target.iter_mut().zip(&shares) {
                            *sum += share;
                        }
                    }
                }
            },
        );
    });
}
