//! Maximum and average over windows of pixels; windows may overlap.

use super::real::Real;
use rayon::prelude::*;
use std::ops::Range;

/// Sizes of one pooling layer; windows are square.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Windows {
    pub(crate) channels: usize,
    pub(crate) in_height: usize,
    pub(crate) in_width: usize,
    pub(crate) out_height: usize,
    pub(crate) out_width: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) padding: usize,
}

impl Windows {
    fn in_image(&self) -> usize {
        self.in_height * self.in_width * self.channels
    }

    fn out_image(&self) -> usize {
        self.out_height * self.out_width * self.channels
    }

    /// Rows and columns of the image under output pixel `index`.
    fn window(&self, index: usize) -> (Range<usize>, Range<usize>) {
        let range = |out: usize, size: usize| {
            let start = out * self.stride;
            start.saturating_sub(self.padding)
                ..(start + self.kernel).saturating_sub(self.padding).min(size)
        };
        (
            range(index / self.out_width, self.in_height),
            range(index % self.out_width, self.in_width),
        )
    }

    /// First elements of the input pixels under output pixel `index`, row by row.
    fn sources(&self, index: usize) -> impl Iterator<Item = usize> {
        let (rows, cols) = self.window(index);
        let (width, channels) = (self.in_width, self.channels);
        rows.flat_map(move |y| cols.clone().map(move |x| (y * width + x) * channels))
    }
}

/// The maximum of each window, and where in the image it lies: the first of equal values, and NaN
/// above all, as in PyTorch. Empty `positions` are left so.
pub(crate) fn max_forward<T: Real>(
    windows: &Windows,
    images: &[T],
    out: &mut [T],
    positions: &mut [u32],
) {
    let (in_image, out_image) = (windows.in_image(), windows.out_image());
    let work = out
        .par_chunks_mut(out_image)
        .zip(images.par_chunks(in_image));
    if positions.is_empty() {
        return work.for_each(|(out, image)| maxima(windows, image, out, |_, _| ()));
    }
    work.zip(positions.par_chunks_mut(out_image))
        .for_each(|((out, image), positions)| {
            maxima(windows, image, out, |at, source| {
                positions[at] = source as u32;
            });
        });
}

/// The maxima of one image; `found` hears of every new one, by output and input element.
#[inline(always)]
fn maxima<T: Real>(
    windows: &Windows,
    image: &[T],
    out: &mut [T],
    mut found: impl FnMut(usize, usize),
) {
    let channels = windows.channels;
    for (index, out) in out.chunks_exact_mut(channels).enumerate() {
        for (nth, source) in windows.sources(index).enumerate() {
            let pixel = &image[source..source + channels];
            for (channel, (max, &value)) in out.iter_mut().zip(pixel).enumerate() {
                // A comparison with NaN is false, so that NaN wins here.
                if nth == 0 || value > *max || value.partial_cmp(&value).is_none() {
                    *max = value;
                    found(index * channels + channel, source + channel);
                }
            }
        }
    }
}

/// Adds each gradient to the position that had the maximum.
pub(crate) fn max_backward<T: Real>(
    windows: &Windows,
    gradient: &[T],
    positions: &[u32],
    images: &mut [T],
) {
    let (in_image, out_image) = (windows.in_image(), windows.out_image());
    images
        .par_chunks_mut(in_image)
        .zip(gradient.par_chunks(out_image))
        .zip(positions.par_chunks(out_image))
        .for_each(|((image, gradient), positions)| {
            for (&value, &position) in gradient.iter().zip(positions) {
                image[position as usize] += value;
            }
        });
}

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
    out.par_chunks_mut(windows.out_image())
        .zip(images.par_chunks(windows.in_image()))
        .for_each(|(out, image)| {
            for (index, out) in out.chunks_exact_mut(channels).enumerate() {
                out.fill(T::zero());
                for source in windows.sources(index) {
                    for (sum, &value) in out.iter_mut().zip(&image[source..source + channels]) {
                        *sum += value;
                    }
                }
                let divisor = divisor.of(windows, index);
                out.iter_mut().for_each(|sum| *sum /= divisor);
            }
        });
}

/// Adds each window's share of its gradient to the image.
pub(crate) fn mean_backward<T: Real>(
    windows: &Windows,
    divisor: Divisor,
    gradient: &[T],
    images: &mut [T],
) {
    let channels = windows.channels;
    images
        .par_chunks_mut(windows.in_image())
        .zip(gradient.par_chunks(windows.out_image()))
        .for_each(|(image, gradient)| {
            for (index, gradient) in gradient.chunks_exact(channels).enumerate() {
                let divisor = divisor.of::<T>(windows, index);
                for source in windows.sources(index) {
                    let target = &mut image[source..source + channels];
                    for (sum, &value) in target.iter_mut().zip(gradient) {
                        *sum += value / divisor;
                    }
                }
            }
        });
}
