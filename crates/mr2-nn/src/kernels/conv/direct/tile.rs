//! The inner loop: a few output pixels times a few vectors of output channels, kept in registers.

use crate::kernels::vector::{Vector, opaque};

/// Pixels that a tile may have; the first that fits is taken.
pub(super) const PIXELS: [usize; 6] = [16, 8, 7, 4, 2, 1];

/// Part of a patch: where it starts, counted from the patch's first element, and its elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tap {
    pub(super) offset: usize,
    pub(super) depth: usize,
}

/// What all tiles of one panel of output channels share.
#[derive(Clone, Copy)]
pub(super) struct Panel<'a> {
    pub(super) taps: &'a [Tap],
    /// From one output pixel's patch to the next one's, in elements.
    pub(super) patch_step: usize,
    /// (tap, element, lane): the weights of this panel.
    pub(super) weight: *const f32,
    /// From one output pixel to the next, in elements.
    pub(super) out_step: usize,
    /// Output channels of the panel that exist.
    pub(super) valid: usize,
    /// Add to the output instead of overwriting it.
    pub(super) accumulate: bool,
}

/// `out[p] = sum over taps and their elements of patch[p] * weight` for `pixels` neighbours.
///
/// # Safety
/// The instruction set of `V`; `patch` and `out` valid for all pixels, taps and channels of the panel.
#[inline(always)]
pub(super) unsafe fn pixels<V: Vector, const VECTORS: usize>(
    pixels: usize,
    panel: &Panel<'_>,
    patch: *const f32,
    out: *mut f32,
) {
    // SAFETY: passed on to the caller.
    unsafe {
        match pixels {
            16 if 16 * VECTORS <= V::ACCUMULATORS => tile::<V, 16, VECTORS>(panel, patch, out),
            8 if 8 * VECTORS <= V::ACCUMULATORS => tile::<V, 8, VECTORS>(panel, patch, out),
            7 if 7 * VECTORS <= V::ACCUMULATORS => tile::<V, 7, VECTORS>(panel, patch, out),
            4 => tile::<V, 4, VECTORS>(panel, patch, out),
            2 => tile::<V, 2, VECTORS>(panel, patch, out),
            _ => tile::<V, 1, VECTORS>(panel, patch, out),
        }
    }
}

/// # Safety
/// As [`pixels`].
#[inline(always)]
unsafe fn tile<V: Vector, const PIXELS: usize, const VECTORS: usize>(
    panel: &Panel<'_>,
    patch: *const f32,
    out: *mut f32,
) {
    const UNROLL: usize = 4;
    // SAFETY: passed on to the caller.
    unsafe {
        let steps = Steps::new(panel.patch_step);
        let mut sums = [[V::zero(); VECTORS]; PIXELS];
        let mut weight = panel.weight;
        for tap in panel.taps {
            let mut rows = steps.rows::<PIXELS>(patch.add(tap.offset));
            let mut left = tap.depth;
            while left >= UNROLL {
                for element in 0..UNROLL {
                    let weight = weight.add(element * VECTORS * V::LANES);
                    add_products::<V, PIXELS, VECTORS>(&mut sums, &rows, element, &steps, weight);
                }
                weight = weight.add(UNROLL * VECTORS * V::LANES);
                advance::<PIXELS>(&mut rows, UNROLL);
                left -= UNROLL;
            }
            while left > 0 {
                add_products::<V, PIXELS, VECTORS>(&mut sums, &rows, 0, &steps, weight);
                weight = weight.add(VECTORS * V::LANES);
                advance::<PIXELS>(&mut rows, 1);
                left -= 1;
            }
        }
        for (pixel, sums) in sums.iter().enumerate() {
            store::<V, VECTORS>(sums, panel, out.add(pixel * panel.out_step));
        }
    }
}

/// Pixels `4q + r` are addressed as row `q` plus `r` steps: few registers, and no arithmetic in the loop.
struct Steps {
    one: usize,
    three: usize,
}

impl Steps {
    #[inline(always)]
    fn new(step: usize) -> Self {
        let mut three = 3 * step;
        opaque(&mut three);
        Self { one: step, three }
    }

    /// # Safety
    /// `patch` is valid for all pixels of the tile.
    #[inline(always)]
    unsafe fn rows<const PIXELS: usize>(&self, patch: *const f32) -> [*const f32; 4] {
        let mut rows = [patch; 4];
        for (index, row) in rows.iter_mut().enumerate().take(PIXELS.div_ceil(4)) {
            // SAFETY: these are pixels of the tile.
            *row = unsafe { patch.add(4 * index * self.one) };
            opaque(row);
        }
        rows
    }

    /// # Safety
    /// The pixel and the element are of the tile.
    #[inline(always)]
    unsafe fn pixel(&self, rows: &[*const f32; 4], pixel: usize, element: usize) -> *const f32 {
        // SAFETY: passed on to the caller.
        unsafe {
            let row = rows[pixel / 4].add(element);
            match pixel % 4 {
                0 => row,
                1 => row.add(self.one),
                2 => row.add(2 * self.one),
                _ => row.add(self.three),
            }
        }
    }
}

/// # Safety
/// The tap has as many elements left.
#[inline(always)]
unsafe fn advance<const PIXELS: usize>(rows: &mut [*const f32; 4], elements: usize) {
    for row in rows.iter_mut().take(PIXELS.div_ceil(4)) {
        // SAFETY: at most one past the last element of the tap.
        *row = unsafe { row.add(elements) };
        opaque(row);
    }
}

/// Index loops over arrays: in this form LLVM unrolls them and keeps the sums in registers.
///
/// # Safety
/// As [`pixels`].
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn add_products<V: Vector, const PIXELS: usize, const VECTORS: usize>(
    sums: &mut [[V; VECTORS]; PIXELS],
    rows: &[*const f32; 4],
    element: usize,
    steps: &Steps,
    weight: *const f32,
) {
    // SAFETY: passed on to the caller.
    unsafe {
        let mut weights = [V::zero(); VECTORS];
        for v in 0..VECTORS {
            weights[v] = V::load(weight.add(v * V::LANES));
        }
        for pixel in 0..PIXELS {
            let value = V::splat(steps.pixel(rows, pixel, element));
            for v in 0..VECTORS {
                sums[pixel][v] = sums[pixel][v].add_product(value, weights[v]);
            }
        }
    }
}

/// # Safety
/// `out` is valid for the channels of the panel.
#[inline(always)]
unsafe fn store<V: Vector, const VECTORS: usize>(
    sums: &[V; VECTORS],
    panel: &Panel<'_>,
    out: *mut f32,
) {
    // SAFETY: passed on to the caller; a partial panel writes its existing channels only.
    unsafe {
        if panel.valid == VECTORS * V::LANES {
            for (v, &sum) in sums.iter().enumerate() {
                let out = out.add(v * V::LANES);
                let sum = if panel.accumulate {
                    V::load(out).add(sum)
                } else {
                    sum
                };
                sum.store(out);
            }
            return;
        }
        let mut lanes = [0f32; 32];
        for (v, &sum) in sums.iter().enumerate() {
            sum.store(lanes.as_mut_ptr().add(v * V::LANES));
        }
        for (channel, &sum) in lanes.iter().take(panel.valid).enumerate() {
            let out = out.add(channel);
            *out = if panel.accumulate { *out + sum } else { sum };
        }
    }
}
