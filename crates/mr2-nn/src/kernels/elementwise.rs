//! Sums and rectification of whole activations, channel selection, and spatial means.

use super::parallel::ELEMENTS;
use super::real::Real;
use super::simd::vectorise;
use rayon::prelude::*;

/// `max(value, 0)`; NaN stays NaN, as in PyTorch.
#[inline(always)]
pub(crate) fn rectified<T: Real>(value: T) -> T {
    if value <= T::zero() { T::zero() } else { value }
}

/// `out = a + b`.
pub(crate) fn add<T: Real>(a: &[T], b: &[T], out: &mut [T]) {
    out.par_chunks_mut(ELEMENTS)
        .zip(a.par_chunks(ELEMENTS))
        .zip(b.par_chunks(ELEMENTS))
        .for_each(|((out, a), b)| {
            vectorise(
                #[inline(always)]
                || {
                    for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
                        *out = a + b;
                    }
                },
            )
        });
}

/// `sum += values`.
pub(crate) fn add_assign<T: Real>(sum: &mut [T], values: &[T]) {
    sum.par_chunks_mut(ELEMENTS)
        .zip(values.par_chunks(ELEMENTS))
        .for_each(|(sum, values)| {
            vectorise(
                #[inline(always)]
                || {
                    for (sum, &value) in sum.iter_mut().zip(values) {
                        *sum += value;
                    }
                },
            )
        });
}

/// `out = max(x, 0)`.
pub(crate) fn relu<T: Real>(x: &[T], out: &mut [T]) {
    out.par_chunks_mut(ELEMENTS)
        .zip(x.par_chunks(ELEMENTS))
        .for_each(|(out, x)| {
            vectorise(
                #[inline(always)]
                || {
                    for (out, &x) in out.iter_mut().zip(x) {
                        *out = rectified(x);
                    }
                },
            )
        });
}

/// Clears the gradient where the rectified output is zero.
pub(crate) fn mask_relu<T: Real>(out: &[T], gradient: &mut [T]) {
    gradient
        .par_chunks_mut(ELEMENTS)
        .zip(out.par_chunks(ELEMENTS))
        .for_each(|(gradient, out)| {
            vectorise(
                #[inline(always)]
                || {
                    for (gradient, &out) in gradient.iter_mut().zip(out) {
                        *gradient = if out <= T::zero() {
                            T::zero()
                        } else {
                            *gradient
                        };
                    }
                },
            )
        });
}

/// Mean over the `pixels` of each image: (batch, pixels, channels) to (batch, channels).
pub(crate) fn mean_pixels<T: Real>(x: &[T], channels: usize, pixels: usize) -> Vec<T> {
    let mut means = vec![T::zero(); x.len() / pixels];
    let scale = T::one() / T::from_f64(pixels as f64);
    means
        .par_chunks_mut(channels)
        .zip(x.par_chunks(channels * pixels))
        .for_each(|(mean, image)| {
            for pixel in image.chunks_exact(channels) {
                for (mean, &value) in mean.iter_mut().zip(pixel) {
                    *mean += value;
                }
            }
            mean.iter_mut().for_each(|mean| *mean *= scale);
        });
    means
}

/// The gradient of [`mean_pixels`]: every pixel gets its share.
pub(crate) fn spread_pixels<T: Real>(
    gradient: &[T],
    channels: usize,
    pixels: usize,
    out: &mut [T],
) {
    let scale = T::one() / T::from_f64(pixels as f64);
    out.par_chunks_mut(channels * pixels)
        .zip(gradient.par_chunks(channels))
        .for_each(|(image, gradient)| {
            for pixel in image.chunks_exact_mut(channels) {
                for (value, &gradient) in pixel.iter_mut().zip(gradient) {
                    *value = gradient * scale;
                }
            }
        });
}

/// Sizes of a strided selection of pixels with channels of zeros around.
#[derive(Clone, Copy)]
pub(crate) struct Subsample {
    pub(crate) in_channels: usize,
    pub(crate) in_height: usize,
    pub(crate) in_width: usize,
    pub(crate) out_channels: usize,
    pub(crate) out_height: usize,
    pub(crate) out_width: usize,
    pub(crate) stride: usize,
    /// Channels of zeros before the first channel of the input.
    pub(crate) front: usize,
}

impl Subsample {
    /// `out[y, x] = zeros ++ images[y * stride, x * stride] ++ zeros`.
    pub(crate) fn forward<T: Real>(&self, images: &[T], out: &mut [T]) {
        let (in_image, out_image) = self.image_sizes();
        let channels = self.front..self.front + self.in_channels;
        out.par_chunks_mut(out_image)
            .zip(images.par_chunks(in_image))
            .for_each(|(out, image)| {
                out.fill(T::zero());
                for (index, pixel) in out.chunks_exact_mut(self.out_channels).enumerate() {
                    let source = self.source(index);
                    pixel[channels.clone()]
                        .copy_from_slice(&image[source..source + self.in_channels]);
                }
            });
    }

    /// Adds the gradient of the selected pixels to the images.
    pub(crate) fn backward<T: Real>(&self, gradient: &[T], images: &mut [T]) {
        let (in_image, out_image) = self.image_sizes();
        let channels = self.front..self.front + self.in_channels;
        images
            .par_chunks_mut(in_image)
            .zip(gradient.par_chunks(out_image))
            .for_each(|(image, gradient)| {
                for (index, pixel) in gradient.chunks_exact(self.out_channels).enumerate() {
                    let source = self.source(index);
                    let target = &mut image[source..source + self.in_channels];
                    for (sum, &value) in target.iter_mut().zip(&pixel[channels.clone()]) {
                        *sum += value;
                    }
                }
            });
    }

    fn image_sizes(&self) -> (usize, usize) {
        (
            self.in_height * self.in_width * self.in_channels,
            self.out_height * self.out_width * self.out_channels,
        )
    }

    /// The first element of the input pixel under an output pixel.
    fn source(&self, index: usize) -> usize {
        let (y, x) = (index / self.out_width, index % self.out_width);
        (y * self.stride * self.in_width + x * self.stride) * self.in_channels
    }
}
