//! The convolution of images and its gradient to them: passes over padded images.

use super::largest;
use super::pass::{self, Padded, Pass};
use super::tile::{self, Panel};
use super::weight_panels::{Role, pack, padded_outputs, panels};
use crate::kernels::batch_norm::{Moments, apply_in_place, part_moments};
use crate::kernels::conv::geometry::Geometry;
use crate::kernels::conv::{Finish, Forward};
use crate::kernels::parallel::per_chunk;
use crate::kernels::pool::{Pool, PoolBuf};
use crate::kernels::source::Source;
use crate::kernels::vector::{Isa, Kernel, Vector};
use rayon::prelude::*;
use std::sync::Arc;

/// Images that share a panel of the weight while it is in the first-level cache have this many pixels
/// together, if the second-level cache holds them.
const PIXELS: usize = 256;
const CACHED_ELEMENTS: usize = 1 << 18;

/// `out = images * weight`, or added to `out`; then what `finish` asks for, while the output is in the cache.
pub(in crate::kernels::conv) fn forward(
    isa: Isa,
    g: &Geometry,
    work: Forward<'_, f32>,
    pool: &Arc<Pool>,
) -> Option<Moments> {
    let (padded, pass) = pass::forward(g);
    let passes = Passes::new(isa, g, Role::Forward, work.weight, padded, vec![pass], pool);
    let (in_image, out_image) = (g.in_image(), g.out_image());
    let chunk = per_chunk(g.batch);
    let mut stored = work
        .stored
        .map(|stored| stored.chunks_mut(chunk * in_image));
    let tasks: Vec<_> = work
        .out
        .chunks_mut(chunk * out_image)
        .enumerate()
        .map(|(index, out)| (index, out, stored.as_mut().and_then(Iterator::next)))
        .collect();
    let parts: Vec<Option<(f64, Moments)>> = tasks
        .into_par_iter()
        .map(|(index, out, mut stored)| {
            let first = index * chunk;
            let blocks = out.chunks_mut(passes.together() * out_image);
            for (block, out) in blocks.enumerate() {
                let start = block * passes.together();
                let count = out.len() / out_image;
                let of = |image: usize| image * in_image..(image + count) * in_image;
                let images = work.images.part(of(first + start));
                let images = match &mut stored {
                    None => images,
                    Some(stored) => {
                        let stored = &mut stored[of(start)];
                        images.write(stored);
                        Source::Values(stored)
                    }
                };
                passes.run(&padded.of(images, pool), out, work.accumulate);
                if let Finish::Affine { affine, skip } = work.finish {
                    let start = (first + start) * out_image;
                    apply_in_place(
                        affine,
                        skip.map(|skip| &skip[start..start + out.len()]),
                        out,
                    );
                }
            }
            matches!(work.finish, Finish::Moments).then(|| part_moments(out, g.out_channels))
        })
        .collect();
    let parts: Option<Vec<_>> = parts.into_iter().collect();
    parts.map(|parts| Moments::of_parts(g.out_channels, &parts))
}

/// Passes over padded images, each with its packed weight.
pub(super) struct Passes {
    isa: Isa,
    pub(super) padded: Padded,
    passes: Vec<(Pass, PoolBuf<f32>)>,
    /// Output channels, and elements of an output image.
    outputs: usize,
    out_image: usize,
}

impl Passes {
    /// Those of the gradient of the images.
    pub(super) fn backward(isa: Isa, g: &Geometry, weight: &[f32], pool: &Arc<Pool>) -> Self {
        let (padded, passes) = pass::backward(g);
        Self::new(isa, g, Role::Backward, weight, padded, passes, pool)
    }

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

    /// Whether the passes write every output.
    pub(super) fn cover(&self) -> bool {
        let pixels: usize = self
            .passes
            .iter()
            .map(|(pass, _)| pass.rows * pass.cols)
            .sum();
        pixels * self.outputs == self.out_image
    }

    /// Images to run at once.
    pub(super) fn together(&self) -> usize {
        let pixels = self.out_image / self.outputs;
        let elements = self.padded.step() + self.out_image;
        PIXELS
            .div_ceil(pixels)
            .min(CACHED_ELEMENTS / elements)
            .max(1)
    }

    /// Runs all passes over padded images, on the calling thread.
    pub(super) fn run(&self, padded: &[f32], out: &mut [f32], accumulate: bool) {
        let images = out.len() / self.out_image;
        assert!(
            images * self.out_image == out.len() && images * self.padded.step() <= padded.len(),
            "images and outputs differ"
        );
        for (pass, packed) in &self.passes {
            let work = Images {
                pass,
                count: images,
                steps: [self.padded.step(), self.out_image],
                padded,
                packed,
                out: &mut *out,
                outputs: self.outputs,
                accumulate,
            };
            // SAFETY: the CPU has the instructions of every `Isa` that it lists as available; `Pass::check`
            // has shown that nothing outside of an image is addressed, and both slices hold all images.
            unsafe { self.isa.run(work) }
        }
    }
}

struct Images<'a> {
    pass: &'a Pass,
    count: usize,
    /// From image to image, in `padded` and in `out`.
    steps: [usize; 2],
    padded: &'a [f32],
    packed: &'a [f32],
    out: &'a mut [f32],
    outputs: usize,
    accumulate: bool,
}

impl Kernel for Images<'_> {
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
                for image in 0..self.count {
                    let patch = self.padded.as_ptr().add(image * self.steps[0]);
                    let out = self.out.as_mut_ptr().add(image * self.steps[1]);
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
