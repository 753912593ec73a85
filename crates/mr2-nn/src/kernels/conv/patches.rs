//! Convolution by patches and matrix products, parallel over chunks of images.

use super::geometry::Geometry;
use super::im2col::{gather, scatter_add};
use super::weight_order::{flip_weight, pack_weight, unpack_gradient};
use crate::kernels::matmul::{Matrix, Target, multiply};
use crate::kernels::parallel::per_chunk;
use crate::kernels::pool::{Pool, PoolBuf};
use crate::kernels::real::Real;
use crate::kernels::simd::vectorise;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// `out = images * weight`, or added to `out`.
pub(super) fn forward<T: Real>(
    geometry: &Geometry,
    images: &[T],
    weight: &[T],
    out: &mut [T],
    accumulate: bool,
    pool: &Arc<Pool>,
) {
    let packed = packed(geometry, weight, pool);
    let chunk = per_chunk(geometry.batch);
    out.par_chunks_mut(chunk * geometry.out_image())
        .zip(images.par_chunks(chunk * geometry.in_image()))
        .for_each(|(out, images)| forward_chunk(geometry, images, &packed, accumulate, out, pool));
}

fn packed<T: Real>(geometry: &Geometry, weight: &[T], pool: &Arc<Pool>) -> PoolBuf<T> {
    let mut packed = pool.take(weight.len());
    pack_weight(weight, geometry, &mut packed);
    packed
}

fn forward_chunk<T: Real>(
    geometry: &Geometry,
    images: &[T],
    weight: &[T],
    accumulate: bool,
    out: &mut [T],
    pool: &Arc<Pool>,
) {
    let (depth, out_channels) = (geometry.depth(), geometry.out_channels);
    let group_outputs = out_channels / geometry.groups;
    for_each_tile(geometry, images, pool, |group, rows, patches| {
        let first = group * group_outputs;
        multiply(
            Target {
                data: &mut out[rows.start * out_channels + first..],
                row_stride: out_channels,
                accumulate,
            },
            patches,
            Matrix::rows(
                &weight[first * depth..],
                depth,
                group_outputs,
                group_outputs,
            ),
        );
    });
}

/// Calls `work(group, output pixels, their patches)` for all tiles of a chunk of images.
fn for_each_tile<T: Real>(
    geometry: &Geometry,
    images: &[T],
    pool: &Arc<Pool>,
    mut work: impl FnMut(usize, Range<usize>, Matrix<'_, T>),
) {
    let depth = geometry.depth();
    let rows = images.len() / geometry.in_image() * geometry.out_pixels();
    let longest = geometry.longest_tile(rows);
    let mut scratch = pool.take::<T>(if geometry.is_pointwise() {
        0
    } else {
        longest * depth
    });
    for group in 0..geometry.groups {
        for tile in geometry.tiles(rows) {
            let patches = if geometry.is_pointwise() {
                let first = tile.start * geometry.in_channels + group * depth;
                Matrix::rows(&images[first..], tile.len(), depth, geometry.in_channels)
            } else {
                let scratch = &mut scratch[..tile.len() * depth];
                vectorise(
                    #[inline(always)]
                    || gather(geometry, group, images, tile.clone(), scratch),
                );
                Matrix::rows(scratch, tile.len(), depth, depth)
            };
            work(group, tile, patches);
        }
    }
}

/// The gradient of the weight.
pub(super) fn weight_gradient<T: Real>(
    geometry: &Geometry,
    images: &[T],
    out_gradient: &[T],
    weight_gradient: &mut [T],
    pool: &Arc<Pool>,
) {
    let (depth, out_channels) = (geometry.depth(), geometry.out_channels);
    let group_outputs = out_channels / geometry.groups;
    let chunk = per_chunk(geometry.batch);
    let chunks = geometry.batch.div_ceil(chunk);
    let mut partial = pool.zeros::<T>(chunks * geometry.weights());
    partial
        .par_chunks_mut(geometry.weights())
        .zip(images.par_chunks(chunk * geometry.in_image()))
        .zip(out_gradient.par_chunks(chunk * geometry.out_image()))
        .for_each(|((partial, images), out_gradient)| {
            for_each_tile(geometry, images, pool, |group, rows, patches| {
                let first = group * group_outputs;
                let gradient = &out_gradient[rows.start * out_channels + first..];
                multiply(
                    Target {
                        data: &mut partial[first * depth..],
                        row_stride: depth,
                        accumulate: true,
                    },
                    Matrix::rows(gradient, rows.len(), group_outputs, out_channels).transposed(),
                    patches,
                );
            });
        });
    let sum = sum_parts(&partial, geometry.weights(), pool);
    unpack_gradient(&sum, geometry, weight_gradient);
}

/// The sum of equally long parts, in their order.
fn sum_parts<T: Real>(parts: &[T], len: usize, pool: &Arc<Pool>) -> PoolBuf<T> {
    let mut sum = pool.zeros::<T>(len);
    for part in parts.chunks_exact(len) {
        for (sum, &value) in sum.iter_mut().zip(part) {
            *sum += value;
        }
    }
    sum
}

/// Adds the gradient of the images to `image_gradient`.
pub(super) fn image_gradient<T: Real>(
    geometry: &Geometry,
    weight: &[T],
    out_gradient: &[T],
    image_gradient: &mut [T],
    pool: &Arc<Pool>,
) {
    let packed = packed(geometry, weight, pool);
    let chunk = per_chunk(geometry.batch);
    let work = image_gradient
        .par_chunks_mut(chunk * geometry.in_image())
        .zip(out_gradient.par_chunks(chunk * geometry.out_image()));
    match geometry.transposed() {
        Some(transposed) => {
            let mut flipped = pool.take(packed.len());
            flip_weight(&packed, geometry, &mut flipped);
            work.for_each(|(images, out)| {
                forward_chunk(&transposed, out, &flipped, true, images, pool);
            });
        }
        None => work.for_each(|(images, out)| scatter_chunk(geometry, &packed, out, images, pool)),
    }
}

/// The patches of the images' gradient, added up where they overlap.
fn scatter_chunk<T: Real>(
    geometry: &Geometry,
    weight: &[T],
    out_gradient: &[T],
    images: &mut [T],
    pool: &Arc<Pool>,
) {
    let (depth, out_channels) = (geometry.depth(), geometry.out_channels);
    let group_outputs = out_channels / geometry.groups;
    let rows = out_gradient.len() / out_channels;
    let longest = geometry.longest_tile(rows);
    let mut scratch = pool.take::<T>(longest * depth);
    for group in 0..geometry.groups {
        let first = group * group_outputs;
        let weight = Matrix::rows(
            &weight[first * depth..],
            depth,
            group_outputs,
            group_outputs,
        );
        let weight = weight.transposed();
        for tile in geometry.tiles(rows) {
            let gradient = &out_gradient[tile.start * out_channels + first..];
            let gradient = Matrix::rows(gradient, tile.len(), group_outputs, out_channels);
            let patches = &mut scratch[..tile.len() * depth];
            let target = Target {
                data: patches,
                row_stride: depth,
                accumulate: false,
            };
            multiply(target, gradient, weight);
            let patches = &scratch[..tile.len() * depth];
            vectorise(
                #[inline(always)]
                || scatter_add(geometry, group, patches, tile, images),
            );
        }
    }
}
