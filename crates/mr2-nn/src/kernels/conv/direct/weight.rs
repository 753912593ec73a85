//! The gradient of the weight, parallel over images and output channels.

use super::gradient_tile::{self, Grid};
use super::largest;
use super::pass::{self, Lent, Pass};
use super::weight_panels::{VECTORS, padded_outputs, panels};
use crate::kernels::conv::geometry::Geometry;
use crate::kernels::parallel::per_chunk;
use crate::kernels::pool::Pool;
use crate::kernels::vector::{Isa, Kernel, Vector};
use rayon::prelude::*;
use std::sync::Arc;

/// Partial sums of the weight's gradient may take this many elements.
const PARTIAL_ELEMENTS: usize = 1 << 22;
/// Images and gradients that are visited again and again should stay in the second-level cache.
const CACHED_ELEMENTS: usize = 1 << 17;
/// At least this many tasks, where images and output channels allow.
const TASKS: usize = 16;

/// The gradient of the weight.
pub(in crate::kernels::conv) fn weight_gradient(
    isa: Isa,
    g: &Geometry,
    images: &[f32],
    out_gradient: &[f32],
    weight_gradient: &mut [f32],
    pool: &Arc<Pool>,
) {
    let (padded, pass) = pass::forward(g);
    let split = Split::new(g, isa.lanes());
    let mut partial = pool.zeros::<f32>(split.chunks * g.depth() * split.outputs);
    split
        .tasks(g.depth(), &mut partial)
        .into_par_iter()
        .for_each(|task| {
            let of_task = |values: &[f32], image: usize| {
                let first = task.chunk * split.chunk;
                first * image..(first + split.chunk).min(values.len() / image) * image
            };
            let images = &images[of_task(images, g.in_image())];
            let gradients = &out_gradient[of_task(out_gradient, g.out_image())];
            let cached = (CACHED_ELEMENTS / (padded.elements() + g.out_image())).max(1);
            let blocks = images
                .chunks(cached * g.in_image())
                .zip(gradients.chunks(cached * g.out_image()));
            for (images, gradients) in blocks {
                let (count, images) = (images.len() / g.in_image(), padded.of(images, pool));
                let gradients = widened(gradients, g.out_channels, split.outputs, pool);
                let row = pass.cols * split.outputs;
                let part = Part {
                    pass: &pass,
                    grid: Grid {
                        images: count,
                        rows: pass.rows,
                        cols: pass.cols,
                        patch: [padded.step(), pass.patch_steps[0], pass.patch_steps[1]],
                        out: [pass.rows * row, row, split.outputs],
                    },
                    images: &images,
                    gradients: &gradients[task.first..],
                    sums: &mut *task.sums,
                    depth: g.depth(),
                };
                part.check();
                // SAFETY: the CPU has the instructions of every `Isa` that it lists as available; the check has
                // shown that nothing outside of the slices is addressed.
                unsafe { isa.run(part) }
            }
        });
    split.sum(g, &partial, weight_gradient);
}

/// Who computes what. Fixed by the shapes, so that the sums have the same bits on any number of threads.
struct Split {
    /// Output channels, with those that fill the last vector.
    outputs: usize,
    /// Images of a chunk; chunks.
    chunk: usize,
    chunks: usize,
    /// Output channels of a task.
    group: usize,
}

/// The partial gradient of some output channels from a chunk of images.
struct Task<'a> {
    chunk: usize,
    /// The first output channel.
    first: usize,
    /// (patch element, output channel)
    sums: &'a mut [f32],
}

impl Split {
    fn new(g: &Geometry, lanes: usize) -> Self {
        let outputs = padded_outputs(g.out_channels, lanes);
        let most = (PARTIAL_ELEMENTS / (g.depth() * outputs)).clamp(1, g.batch);
        let chunk = per_chunk(g.batch).max(g.batch.div_ceil(most));
        let chunks = g.batch.div_ceil(chunk);
        let panels = outputs.div_ceil(VECTORS * lanes);
        let group = panels.div_ceil(TASKS.div_ceil(chunks)) * VECTORS * lanes;
        Self {
            outputs,
            chunk,
            chunks,
            group: group.min(outputs),
        }
    }

    /// The sums lie chunk by chunk, group by group.
    fn tasks<'a>(&self, depth: usize, mut sums: &'a mut [f32]) -> Vec<Task<'a>> {
        let mut tasks = Vec::new();
        for chunk in 0..self.chunks {
            for first in (0..self.outputs).step_by(self.group) {
                let width = self.group.min(self.outputs - first);
                let (own, rest) = sums.split_at_mut(depth * width);
                tasks.push(Task {
                    chunk,
                    first,
                    sums: own,
                });
                sums = rest;
            }
        }
        tasks
    }

    /// Adds the chunks' parts in their order to a gradient in PyTorch's order.
    fn sum(&self, g: &Geometry, partial: &[f32], gradient: &mut [f32]) {
        let (taps, depth) = (g.kernel * g.kernel, g.depth());
        gradient
            .par_chunks_mut(depth)
            .enumerate()
            .for_each(|(output, filter)| {
                let (first, lane) = (output / self.group * self.group, output % self.group);
                let width = self.group.min(self.outputs - first);
                for chunk in partial.chunks_exact(depth * self.outputs) {
                    let sums = &chunk[first * depth..][..depth * width];
                    for (channel, filter) in filter.chunks_exact_mut(taps).enumerate() {
                        for (tap, value) in filter.iter_mut().enumerate() {
                            *value += sums[(tap * g.in_channels + channel) * width + lane];
                        }
                    }
                }
            });
    }
}

/// Gradients with channels of zeros up to whole vectors, so that no vector reaches beyond the last pixel.
fn widened<'a>(
    gradients: &'a [f32],
    channels: usize,
    outputs: usize,
    pool: &Arc<Pool>,
) -> Lent<'a> {
    if channels == outputs {
        return Lent::Slice(gradients);
    }
    let mut wide = pool.take(gradients.len() / channels * outputs);
    for (wide, pixel) in wide
        .chunks_exact_mut(outputs)
        .zip(gradients.chunks_exact(channels))
    {
        wide[..channels].copy_from_slice(pixel);
        wide[channels..].fill(0.0);
    }
    Lent::Buffer(wide)
}

/// Adds to the gradient of some output channels.
struct Part<'a> {
    pass: &'a Pass,
    grid: Grid,
    images: &'a [f32],
    gradients: &'a [f32],
    /// (patch element, output channel)
    sums: &'a mut [f32],
    depth: usize,
}

impl Part<'_> {
    /// Panics unless all that is read lies inside of the slices.
    fn check(&self) {
        let grid = &self.grid;
        let last = |steps: [usize; 3]| {
            (grid.images - 1) * steps[0] + (grid.rows - 1) * steps[1] + (grid.cols - 1) * steps[2]
        };
        let width = self.sums.len() / self.depth;
        assert!(
            last(grid.patch) + self.pass.reach() <= self.images.len(),
            "a patch leaves the images"
        );
        assert!(
            last(grid.out) + width <= self.gradients.len(),
            "a pixel leaves the gradients"
        );
        assert!(self.pass.depth() == self.depth, "taps and depth differ");
    }
}

impl Kernel for Part<'_> {
    #[inline(always)]
    // SAFETY: the instruction set of `V`, and slices that the check has found long enough.
    unsafe fn run<V: Vector>(self) {
        let width = self.sums.len() / self.depth;
        for (first, vectors) in panels(width, V::LANES) {
            let mut row = 0;
            for tap in &self.pass.taps {
                let mut element = 0;
                while element < tap.depth {
                    // SAFETY: passed on to the caller.
                    unsafe {
                        let patch = self.images.as_ptr().add(tap.offset + element);
                        let gradient = self.gradients.as_ptr().add(first);
                        let sums = self.sums.as_mut_ptr().add((row + element) * width + first);
                        element += match vectors {
                            1 => some_elements::<V, 1>(
                                tap.depth - element,
                                &self.grid,
                                patch,
                                gradient,
                                sums,
                                width,
                            ),
                            _ => some_elements::<V, 2>(
                                tap.depth - element,
                                &self.grid,
                                patch,
                                gradient,
                                sums,
                                width,
                            ),
                        };
                    }
                }
                row += tap.depth;
            }
        }
    }
}

/// # Safety
/// As [`gradient_tile::elements`]. Returns how many elements it took.
#[inline(always)]
unsafe fn some_elements<V: Vector, const VECTORS: usize>(
    left: usize,
    grid: &Grid,
    patch: *const f32,
    gradient: *const f32,
    sums: *mut f32,
    step: usize,
) -> usize {
    let elements = largest(
        &gradient_tile::ELEMENTS,
        left.min(V::ACCUMULATORS / VECTORS),
    );
    // SAFETY: passed on to the caller.
    unsafe { gradient_tile::elements::<V, VECTORS>(elements, grid, patch, gradient, sums, step) }
    elements
}
