//! Between Candle's NCHW and the NHWC of activations.

use super::real::Real;
use rayon::prelude::*;

/// Copies NCHW `from` to NHWC `to`; `pixels` is height times width.
pub(crate) fn to_channels_last<T: Real>(from: &[T], to: &mut [T], channels: usize, pixels: usize) {
    transpose_images(from, to, channels, pixels);
}

/// Copies NHWC `from` to NCHW `to`.
pub(crate) fn to_channels_first<T: Real>(from: &[T], to: &mut [T], channels: usize, pixels: usize) {
    transpose_images(from, to, pixels, channels);
}

/// Each image, a (rows, cols) matrix, to (cols, rows).
fn transpose_images<T: Real>(from: &[T], to: &mut [T], rows: usize, cols: usize) {
    to.par_chunks_mut(rows * cols)
        .zip(from.par_chunks(rows * cols))
        .for_each(|(to, from)| {
            if rows == 1 || cols == 1 {
                to.copy_from_slice(from);
                return;
            }
            for (col, target) in to.chunks_exact_mut(rows).enumerate() {
                for (row, value) in target.iter_mut().enumerate() {
                    *value = from[row * cols + col];
                }
            }
        });
}
