//! Convolution without a matrix of patches: the kernel slides over a padded copy of an image, which stays in
//! the cache, and the sums stay in registers. For f32.

mod backward;
mod gradient_tile;
mod images;
mod pass;
mod pass_kernel;
mod passes;
mod tile;
mod weight;
mod weight_panels;

pub(super) use backward::backward;
pub(super) use images::forward;

use super::geometry::Geometry;

/// Whether these kernels take a convolution.
pub(super) fn suits(g: &Geometry) -> bool {
    g.groups == 1 && g.dilation == 1
}

/// The largest of the descending `sizes` that is at most `left`.
#[inline(always)]
fn largest(sizes: &[usize], left: usize) -> usize {
    sizes
        .iter()
        .copied()
        .find(|&size| size <= left)
        .unwrap_or(1)
}
