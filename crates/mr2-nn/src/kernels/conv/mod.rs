//! Convolution, forward and backward. Images lie NHWC; weights come and go in PyTorch's order, (out, in /
//! groups, kernel, kernel).

mod depthwise;
mod direct;
mod geometry;
mod im2col;
mod image_gradient;
mod patches;
#[cfg(test)]
mod tests;
mod weight_order;

pub(crate) use geometry::{Geometry, same_padding};
pub(crate) use image_gradient::{Behind, ImageGradient};

use super::batch_norm::{Affine, Moments, apply_in_place, moments, part_moments};
use super::batch_norm_gradient::{GradientSums, gradient_sums};
use super::parallel::{ELEMENTS, per_chunk};
use super::pool::Pool;
use super::real::Real;
use super::source::{Source, same_type};
use super::vector::Isa;
use rayon::prelude::*;
use std::sync::Arc;

/// The convolution of images.
pub(crate) struct Forward<'a, T> {
    pub(crate) images: Source<'a, T>,
    /// Where to keep the images, if they are computed here and others need them too.
    pub(crate) stored: Option<&'a mut [T]>,
    pub(crate) weight: &'a [T],
    /// Add to the output instead of overwriting it.
    pub(crate) accumulate: bool,
    pub(crate) finish: Finish<'a, T>,
    pub(crate) out: &'a mut [T],
}

/// What is done to outputs while they are in the cache.
#[derive(Clone, Copy)]
pub(crate) enum Finish<'a, T> {
    Nothing,
    /// Their moments are wanted.
    Moments,
    /// `affine`, and what skips the convolution.
    Affine {
        affine: &'a Affine<T>,
        skip: Option<&'a [T]>,
    },
}

impl<T: Real> Finish<'_, T> {
    /// Does what is asked for to outputs from `start` on; their moments, if they are, and number of pixels.
    fn part(self, start: usize, channels: usize, out: &mut [T]) -> Option<(f64, Moments)> {
        match self {
            Self::Nothing => None,
            Self::Moments => Some(part_moments(out, channels)),
            Self::Affine { affine, skip } => {
                let skip = skip.map(|skip| &skip[start..start + out.len()]);
                apply_in_place(affine, skip, out);
                None
            }
        }
    }
}

/// The gradients of a convolution.
pub(crate) struct Backward<'a, T> {
    pub(crate) images: Source<'a, T>,
    pub(crate) out_gradient: Source<'a, T>,
    pub(crate) weight: &'a [T],
    /// Where to write the gradient of the weight.
    pub(crate) weight_gradient: Option<&'a mut [T]>,
    pub(crate) image_gradient: Option<ImageGradient<'a, T>>,
}

impl<'a, T: Real> Forward<'a, T> {
    fn f32(self) -> Option<Forward<'a, f32>> {
        Some(Forward {
            images: Source::of(self.images)?,
            stored: match self.stored {
                Some(stored) => Some(T::f32s_mut(stored)?),
                None => None,
            },
            weight: T::f32s(self.weight)?,
            accumulate: self.accumulate,
            finish: match self.finish {
                Finish::Nothing => Finish::Nothing,
                Finish::Moments => Finish::Moments,
                Finish::Affine { affine, skip } => Finish::Affine {
                    affine: same_type(affine)?,
                    skip: match skip {
                        Some(skip) => Some(T::f32s(skip)?),
                        None => None,
                    },
                },
            },
            out: T::f32s_mut(self.out)?,
        })
    }
}

impl<'a, T: Real> Backward<'a, T> {
    fn f32(self) -> Option<Backward<'a, f32>> {
        Some(Backward {
            images: Source::of(self.images)?,
            out_gradient: Source::of(self.out_gradient)?,
            weight: T::f32s(self.weight)?,
            weight_gradient: match self.weight_gradient {
                Some(gradient) => Some(T::f32s_mut(gradient)?),
                None => None,
            },
            image_gradient: match self.image_gradient {
                Some(gradient) => Some(gradient.f32()?),
                None => None,
            },
        })
    }
}

/// Whether the kernels for f32 take a convolution: they read images and gradients from any [`Source`].
pub(crate) fn reads_sources<T: Real>(geometry: &Geometry) -> bool {
    direct::suits(geometry) && T::f32s(&[]).is_some()
}

/// `out = images * weight`; the moments of the output, if they are asked for.
pub(crate) fn forward<T: Real>(
    geometry: &Geometry,
    work: Forward<'_, T>,
    pool: &Arc<Pool>,
) -> Option<Moments> {
    if reads_sources::<T>(geometry) {
        return direct::forward(Isa::best(), geometry, work.f32()?, pool);
    }
    let mut images = None;
    let images = work
        .images
        .kept_in(geometry.in_channels, work.stored)
        .in_memory(geometry.in_channels, &mut images, pool);
    let (weight, accumulate) = (work.weight, work.accumulate);
    if depthwise::suits(geometry) {
        let channels = geometry.out_channels;
        let finish = |start: usize, row: &mut [T]| {
            if matches!(work.finish, Finish::Affine { .. }) {
                work.finish.part(start, channels, row);
            }
        };
        depthwise::forward(geometry, images, weight, work.out, accumulate, finish);
        return match work.finish {
            Finish::Moments => Some(moments(work.out, channels)),
            _ => None,
        };
    }
    patches::forward(geometry, images, weight, work.out, accumulate, pool);
    match work.finish {
        Finish::Nothing => None,
        Finish::Moments => Some(moments(work.out, geometry.out_channels)),
        Finish::Affine { .. } => {
            let chunk = geometry.out_image();
            work.out
                .par_chunks_mut(chunk)
                .enumerate()
                .for_each(|(index, out)| {
                    work.finish.part(index * chunk, geometry.out_channels, out);
                });
            None
        }
    }
}

/// The gradients that are asked for; the sums of the batch norm behind, if they are.
pub(crate) fn backward<T: Real>(
    geometry: &Geometry,
    work: Backward<'_, T>,
    pool: &Arc<Pool>,
) -> Option<GradientSums> {
    if reads_sources::<T>(geometry) {
        return direct::backward(Isa::best(), geometry, work.f32()?, pool);
    }
    let (mut x, mut dz) = (None, None);
    let gradient = work
        .out_gradient
        .in_memory(geometry.out_channels, &mut dz, pool);
    if let Some(weight_gradient) = work.weight_gradient {
        let images = work.images.in_memory(geometry.in_channels, &mut x, pool);
        if depthwise::suits(geometry) {
            depthwise::weight_gradient(geometry, images, gradient, weight_gradient);
        } else {
            patches::weight_gradient(geometry, images, gradient, weight_gradient, pool);
        }
    }
    let image_gradient = work.image_gradient?;
    if image_gradient.fresh {
        image_gradient.values.fill(T::zero());
    }
    let values = image_gradient.values;
    if depthwise::suits(geometry) {
        depthwise::image_gradient(geometry, work.weight, gradient, values);
    } else {
        patches::image_gradient(geometry, work.weight, gradient, values, pool);
    }
    let behind = image_gradient.behind?;
    Some(gradient_sums(behind.x, behind.mean, behind.mask, values))
}

/// Fills an output with its bias, for a convolution to add to.
pub(crate) fn spread_bias<T: Real>(bias: &[T], out: &mut [T]) {
    let chunk = (ELEMENTS / bias.len()).max(1) * bias.len();
    out.par_chunks_mut(chunk).for_each(|out| {
        out.chunks_exact_mut(bias.len())
            .for_each(|pixel| pixel.copy_from_slice(bias));
    });
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
