//! What becomes of a tile's sums.

use super::tile::VECTORS;
use crate::kernels::vector::Vector;

/// Columns of a panel of the widest vectors.
const WIDEST: usize = 32;

/// Where a block's sums go.
#[derive(Clone, Copy)]
pub(super) struct Out {
    pub(super) start: *mut f32,
    pub(super) step: usize,
    /// What the sums are added to, if anything; it may be the output itself.
    pub(super) initial: *const f32,
    pub(super) initial_step: usize,
    /// Columns of the panel that exist.
    pub(super) valid: usize,
}

/// # Safety
/// The instruction set of `V`; the output valid for the rows and its columns.
#[inline(always)]
pub(super) unsafe fn store<V: Vector, const ROWS: usize>(sums: &[[V; VECTORS]; ROWS], out: Out) {
    if out.valid == VECTORS * V::LANES {
        // SAFETY: passed on to the caller.
        return unsafe { store_whole::<V, ROWS>(sums, out) };
    }
    // A partial panel goes through memory: an index that is not known would drive the sums out of registers.
    let mut copy = [[0f32; WIDEST]; ROWS];
    let whole = Out {
        start: copy.as_mut_ptr().cast(),
        step: WIDEST,
        initial: std::ptr::null(),
        ..out
    };
    // SAFETY: the copy has room for all rows and the widest vectors.
    unsafe { store_whole::<V, ROWS>(sums, whole) };
    for (row, sums) in copy.iter().enumerate() {
        for (column, &sum) in sums.iter().enumerate().take(out.valid) {
            // SAFETY: columns that exist.
            unsafe {
                let initial = match out.initial.is_null() {
                    true => 0.0,
                    false => *out.initial.add(row * out.initial_step + column),
                };
                *out.start.add(row * out.step + column) = initial + sum;
            }
        }
    }
}

/// # Safety
/// As [`store`], with all columns.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn store_whole<V: Vector, const ROWS: usize>(sums: &[[V; VECTORS]; ROWS], out: Out) {
    for row in 0..ROWS {
        for v in 0..VECTORS {
            // SAFETY: passed on to the caller.
            unsafe {
                let mut sum = sums[row][v];
                if !out.initial.is_null() {
                    sum = V::load(out.initial.add(row * out.initial_step + v * V::LANES)).add(sum);
                }
                sum.store(out.start.add(row * out.step + v * V::LANES));
            }
        }
    }
}
