//! The inner loop of the weight's gradient: a few elements of the patch times a few vectors of output
//! channels, kept in registers over all pixels.

use crate::kernels::vector::Vector;

/// Patch elements that a tile may have; the first that fits is taken.
pub(super) const ELEMENTS: [usize; 9] = [24, 21, 12, 9, 8, 6, 4, 2, 1];

/// The pixels that a gradient is summed over.
#[derive(Clone, Copy)]
pub(super) struct Grid {
    pub(super) images: usize,
    pub(super) rows: usize,
    pub(super) cols: usize,
    /// Elements from one image, row and pixel to the next: patches, then output gradients.
    pub(super) patch: [usize; 3],
    pub(super) out: [usize; 3],
}

/// `sums[element] += sum over pixels of patch[element] * gradient`, for `elements` neighbours.
///
/// # Safety
/// The instruction set of `V`; `patch` and `gradient` valid on the grid, `sums` for `elements` rows of
/// `sums_step`.
#[inline(always)]
pub(super) unsafe fn elements<V: Vector, const VECTORS: usize>(
    elements: usize,
    grid: &Grid,
    patch: *const f32,
    gradient: *const f32,
    sums: *mut f32,
    sums_step: usize,
) {
    // SAFETY: passed on to the caller.
    unsafe {
        match elements {
            24 if 24 * VECTORS <= V::ACCUMULATORS => {
                tile::<V, 24, VECTORS>(grid, patch, gradient, sums, sums_step)
            }
            21 if 21 * VECTORS <= V::ACCUMULATORS => {
                tile::<V, 21, VECTORS>(grid, patch, gradient, sums, sums_step)
            }
            9 if 9 * VECTORS <= V::ACCUMULATORS => {
                tile::<V, 9, VECTORS>(grid, patch, gradient, sums, sums_step)
            }
            6 if 6 * VECTORS <= V::ACCUMULATORS => {
                tile::<V, 6, VECTORS>(grid, patch, gradient, sums, sums_step)
            }
            12 if 12 * VECTORS <= V::ACCUMULATORS => {
                tile::<V, 12, VECTORS>(grid, patch, gradient, sums, sums_step)
            }
            8 if 8 * VECTORS <= V::ACCUMULATORS => {
                tile::<V, 8, VECTORS>(grid, patch, gradient, sums, sums_step)
            }
            4 => tile::<V, 4, VECTORS>(grid, patch, gradient, sums, sums_step),
            2 => tile::<V, 2, VECTORS>(grid, patch, gradient, sums, sums_step),
            _ => tile::<V, 1, VECTORS>(grid, patch, gradient, sums, sums_step),
        }
    }
}

/// # Safety
/// As [`elements`].
#[inline(always)]
unsafe fn tile<V: Vector, const ELEMENTS: usize, const VECTORS: usize>(
    grid: &Grid,
    patch: *const f32,
    gradient: *const f32,
    sums: *mut f32,
    sums_step: usize,
) {
    // SAFETY: passed on to the caller.
    unsafe {
        let mut tile = [[V::zero(); VECTORS]; ELEMENTS];
        for image in 0..grid.images {
            for row in 0..grid.rows {
                let mut patch = patch.add(image * grid.patch[0] + row * grid.patch[1]);
                let mut gradient = gradient.add(image * grid.out[0] + row * grid.out[1]);
                for _ in 0..grid.cols {
                    let vectors: [V; VECTORS] =
                        std::array::from_fn(|v| V::load(gradient.add(v * V::LANES)));
                    for (element, sums) in tile.iter_mut().enumerate() {
                        let value = V::splat(patch.add(element));
                        for (sum, &vector) in sums.iter_mut().zip(&vectors) {
                            *sum = sum.add_product(value, vector);
                        }
                    }
                    // After the last pixel these may lie beyond the slices.
                    patch = patch.wrapping_add(grid.patch[2]);
                    gradient = gradient.wrapping_add(grid.out[2]);
                }
            }
        }
        for (element, tile) in tile.iter().enumerate() {
            for (v, &sum) in tile.iter().enumerate() {
                let to = sums.add(element * sums_step + v * V::LANES);
                V::load(to).add(sum).store(to);
            }
        }
    }
}
