//! The gradient of the weight: for each panel of output channels and each few elements of the patch, a sum
//! over pixels that stays in registers.
//!
//! Images and gradients are laid out anew for it, so that both are read from front to back: images by blocks
//! of channels (block, row, column, channel), in which the taps of a kernel row lie side by side; gradients
//! by panels of output channels.

mod layout;
mod part;

use super::pass::{self, Padded};
use crate::kernels::conv::geometry::Geometry;
use crate::kernels::parallel::per_chunk;
use crate::kernels::pool::{Pool, PoolBuf};
use crate::kernels::source::Source;
use crate::kernels::vector::Isa;
use part::Part;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// Partial sums of the weight's gradient may take this many elements.
const PARTIAL_ELEMENTS: usize = 1 << 20;
/// Images and gradients that are visited again and again should stay in the second-level cache.
const CACHED_ELEMENTS: usize = 1 << 17;
/// So many elements of images and gradients are laid out anew at once.
const BAND_ELEMENTS: usize = 1 << 15;
/// For fewer pixels than these, sums would go in and out of registers too often.
const MANY_PIXELS: usize = 512;
/// At least this many tasks, where images and output channels allow.
const TASKS: usize = 8;

/// Who computes what. Fixed by the shapes, so that the sums have the same bits on any number of threads.
pub(super) struct Plan {
    isa: Isa,
    g: Geometry,
    pub(super) padded: Padded,
    /// Lanes of a panel; the last may have fewer vectors.
    width: usize,
    /// Output channels, with those that fill the last vector.
    outputs: usize,
    /// Channels of a block, the last of which may have fewer: as many as the tile takes at once.
    block: usize,
    /// Images of a chunk; chunks.
    pub(super) chunk: usize,
    chunks: usize,
    /// Output channels of a task.
    group: usize,
}

/// Output gradients as the tile reads them: elements from image to image, from row to row, from pixel to pixel.
#[derive(Clone, Copy)]
pub(super) struct Gradients<'a> {
    pub(super) values: &'a [f32],
    pub(super) steps: [usize; 3],
}

impl Plan {
    pub(super) fn new(isa: Isa, g: &Geometry) -> Self {
        let lanes = isa.lanes();
        let outputs = g.out_channels.next_multiple_of(lanes);
        let width = outputs.min(if isa.accumulators() < 24 {
            lanes
        } else {
            2 * lanes
        });
        let most = isa.accumulators() / (width / lanes);
        let block = (most / g.kernel / 4 * 4).max(4).min(g.in_channels);
        let parts = (PARTIAL_ELEMENTS / (g.depth() * outputs)).clamp(1, g.batch);
        let chunk = per_chunk(g.batch).max(g.batch.div_ceil(parts));
        let chunks = g.batch.div_ceil(chunk);
        let group = outputs.div_ceil(width).div_ceil(TASKS.div_ceil(chunks)) * width;
        Self {
            isa,
            g: *g,
            padded: pass::forward(g).0,
            width,
            outputs,
            block,
            chunk,
            chunks,
            group: group.min(outputs),
        }
    }

    /// Whether a task has all output channels.
    pub(super) fn is_whole(&self) -> bool {
        self.group == self.outputs
    }

    /// All output channels, as the group of a task.
    pub(super) fn all(&self) -> Range<usize> {
        0..self.outputs
    }

    /// Partial sums, all zero.
    pub(super) fn sums(&self, pool: &Arc<Pool>) -> PoolBuf<f32> {
        pool.zeros(self.chunks * self.chunk_sums())
    }

    /// Elements of the sums of one chunk.
    pub(super) fn chunk_sums(&self) -> usize {
        self.g.depth() * self.outputs
    }

    /// Images that the second-level cache holds beside their gradients.
    pub(super) fn together(&self) -> usize {
        (CACHED_ELEMENTS / (self.padded.elements() + self.g.out_image())).max(1)
    }

    /// First channel and channels of each block.
    fn blocks(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (channels, block) = (self.g.in_channels, self.block);
        (0..channels)
            .step_by(block)
            .map(move |first| (first, block.min(channels - first)))
    }

    /// First output channel and lanes of each panel of a task.
    fn panels(&self, group: &Range<usize>) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (end, width) = (group.end, self.width);
        group
            .clone()
            .step_by(width)
            .map(move |first| (first, width.min(end - first)))
    }

    /// The gradient of the weight in PyTorch's order.
    pub(super) fn run(
        &self,
        images: Source<'_, f32>,
        gradient: Source<'_, f32>,
        weight_gradient: &mut [f32],
        pool: &Arc<Pool>,
    ) {
        let (in_image, out_image) = (self.g.in_image(), self.g.out_image());
        let mut sums = self.sums(pool);
        let mut tasks = Vec::new();
        for (chunk, mut rest) in sums.chunks_exact_mut(self.chunk_sums()).enumerate() {
            for first in (0..self.outputs).step_by(self.group) {
                let group = first..(first + self.group).min(self.outputs);
                let (own, others) = rest.split_at_mut(self.g.depth() * group.len());
                tasks.push((chunk, group, own));
                rest = others;
            }
        }
        tasks.into_par_iter().for_each(|(chunk, group, sums)| {
            let end = ((chunk + 1) * self.chunk).min(self.g.batch);
            for first in (chunk * self.chunk..end).step_by(self.together()) {
                let last = (first + self.together()).min(end);
                let padded = self
                    .padded
                    .of(images.part(first * in_image..last * in_image), pool);
                let part = gradient.part(first * out_image..last * out_image);
                let mut computed = None;
                let values = match part {
                    Source::Values(values) => values,
                    _ => {
                        let computed = computed.insert(pool.take(part.len()));
                        part.write(computed);
                        &computed[..]
                    }
                };
                let row = self.g.out_width * self.g.out_channels;
                let gradients = Gradients {
                    values,
                    steps: [out_image, row, self.g.out_channels],
                };
                self.add(&padded, last - first, gradients, group.clone(), sums, pool);
            }
        });
        self.finish(&mut sums, weight_gradient);
    }

    /// Adds the part of some images and output channels to the sums of a chunk: large images a few rows
    /// at a time, so that what is laid out anew stays in the cache.
    pub(super) fn add(
        &self,
        padded: &[f32],
        count: usize,
        gradients: Gradients<'_>,
        group: Range<usize>,
        sums: &mut [f32],
        pool: &Arc<Pool>,
    ) {
        let g = &self.g;
        let row = self.padded.width * g.in_channels * g.stride + g.out_width * g.out_channels;
        let least = MANY_PIXELS.div_ceil(g.out_width);
        let rows = (BAND_ELEMENTS / row).max(least).min(g.out_height);
        if rows == g.out_height {
            let extent = Extent::new(g, count, rows, self.padded.step());
            return self.add_extent(padded, extent, gradients, group, sums, pool);
        }
        for image in 0..count {
            for first in (0..g.out_height).step_by(rows) {
                let rows = rows.min(g.out_height - first);
                let extent = Extent::new(g, 1, rows, self.padded.step());
                let patch = image * self.padded.step()
                    + first * g.stride * self.padded.width * g.in_channels;
                let start = image * gradients.steps[0] + first * gradients.steps[1];
                let part = Gradients {
                    values: &gradients.values[start..],
                    steps: gradients.steps,
                };
                self.add_extent(&padded[patch..], extent, part, group.clone(), sums, pool);
            }
        }
    }

    fn add_extent(
        &self,
        padded: &[f32],
        extent: Extent,
        gradients: Gradients<'_>,
        group: Range<usize>,
        sums: &mut [f32],
        pool: &Arc<Pool>,
    ) {
        let blocks;
        let (images, image_step) = if self.block == self.g.in_channels {
            (padded, extent.step)
        } else {
            blocks = self.blocked(padded, extent, pool);
            let image = extent.height * self.padded.width * self.g.in_channels;
            (&blocks[..], image)
        };
        let panels;
        let fits = self.g.out_channels == self.width && group.len() == self.width;
        let (values, steps) = if fits {
            (gradients.values, Some(gradients.steps))
        } else {
            panels = self.paneled(gradients, extent, &group, pool);
            (&panels[..], None)
        };
        let part = Part {
            plan: self,
            extent,
            images,
            image_step,
            gradients: values,
            steps,
            group,
            sums,
        };
        part.check();
        // SAFETY: the CPU has the instructions of every `Isa` that it lists as available; the check has shown
        // that nothing outside of the slices is addressed.
        unsafe { self.isa.run(part) }
    }

    /// Adds the chunks' sums in their order, and writes them in PyTorch's order.
    pub(super) fn finish(&self, sums: &mut [f32], weight_gradient: &mut [f32]) {
        let (depth, taps) = (self.g.depth(), self.g.kernel * self.g.kernel);
        let (total, parts) = sums.split_at_mut(self.chunk_sums());
        total
            .par_chunks_mut(self.width * depth)
            .zip(weight_gradient.par_chunks_mut(self.width * depth))
            .enumerate()
            .for_each(|(panel, (total, filters))| {
                for part in parts.chunks_exact(self.chunk_sums()) {
                    let part = &part[panel * self.width * depth..];
                    for (total, &part) in total.iter_mut().zip(part) {
                        *total += part;
                    }
                }
                let width = total.len() / depth;
                // Block by block, whose rows stay in the first-level cache while the lanes pass by.
                for (first, block) in self.blocks() {
                    for (lane, filter) in filters.chunks_exact_mut(depth).enumerate() {
                        for tap in 0..taps {
                            let row = first * taps + tap * block;
                            for channel in 0..block {
                                filter[(first + channel) * taps + tap] =
                                    total[(row + channel) * width + lane];
                            }
                        }
                    }
                }
            });
    }
}

/// Whole images, or some rows of one.
#[derive(Clone, Copy)]
struct Extent {
    count: usize,
    /// Output rows, and the rows of the padded image that they need.
    rows: usize,
    height: usize,
    /// From one padded image to the next.
    step: usize,
}

impl Extent {
    fn new(g: &Geometry, count: usize, rows: usize, step: usize) -> Self {
        Self {
            count,
            rows,
            height: (rows - 1) * g.stride + g.kernel,
            step,
        }
    }
}
