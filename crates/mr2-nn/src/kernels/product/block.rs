//! The loop over panels of a product, compiled for an instruction set.

use super::Job;
use super::store::Out;
use super::tile::{self, Lhs};
use crate::kernels::vector::{Kernel, Vector};
use std::ops::Range;

/// Some rows times some panels, at some depths.
pub(super) struct Block<'a> {
    pub(super) job: Job<'a>,
    pub(super) lhs: Lhs,
    pub(super) rows: Range<usize>,
    pub(super) panels: Range<usize>,
    pub(super) depth: Range<usize>,
}

impl Kernel for Block<'_> {
    #[inline(always)]
    // SAFETY: the caller vouches for rows, panels and depth.
    unsafe fn run<V: Vector>(self) {
        let Self {
            job,
            lhs,
            rows,
            panels,
            depth,
        } = self;
        let width = job.panels.width();
        let (first, last) = (depth.start == 0, depth.end == job.panels.depth);
        for index in panels {
            let at = rows.start * job.out_step + index * width;
            let (initial, initial_step) = match first {
                true => (job.initial.0, job.initial_step),
                false => (job.out.0, job.out_step),
            };
            let out = Out {
                // SAFETY: the first element of the task's rows and this panel.
                start: unsafe { job.out.0.add(at) },
                step: job.out_step,
                initial: match initial.is_null() {
                    true => initial,
                    // SAFETY: as above.
                    false => unsafe { initial.add(rows.start * initial_step + index * width) },
                },
                initial_step,
                valid: width.min(job.panels.cols - index * width),
            };
            let panel = job.panels.panel(index)[depth.start * width..].as_ptr();
            // SAFETY: passed on to the caller.
            unsafe { tile::rows::<V>(rows.len(), depth.len(), lhs, panel, out) }
            if last {
                job.finish(rows.clone(), index);
            }
        }
    }
}
