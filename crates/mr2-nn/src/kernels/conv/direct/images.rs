//! The convolution of images and its gradient to them: passes over padded images.

use super::largest;
use super::pass::{self, Padded, Pass};
use super::tile::{self, Panel};
use super::weight_panels::{Role, VECTORS, pack, padded_outputs, panels};
use crate::kernels::batch_norm::{Moments, apply_in_place, part_moments};
use crate::kernels::conv::geometry::Geometry;
use crate::kernels::conv::{Finish, Forward};
use crate::kernels::parallel::{Shared, per_chunk};
use crate::kernels::pool::{Pool, PoolBuf};
use crate::kernels::source::Source;
use crate::kernels::vector::{Isa, Kernel, Vector};
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

/// `out = images * weight`, or added to `out`; then what `finish` asks for, while the output is in the cache.
pub(in crate::kernels::conv) fn forward(
    isa: Isa,
    g: &Geometry,
    work: Forward<'_, f32>,
    pool: &Arc<Pool>,
) -> Option<Moments> {
    let (padded, pass) = pass::forward(g);
    let passes = Passes::new(isa, g, Role::Forward, work.weight, padded, vec![pass], pool);
    let parts = if passes.is_heavy(g) {
        heavy_weight(g, &passes, work, pool)
    } else if g.batch < FEW_IMAGES {
        few_images(g, &passes, work, pool)
    } else {
        many_images(g, &passes, work, pool)
    };
    let parts: Option<Vec<_>> = parts.into_iter().collect();
    parts.map(|parts| Moments::of_parts(g.out_channels, &parts))
}

/// Some output channels are a task: the weight passes by once, whatever the number of images.
fn heavy_weight(
    g: &Geometry,
    passes: &Passes,
    work: Forward<'_, f32>,
    pool: &Arc<Pool>,
) -> Vec<Option<(f64, Moments)>> {
    let images = work.images.kept_in(g.in_channels, work.stored);
    passes.run_panels(&passes.padded.of(images, pool), work.out, work.accumulate);
    let chunk = per_chunk(g.batch) * g.out_image();
    work.out
        .par_chunks_mut(chunk)
        .enumerate()
        .map(|(index, out)| finish(work.finish, index * chunk, g.out_channels, out))
        .collect()
}

/// A band of rows of one image is a task.
fn few_images(
    g: &Geometry,
    passes: &Passes,
    work: Forward<'_, f32>,
    pool: &Arc<Pool>,
) -> Vec<Option<(f64, Moments)>> {
    let images = work.images.kept_in(g.in_channels, work.stored);
    passes
        .bands(g.out_height, g.batch, work.out)
        .into_par_iter()
        .map(|(image, rows, out)| {
            let start = image * passes.out_image + rows.start * passes.out_row;
            let images = images.part(image * g.in_image()..(image + 1) * g.in_image());
            passes.run_band(images, rows, out, work.accumulate, pool);
            finish(work.finish, start, g.out_channels, out)
        })
        .collect()
}

/// A chunk of images is a task.
fn many_images(
    g: &Geometry,
    passes: &Passes,
    work: Forward<'_, f32>,
    pool: &Arc<Pool>,
) -> Vec<Option<(f64, Moments)>> {
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
    let task = |(index, out, mut stored): (usize, &mut [f32], Option<&mut [f32]>)| {
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
            passes.run(&passes.padded.of(images, pool), out, work.accumulate);
            if matches!(work.finish, Finish::Affine { .. }) {
                let start = (first + start) * out_image;
                finish(work.finish, start, g.out_channels, out);
            }
        }
        match work.finish {
            Finish::Moments => Some(part_moments(out, g.out_channels)),
            _ => None,
        }
    };
    tasks.into_par_iter().map(task).collect()
}

/// Does what is asked for to outputs from `start` on.
fn finish(
    finish: Finish<'_, f32>,
    start: usize,
    channels: usize,
    out: &mut [f32],
) -> Option<(f64, Moments)> {
    match finish {
        Finish::Nothing => None,
        Finish::Moments => Some(part_moments(out, channels)),
        Finish::Affine { affine, skip } => {
            apply_in_place(
                affine,
                skip.map(|skip| &skip[start..start + out.len()]),
                out,
            );
            None
        }
    }
}

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
            let work = Images {
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
        self.check_images(padded, out);
        let panel = VECTORS * self.isa.lanes();
        let group = self.outputs.div_ceil(panel).div_ceil(BANDS) * panel;
        let groups = self.outputs.div_ceil(group);
        let target = Shared(out.as_mut_ptr());
        (0..groups).into_par_iter().for_each(|index| {
            let channels = index * group..((index + 1) * group).min(self.outputs);
            for (pass, packed) in &self.passes {
                let work = Images {
                    pass,
                    count: out.len() / self.out_image,
                    steps: [self.padded.step(), self.out_image],
                    padded,
                    packed,
                    out: target,
                    outputs: self.outputs,
                    channels: channels.clone(),
                    accumulate,
                };
                // SAFETY: as in `run`; and each task writes channels that no other does.
                unsafe { self.isa.run(work) }
            }
        });
    }

    fn check_images(&self, padded: &[f32], out: &[f32]) {
        let images = out.len() / self.out_image;
        assert!(
            images * self.out_image == out.len() && images * self.padded.step() <= padded.len(),
            "images and outputs differ"
        );
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

    /// Runs all passes over padded images, on the calling thread.
    pub(super) fn run(&self, padded: &[f32], out: &mut [f32], accumulate: bool) {
        self.check_images(padded, out);
        for (pass, packed) in &self.passes {
            let work = Images {
                pass,
                count: out.len() / self.out_image,
                steps: [self.padded.step(), self.out_image],
                padded,
                packed,
                out: Shared(out.as_mut_ptr()),
                outputs: self.outputs,
                channels: 0..self.outputs,
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
    out: Shared,
    outputs: usize,
    /// Those to compute: whole panels.
    channels: Range<usize>,
    accumulate: bool,
}

impl Kernel for Images<'_> {
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
