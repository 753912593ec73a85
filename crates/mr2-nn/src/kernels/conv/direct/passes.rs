//! Passes over padded images with their packed weights: a convolution is one, its gradient to the images one for
//! each parity of the stride.

use super::pass::{self, Padded, Pass};
use super::pass_kernel::PassKernel;
use super::weight_panels::{Role, VECTORS, pack, padded_outputs};
use crate::kernels::conv::geometry::Geometry;
use crate::kernels::parallel::Shared;
use crate::kernels::pool::{Pool, PoolBuf};
use crate::kernels::source::Source;
use crate::kernels::vector::Isa;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// Images that share a panel of the weight while it is in the first-level cache have this many pixels
/// together, if the second-level cache holds them.
const PIXELS: usize = 256;
const CACHED_ELEMENTS: usize = 1 << 18;
/// With fewer images than these, bands of rows are tasks: about so many.
pub(super) const FEW_IMAGES: usize = 16;
const BANDS: usize = 16;

/// Passes over padded images, each with its packed weight.
pub(super) struct Passes {
    isa: Isa,
    pub(super) padded: Padded,
    passes: Vec<(Pass, PoolBuf<f32>)>,
    /// Output channels, and elements of an output image.
    outputs: usize,
    pub(super) out_image: usize,
    /// Elements of a row of the output; a pass has every `every`-th row.
    pub(super) out_row: usize,
    every: usize,
}

impl Passes {
    /// The one of the convolution.
    pub(super) fn forward(isa: Isa, g: &Geometry, weight: &[f32], pool: &Arc<Pool>) -> Self {
        let (padded, pass) = pass::forward(g);
        Self::new(isa, g, Role::Forward, weight, padded, vec![pass], pool)
    }

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
        let (outputs, out_image, width, every) = match role {
            Role::Forward => (g.out_channels, g.out_image(), g.out_width, 1),
            Role::Backward => (g.in_channels, g.in_image(), g.in_width, g.stride),
        };
        let packed = |pass: Pass| {
            let mut packed = pool.take(padded_outputs(outputs, isa.lanes()) * pass.depth());
            pack(role, g, &pass, weight, isa.lanes(), &mut packed);
            pass.check(padded.step(), outputs, out_image);
            (pass, packed)
        };
        let passes = passes.into_iter().map(packed).collect();
        Self {
            isa,
            padded,
            passes,
            outputs,
            out_image,
            out_row: width * outputs,
            every,
        }
    }

    /// Bands of rows of all images of a small batch: image, rows, their outputs.
    pub(super) fn bands<'a>(
        &self,
        height: usize,
        batch: usize,
        out: &'a mut [f32],
    ) -> Vec<(usize, Range<usize>, &'a mut [f32])> {
        let rows = height.div_ceil(BANDS.div_ceil(batch)).max(1);
        let rows = rows.next_multiple_of(self.every);
        let images = out.chunks_mut(self.out_image).enumerate();
        images
            .flat_map(|(image, out)| {
                let bands = out.chunks_mut(rows * self.out_row).enumerate();
                bands.map(move |(band, out)| {
                    let first = band * rows;
                    (image, first..(first + rows).min(height), out)
                })
            })
            .collect()
    }

    /// Runs all passes over a band of one image's rows, on the calling thread.
    pub(super) fn run_band(
        &self,
        image: Source<'_, f32>,
        rows: Range<usize>,
        out: &mut [f32],
        accumulate: bool,
        pool: &Arc<Pool>,
    ) {
        let row = self.padded.width * self.padded.channels;
        let bands = self.passes.iter().filter_map(|(pass, packed)| {
            let band = pass.band(&rows, self.every)?;
            Some((band, packed))
        });
        let bands: Vec<_> = bands.collect();
        let Some((pass, _)) = bands.first() else {
            return;
        };
        let first = rows.start / self.every * (pass.patch_steps[0] / row);
        let reach = |pass: &Pass| (pass.rows - 1) * pass.patch_steps[0] + pass.reach();
        let last = bands.iter().map(|(pass, _)| reach(pass)).max().unwrap_or(0);
        let last = first + last.div_ceil(row);
        let padded = self.padded.rows(image, first..last, pool);
        for (pass, packed) in &bands {
            pass.check(padded.len(), self.outputs, out.len());
            let work = PassKernel {
                pass,
                count: 1,
                steps: [0, 0],
                padded: &padded,
                packed,
                out: Shared(out.as_mut_ptr()),
                outputs: self.outputs,
                channels: 0..self.outputs,
                accumulate,
            };
            // SAFETY: the CPU has the instructions of every `Isa` that it lists as available; the check has
            // shown that nothing outside of the slices is addressed.
            unsafe { self.isa.run(work) }
        }
    }

    /// Whether there is more weight to read than there are images and outputs, and few of those.
    pub(super) fn is_heavy(&self, g: &Geometry) -> bool {
        g.batch < FEW_IMAGES && g.weights() >= g.batch * (g.in_image() + g.out_image()) / 2
    }

    /// Runs all passes over padded images, some output channels on each thread.
    pub(super) fn run_panels(&self, padded: &[f32], out: &mut [f32], accumulate: bool) {
        let count = self.count_images(padded, out);
        let panel = VECTORS * self.isa.lanes();
        let group = self.outputs.div_ceil(panel).div_ceil(BANDS) * panel;
        let groups = self.outputs.div_ceil(group);
        let target = Shared(out.as_mut_ptr());
        (0..groups).into_par_iter().for_each(|index| {
            let channels = index * group..((index + 1) * group).min(self.outputs);
            // SAFETY: the images have been counted, and each task writes channels that no other does.
            unsafe { self.run_channels(padded, count, target, channels, accumulate) }
        });
    }

    /// Runs all passes over padded images, on the calling thread.
    pub(super) fn run(&self, padded: &[f32], out: &mut [f32], accumulate: bool) {
        let count = self.count_images(padded, out);
        let target = Shared(out.as_mut_ptr());
        // SAFETY: the images have been counted, and no other task has the output.
        unsafe { self.run_channels(padded, count, target, 0..self.outputs, accumulate) }
    }

    /// # Safety
    /// Both slices hold `count` images, and nobody else writes these channels of the output.
    unsafe fn run_channels(
        &self,
        padded: &[f32],
        count: usize,
        out: Shared,
        channels: Range<usize>,
        accumulate: bool,
    ) {
        for (pass, packed) in &self.passes {
            let work = PassKernel {
                pass,
                count,
                steps: [self.padded.step(), self.out_image],
                padded,
                packed,
                out,
                outputs: self.outputs,
                channels: channels.clone(),
                accumulate,
            };
            // SAFETY: the CPU has the instructions of every `Isa` that it lists as available; `Pass::check`
            // has shown that nothing outside of an image is addressed, and the caller vouches for the images.
            unsafe { self.isa.run(work) }
        }
    }

    /// How many images there are. Panics where the padded ones don't fit the outputs.
    fn count_images(&self, padded: &[f32], out: &[f32]) -> usize {
        let images = out.len() / self.out_image;
        assert!(
            images * self.out_image == out.len() && images * self.padded.step() <= padded.len(),
            "images and outputs differ"
        );
        images
    }

    /// Readies `values` for the passes, and says whether those add to them: where the values are unspecified, the
    /// passes overwrite them, or find zeros if they don't reach every one.
    pub(super) fn prepare(&self, fresh: bool, values: &mut [f32]) -> bool {
        let overwrite = fresh && self.cover();
        if fresh && !overwrite {
            values.fill(0.0);
        }
        !overwrite
    }

    /// Whether the passes write every output.
    fn cover(&self) -> bool {
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
}
