//! The convolution of images and its gradient to them, parallel over images.

use super::largest;
use super::pass::{self, Padded, Pass};
use super::tile::{self, Panel};
use super::weight_panels::{Role, pack, padded_outputs, panels};
use crate::kernels::conv::geometry::Geometry;
use crate::kernels::pool::{Pool, PoolBuf};
use crate::kernels::vector::{Isa, Kernel, Vector};
use rayon::prelude::*;
use std::sync::Arc;

/// `out = images * weight`, or added to `out`.
pub(in crate::kernels::conv) fn forward(
    isa: Isa,
    g: &Geometry,
    images: &[f32],
    weight: &[f32],
    out: &mut [f32],
    accumulate: bool,
    pool: &Arc<Pool>,
) {
    let (padded, pass) = pass::forward(g);
    let passes = Passes::new(isa, g, Role::Forward, weight, padded, vec![pass], pool);
    passes.run(images, out, accumulate, pool);
}

/// Adds the gradient of the images to `image_gradient`.
pub(in crate::kernels::conv) fn image_gradient(
    isa: Isa,
    g: &Geometry,
    weight: &[f32],
    out_gradient: &[f32],
    image_gradient: &mut [f32],
    pool: &Arc<Pool>,
) {
    let (padded, passes) = pass::backward(g);
    let passes = Passes::new(isa, g, Role::Backward, weight, padded, passes, pool);
    passes.run(out_gradient, image_gradient, true, pool);
}

/// Passes over one padded image, each with its packed weight.
struct Passes {
    isa: Isa,
    padded: Padded,
    passes: Vec<(Pass, PoolBuf<f32>)>,
    /// Output channels, and elements of an output image.
    outputs: usize,
    out_image: usize,
}

impl Passes {
    fn new(
        isa: Isa,
        g: &Geometry,
        role: Role,
        weight: &[f32],
        padded: Padded,
        passes: Vec<Pass>,
        pool: &Arc<Pool>,
    ) -> Self {
        let (outputs, out_image) = match role {
            Role::Forward => (g.out_channels, g.out_image()),
            Role::Backward => (g.in_channels, g.in_image()),
        };
        let packed = |pass: Pass| {
            let mut packed = pool.take(padded_outputs(outputs, isa.lanes()) * pass.depth());
            pack(role, g, &pass, weight, isa.lanes(), &mut packed);
            pass.check(&padded, outputs, out_image);
            (pass, packed)
        };
        let passes = passes.into_iter().map(packed).collect();
        Self {
            isa,
            padded,
            passes,
            outputs,
            out_image,
        }
    }

    fn run(&self, images: &[f32], out: &mut [f32], accumulate: bool, pool: &Arc<Pool>) {
        let pairs = out
            .par_chunks_mut(self.out_image)
            .zip(images.par_chunks(self.padded.image()));
        pairs.for_each(|(out, image)| {
            let padded = self.padded.of(image, pool);
            for (pass, packed) in &self.passes {
                let (padded, outputs) = (&padded, self.outputs);
                let image = OneImage {
                    pass,
                    padded,
                    packed,
                    out: &mut *out,
                    outputs,
                    accumulate,
                };
                // SAFETY: the CPU has the instructions of every `Isa` that it lists as available;
                // `Pass::check` has shown that nothing outside of the slices is addressed.
                unsafe { self.isa.run(image) }
            }
        });
    }
}

struct OneImage<'a> {
    pass: &'a Pass,
    padded: &'a [f32],
    packed: &'a [f32],
    out: &'a mut [f32],
    outputs: usize,
    accumulate: bool,
}

impl Kernel for OneImage<'_> {
    #[inline(always)]
    // SAFETY: the instruction set of `V`, and slices that the check has found long enough.
    unsafe fn run<V: Vector>(self) {
        let depth = self.pass.depth();
        for (first, vectors) in panels(self.outputs, V::LANES) {
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
                let patch = self.padded.as_ptr();
                let out = self.out.as_mut_ptr().add(self.pass.out + first);
                match vectors {
                    1 => rows::<V, 1>(self.pass, &panel, patch, out),
                    _ => rows::<V, 2>(self.pass, &panel, patch, out),
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
    let size = best_tile(pass.cols, V::ACCUMULATORS / VECTORS);
    for row in 0..pass.rows {
        let mut col = 0;
        while col < pass.cols {
            let left = pass.cols - col;
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
