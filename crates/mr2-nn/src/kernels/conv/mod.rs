//! Convolution, forward and backward. Images lie NHWC; weights come and go in PyTorch's order, (out, in /
//! groups, kernel, kernel).

mod direct;
mod geometry;
mod im2col;
mod patches;
mod weight_order;

pub(crate) use geometry::Geometry;

use super::parallel::per_chunk;
use super::pool::Pool;
use super::real::Real;
use super::vector::Isa;
use rayon::prelude::*;
use std::sync::Arc;

/// `out = images * weight + bias`.
pub(crate) fn forward<T: Real>(
    geometry: &Geometry,
    images: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    out: &mut [T],
    pool: &Arc<Pool>,
) {
    if let Some(bias) = bias {
        out.par_chunks_mut(geometry.out_image()).for_each(|image| {
            image
                .chunks_exact_mut(bias.len())
                .for_each(|pixel| pixel.copy_from_slice(bias));
        });
    }
    let accumulate = bias.is_some();
    if direct::suits(geometry)
        && let (Some(images), Some(weight)) = (T::f32s(images), T::f32s(weight))
        && let Some(out) = T::f32s_mut(out)
    {
        return direct::forward(Isa::best(), geometry, images, weight, out, accumulate, pool);
    }
    patches::forward(geometry, images, weight, out, accumulate, pool);
}

/// Adds the gradient of the images to `image_gradient`.
pub(crate) fn image_gradient<T: Real>(
    geometry: &Geometry,
    weight: &[T],
    out_gradient: &[T],
    image_gradient: &mut [T],
    pool: &Arc<Pool>,
) {
    if direct::suits(geometry)
        && let (Some(weight), Some(out)) = (T::f32s(weight), T::f32s(out_gradient))
        && let Some(images) = T::f32s_mut(image_gradient)
    {
        return direct::image_gradient(Isa::best(), geometry, weight, out, images, pool);
    }
    patches::image_gradient(geometry, weight, out_gradient, image_gradient, pool);
}

/// The gradient of the weight.
pub(crate) fn weight_gradient<T: Real>(
    geometry: &Geometry,
    images: &[T],
    out_gradient: &[T],
    pool: &Arc<Pool>,
) -> Vec<T> {
    let mut gradient = vec![T::zero(); geometry.weights()];
    if direct::suits(geometry)
        && let (Some(images), Some(out)) = (T::f32s(images), T::f32s(out_gradient))
        && let Some(gradient) = T::f32s_mut(&mut gradient)
    {
        direct::weight_gradient(Isa::best(), geometry, images, out, gradient, pool);
    } else {
        patches::weight_gradient(geometry, images, out_gradient, &mut gradient, pool);
    }
    gradient
}

/// The gradient of the bias: the sum over all output pixels.
pub(crate) fn bias_gradient<T: Real>(geometry: &Geometry, out_gradient: &[T]) -> Vec<T> {
    let chunk = per_chunk(geometry.batch) * geometry.out_image();
    let partial: Vec<Vec<f64>> = out_gradient
        .par_chunks(chunk)
        .map(|part| {
            let mut sum = vec![0f64; geometry.out_channels];
            for pixel in part.chunks_exact(geometry.out_channels) {
                for (sum, &value) in sum.iter_mut().zip(pixel) {
                    *sum += value.to_f64();
                }
            }
            sum
        })
        .collect();
    (0..geometry.out_channels)
        .map(|channel| T::from_f64(partial.iter().map(|sum| sum[channel]).sum()))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn geometry(
        (batch, in_channels, out_channels): (usize, usize, usize),
        (height, width): (usize, usize),
        (kernel, stride, padding): (usize, usize, usize),
    ) -> Geometry {
        let outputs = |size: usize| (size + 2 * padding - kernel) / stride + 1;
        Geometry {
            batch,
            in_channels,
            in_height: height,
            in_width: width,
            out_channels,
            out_height: outputs(height),
            out_width: outputs(width),
            kernel,
            stride,
            padding,
            dilation: 1,
            groups: 1,
        }
    }

    /// Odd sizes, one channel, channels that fill no vector, strides that leave a border, padding beyond
    /// the kernel's reach.
    fn grid() -> Vec<Geometry> {
        let mut grid = Vec::new();
        for channels in [
            (2, 3, 16),
            (3, 16, 16),
            (1, 1, 1),
            (2, 17, 5),
            (2, 5, 17),
            (5, 32, 48),
            (2, 40, 33),
        ] {
            for size in [(5, 8), (8, 7), (9, 17)] {
                for window in [
                    (3, 1, 1),
                    (3, 2, 1),
                    (1, 1, 0),
                    (1, 2, 0),
                    (7, 2, 3),
                    (5, 1, 0),
                    (3, 1, 2),
                    (3, 3, 0),
                    (2, 2, 0),
                    (3, 1, 4),
                ] {
                    if size.0.min(size.1) + 2 * window.2 >= window.0 {
                        grid.push(geometry(channels, size, window));
                    }
                }
            }
        }
        grid
    }

    fn values(len: usize, seed: usize) -> Vec<f32> {
        let value = |index: usize| ((index * 7919 + seed * 104_729) % 1009) as f32 / 1009.0 - 0.5;
        (0..len).map(value).collect()
    }

    fn close(what: &str, g: &Geometry, isa: Isa, got: &[f32], expected: &[f64]) {
        let largest = expected
            .iter()
            .fold(1e-6, |largest: f64, value| largest.max(value.abs()));
        for (got, expected) in got.iter().zip(expected) {
            assert!(
                (f64::from(*got) - expected).abs() < 1e-5 * largest,
                "{what} {isa:?} {g:?}: {got}, expected {expected}"
            );
        }
    }

    #[test]
    fn every_instruction_set_gives_what_products_of_patches_give() {
        let pool = Arc::default();
        let wide = |values: &[f32]| {
            values
                .iter()
                .map(|&value| f64::from(value))
                .collect::<Vec<_>>()
        };
        for g in grid() {
            let images = values(g.batch * g.in_image(), 1);
            let weight = values(g.weights(), 2);
            let out_gradient = values(g.batch * g.out_image(), 3);
            let (images64, weight64, gradient64) =
                (wide(&images), wide(&weight), wide(&out_gradient));
            let mut out64 = vec![0.0; out_gradient.len()];
            patches::forward(&g, &images64, &weight64, &mut out64, false, &pool);
            let mut image64 = vec![1.0; images.len()];
            patches::image_gradient(&g, &weight64, &gradient64, &mut image64, &pool);
            let mut sum64 = vec![0.0; weight.len()];
            patches::weight_gradient(&g, &images64, &gradient64, &mut sum64, &pool);
            for &isa in Isa::available() {
                let mut out = vec![f32::NAN; out_gradient.len()];
                direct::forward(isa, &g, &images, &weight, &mut out, false, &pool);
                close("forward", &g, isa, &out, &out64);
                let mut gradient = vec![1.0; images.len()];
                direct::image_gradient(isa, &g, &weight, &out_gradient, &mut gradient, &pool);
                close("images", &g, isa, &gradient, &image64);
                let mut gradient = vec![0.0; weight.len()];
                direct::weight_gradient(isa, &g, &images, &out_gradient, &mut gradient, &pool);
                close("weight", &g, isa, &gradient, &sum64);
            }
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let pool = Arc::default();
        for g in [
            geometry((19, 16, 32), (9, 9), (3, 2, 1)),
            geometry((3, 32, 272), (7, 7), (3, 1, 1)),
        ] {
            let images = values(g.batch * g.in_image(), 1);
            let weight = values(g.weights(), 2);
            let out_gradient = values(g.batch * g.out_image(), 3);
            let results = [1, 2, 3].map(|threads| {
                let threads = rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .build()
                    .unwrap();
                threads.install(|| {
                    let mut out = vec![0.0; out_gradient.len()];
                    forward(&g, &images, &weight, None, &mut out, &pool);
                    let mut gradient = vec![0.0; images.len()];
                    image_gradient(&g, &weight, &out_gradient, &mut gradient, &pool);
                    (
                        out,
                        gradient,
                        weight_gradient(&g, &images, &out_gradient, &pool),
                    )
                })
            });
            assert!(
                results[0] == results[1] && results[0] == results[2],
                "{g:?}"
            );
        }
    }
}
