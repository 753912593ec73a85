//! One pass over some padded images: the loop over panels of the weight, images, rows and tiles.

use super::largest;
use super::pass::Pass;
use super::tile::{self, Panel};
use super::weight_panels::panels;
use crate::kernels::parallel::Shared;
use crate::kernels::vector::{Kernel, Vector};
use std::ops::Range;

/// Some images, or a band of rows of one, and what a pass makes of them.
pub(super) struct PassKernel<'a> {
    pub(super) pass: &'a Pass,
    pub(super) count: usize,
    /// From image to image, in `padded` and in `out`.
    pub(super) steps: [usize; 2],
    pub(super) padded: &'a [f32],
    pub(super) packed: &'a [f32],
    pub(super) out: Shared,
    pub(super) outputs: usize,
    /// Those to compute: whole panels.
    pub(super) channels: Range<usize>,
    pub(super) accumulate: bool,
}

impl Kernel for PassKernel<'_> {
    #[inline(always)]
    // SAFETY: the instruction set of `V`, and slices that the check has found long enough.
    unsafe fn run<V: Vector>(self) {
        let depth = self.pass.depth();
        let own = panels(self.outputs, V::LANES).filter(|(first, _)| self.channels.contains(first));
        for (first, vectors) in own {
            // SAFETY: passed on to the caller.
            unsafe {
                let panel = Panel {
                    taps: &self.pass.taps,
                    patch_step: self.pass.patch_steps[1],
                    weight: self.packed.as_ptr().add(first * depth),
                    out_step: self.pass.out_steps[1],
                    valid: (vectors * V::LANES).min(self.outputs - first),
                    accumulate: self.accumulate,
                };
                for image in 0..self.count {
                    let patch = self.padded.as_ptr().add(image * self.steps[0]);
                    let out = self.out.0.add(image * self.steps[1]);
                    let out = out.add(self.pass.out + first);
                    match vectors {
                        1 => rows::<V, 1>(self.pass, &panel, patch, out),
                        _ => rows::<V, 2>(self.pass, &panel, patch, out),
                    }
                }
            }
        }
    }
}

/// # Safety
/// As [`tile::pixels`], for all pixels of the pass.
#[inline(always)]
unsafe fn rows<V: Vector, const VECTORS: usize>(
    pass: &Pass,
    panel: &Panel<'_>,
    patch: *const f32,
    out: *mut f32,
) {
    let (patch_row, out_row) = (
        pass.cols * pass.patch_steps[1],
        pass.cols * pass.out_steps[1],
    );
    // Where rows follow each other without a gap, they are one.
    let (lines, cols) = if pass.patch_steps[0] == patch_row && pass.out_steps[0] == out_row {
        (1, pass.rows * pass.cols)
    } else {
        (pass.rows, pass.cols)
    };
    let size = best_tile(cols, V::ACCUMULATORS / VECTORS);
    for row in 0..lines {
        let mut col = 0;
        while col < cols {
            let left = cols - col;
            let pixels = if left >= size {
                size
            } else {
                largest(&tile::PIXELS, left)
            };
            // SAFETY: passed on to the caller.
            unsafe {
                let patch = patch.add(row * pass.patch_steps[0] + col * pass.patch_steps[1]);
                let out = out.add(row * pass.out_steps[0] + col * pass.out_steps[1]);
                tile::pixels::<V, VECTORS>(pixels, panel, patch, out);
            }
            col += pixels;
        }
    }
}

/// The tile that covers `cols` pixels with the fewest tiles, the smaller of two that need as many.
#[inline(always)]
fn best_tile(cols: usize, most: usize) -> usize {
    let mut best = (usize::MAX, 1);
    for size in tile::PIXELS.into_iter().filter(|&size| size <= most) {
        let (mut tiles, mut left) = (cols / size, cols % size);
        while left > 0 {
            left -= largest(&tile::PIXELS, left.min(size));
            tiles += 1;
        }
        if tiles <= best.0 {
            best = (tiles, size);
        }
    }
    best.1
}
