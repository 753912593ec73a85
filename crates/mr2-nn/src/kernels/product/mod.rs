//! Products of f32 matrices: the right factor is laid out in [`Panels`], the left one is read in place.
//!
//! Each element is summed up along the depth in one order, in blocks that depend on the depth alone, so
//! that neither the cut into tasks nor the number of threads changes a bit. (The instruction sets differ
//! in the last: one has fused multiply-adds, another has not.)

mod block;
mod panels;
mod store;
#[cfg(test)]
mod tests;
mod tile;

pub(crate) use panels::Panels;

use super::activation::Activation;
use super::matmul::Matrix;
use super::parallel::Shared;
use super::pool::Pool;
use super::simd::vectorise;
use block::Block;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;
use tile::{GROUP, Lhs};

/// Depth of a block: a task's rows and a panel fit the second-level cache together. A longer
/// visit to each tile is worth more than a panel in the first-level cache (measured: 256 is 5 % slower), and
/// fewer visits spare memory (768 is 3 % slower in the training of a vision transformer).
const DEPTH: usize = 1600;

/// Rows of a task at most: with the depth of a block, what stays in the second-level cache, which two
/// threads may share (measured in a whole network: 240 is 3 % slower).
const TASK_ROWS: usize = 96;

/// Tasks for each thread, where rows and columns allow: the last to end has little left to do.
const TASKS_PER_THREAD: usize = 4;

/// Where a product goes: rows of adjacent elements, `row_stride` apart.
pub(crate) struct Target<'a> {
    pub(crate) data: &'a mut [f32],
    pub(crate) row_stride: usize,
    pub(crate) initial: Initial<'a>,
}

/// What a product is added to.
#[derive(Clone, Copy)]
pub(crate) enum Initial<'a> {
    Zero,
    /// The target itself.
    Target,
    /// Values at the target's places.
    Other(&'a [f32]),
}

/// What is done to a product's elements while they are in the cache.
#[derive(Default)]
pub(crate) struct Epilogue<'a> {
    /// Added to every row.
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) activation: Option<Activation>,
    /// Where the activated elements go, at the target's places; without it they replace the others.
    pub(crate) activated: Option<&'a mut [f32]>,
}

/// A product whose sizes have been checked.
#[derive(Clone, Copy)]
struct Job<'a> {
    lhs: Matrix<'a, f32>,
    panels: &'a Panels,
    out: Shared,
    out_step: usize,
    /// Null where there is nothing to add to.
    initial: Shared,
    initial_step: usize,
    /// What the epilogue has to add.
    bias: Option<&'a [f32]>,
    activation: Option<Activation>,
    activated: Option<Shared>,
}

/// `target = initial + lhs * panels`, then the epilogue, on all threads.
pub(crate) fn multiply(
    lhs: Matrix<'_, f32>,
    panels: &Panels,
    target: Target<'_>,
    epilogue: Epilogue<'_>,
    pool: &Arc<Pool>,
) {
    if let Some(job) = Job::new(lhs, panels, target, epilogue) {
        job.run_all(pool);
    }
}

/// As [`multiply`], without an epilogue and on the calling thread.
pub(crate) fn multiply_here(
    lhs: Matrix<'_, f32>,
    panels: &Panels,
    target: Target<'_>,
    pool: &Arc<Pool>,
) {
    if let Some(job) = Job::new(lhs, panels, target, Epilogue::default()) {
        let panels = 0..panels.cols.div_ceil(panels.width());
        job.run(0..lhs.rows, panels, pool);
    }
}

/// `lhs * panels` on all threads, in a vector of its own, which is not cleared first: that would
/// take one thread time for which the others wait.
pub(crate) fn product(lhs: Matrix<'_, f32>, panels: &Panels, pool: &Arc<Pool>) -> Vec<f32> {
    let len = lhs.rows * panels.cols;
    let mut out = Vec::with_capacity(len);
    let place = Place {
        start: Shared(out.as_mut_ptr()),
        len,
        row_stride: panels.cols,
    };
    let Some(job) = Job::at(place, lhs, panels, Initial::Zero, Epilogue::default()) else {
        return vec![0.0; len];
    };
    job.run_all(pool);
    // SAFETY: the job has written every element of every row; it starts from zero and reads none before.
    unsafe { out.set_len(len) };
    out
}

/// Where a product goes, its elements perhaps not initialised.
struct Place {
    start: Shared,
    len: usize,
    row_stride: usize,
}

impl<'a> Job<'a> {
    /// Nothing where there is nothing to do. Panics where sizes do not fit.
    fn new(
        lhs: Matrix<'a, f32>,
        panels: &'a Panels,
        target: Target<'a>,
        epilogue: Epilogue<'a>,
    ) -> Option<Self> {
        let place = Place {
            start: Shared(target.data.as_mut_ptr()),
            len: target.data.len(),
            row_stride: target.row_stride,
        };
        Self::at(place, lhs, panels, target.initial, epilogue)
    }

    fn at(
        place: Place,
        lhs: Matrix<'a, f32>,
        panels: &'a Panels,
        initial: Initial<'a>,
        epilogue: Epilogue<'a>,
    ) -> Option<Self> {
        assert_eq!(lhs.cols, panels.depth, "inner dimensions differ");
        let (rows, cols) = (lhs.rows, panels.cols);
        if rows == 0 || cols == 0 || lhs.cols == 0 {
            return None;
        }
        assert!(lhs.fits(), "a factor exceeds its slice");
        assert!(
            lhs.row_stride == 1 || lhs.col_stride == 1,
            "neither rows nor columns are adjacent"
        );
        let step = place.row_stride;
        let last = (rows - 1) * step + cols;
        assert!(last <= place.len, "the target is too short");
        assert!(rows == 1 || step >= cols, "rows of the target overlap");
        let shared = |values: &[f32]| Shared(values.as_ptr().cast_mut());
        let (initial, initial_step, bias) = match (initial, epilogue.bias) {
            (Initial::Zero, None) => (Shared(std::ptr::null_mut()), 0, None),
            // Every row starts from the bias, which costs nothing.
            (Initial::Zero, Some(bias)) => (shared(bias), 0, None),
            (Initial::Target, bias) => (place.start, step, bias),
            (Initial::Other(values), bias) => {
                assert!(last <= values.len(), "the initial values are too short");
                (shared(values), step, bias)
            }
        };
        assert!(
            epilogue.bias.is_none_or(|bias| bias.len() == cols),
            "a bias of another length"
        );
        let activated = epilogue.activated.map(|activated| {
            assert!(last <= activated.len(), "the activated target is too short");
            Shared(activated.as_mut_ptr())
        });
        Some(Self {
            lhs,
            panels,
            out: place.start,
            out_step: step,
            initial,
            initial_step,
            bias,
            activation: epilogue.activation,
            activated,
        })
    }

    /// All rows times all panels, on all threads.
    fn run_all(&self, pool: &Arc<Pool>) {
        let (rows, panels) = (self.lhs.rows, self.panels);
        let tasks = TASKS_PER_THREAD * rayon::current_num_threads();
        let per_task = rows.div_ceil(tasks).next_multiple_of(GROUP).min(TASK_ROWS);
        let row_tasks = rows.div_ceil(per_task);
        let panel_count = panels.cols.div_ceil(panels.width());
        let per_group = panel_count.div_ceil(tasks.div_ceil(row_tasks).min(panel_count));
        let groups = panel_count.div_ceil(per_group);
        (0..row_tasks * groups).into_par_iter().for_each(|task| {
            let (row, panel) = (task / groups * per_task, task % groups * per_group);
            let rows = row..(row + per_task).min(rows);
            self.run(rows, panel..(panel + per_group).min(panel_count), pool);
        });
    }

    /// Some rows times some panels.
    fn run(&self, rows: Range<usize>, panels: Range<usize>, pool: &Arc<Pool>) {
        let depth = self.panels.depth;
        let block = depth.div_ceil(depth.div_ceil(DEPTH));
        let groups = match self.lhs.col_stride {
            1 => 0,
            _ => rows.len().div_ceil(GROUP) * GROUP * block,
        };
        let mut groups = pool.take::<f32>(groups);
        for first in (0..depth).step_by(block) {
            let depth = first..(first + block).min(depth);
            let lhs = self.lhs(rows.clone(), depth.clone(), &mut groups);
            let block = Block {
                job: *self,
                lhs,
                rows: rows.clone(),
                panels: panels.clone(),
                depth,
            };
            // SAFETY: the CPU has the instructions of every `Isa` that it lists as available; `Job::new` has
            // shown that all rows, columns and depths lie inside the slices.
            unsafe { self.panels.isa.run(block) }
        }
    }

    /// The left factor's block: in place where elements are adjacent along the depth, otherwise copied,
    /// for a few elements from each of many far places cost more than the copy.
    fn lhs(&self, rows: Range<usize>, depth: Range<usize>, groups: &mut [f32]) -> Lhs {
        let lhs = self.lhs;
        if lhs.col_stride == 1 {
            return Lhs::Rows {
                start: lhs.data[rows.start * lhs.row_stride + depth.start..].as_ptr(),
                step: lhs.row_stride,
            };
        }
        let step = GROUP * depth.len();
        for (at, k) in depth.enumerate() {
            let source = &lhs.data[k * lhs.col_stride + rows.start..][..rows.len()];
            let (whole, rest) = source.as_chunks::<GROUP>();
            for (group, source) in whole.iter().enumerate() {
                groups[group * step + at * GROUP..][..GROUP].copy_from_slice(source);
            }
            if !rest.is_empty() {
                groups[whole.len() * step + at * GROUP..][..rest.len()].copy_from_slice(rest);
            }
        }
        Lhs::Groups {
            start: groups.as_ptr(),
            step,
        }
    }

    /// The epilogue of rows of one panel.
    fn finish(&self, rows: Range<usize>, panel: usize) {
        if self.bias.is_none() && self.activation.is_none() {
            return;
        }
        let width = self.panels.width();
        let cols = panel * width..((panel + 1) * width).min(self.panels.cols);
        vectorise(
            #[inline(always)]
            || {
                for row in rows {
                    let at = row * self.out_step + cols.start;
                    // SAFETY: a row of this task's columns, inside the target.
                    let out =
                        unsafe { std::slice::from_raw_parts_mut(self.out.0.add(at), cols.len()) };
                    if let Some(bias) = self.bias {
                        for (out, &bias) in out.iter_mut().zip(&bias[cols.clone()]) {
                            *out += bias;
                        }
                    }
                    let Some(activation) = self.activation else {
                        continue;
                    };
                    match self.activated {
                        None => activation.apply_in_place(out),
                        Some(activated) => {
                            // SAFETY: the same places of the other target.
                            let activated = unsafe {
                                std::slice::from_raw_parts_mut(activated.0.add(at), cols.len())
                            };
                            activation.apply(out, activated);
                        }
                    }
                }
            },
        );
    }
}
