//! The inner loop of a matrix product: a few rows times two vectors of columns, kept in registers.

use super::store::{Out, store};
use crate::kernels::vector::{Vector, opaque};

/// Vectors of columns of a panel: two, so that a panel of a few hundred rows stays near the core while
/// many rows of the left factor pass it.
pub(super) const VECTORS: usize = 2;

/// Elements of the depth for which addresses are constants.
const UNROLL: usize = 4;

/// Rows that a tile may have; the first that fits is taken.
const ROWS: [usize; 6] = [12, 8, 6, 4, 2, 1];

/// Rows of the largest tile, and of a group.
pub(super) const GROUP: usize = 12;

/// The left factor of a block.
#[derive(Clone, Copy)]
pub(super) enum Lhs {
    /// Elements adjacent along the depth, rows `step` apart.
    Rows { start: *const f32, step: usize },
    /// (group of rows, depth, row of the group); groups are `step` apart.
    Groups { start: *const f32, step: usize },
}

impl Lhs {
    /// From `row` on; a tile does not cross the border of a group.
    #[inline(always)]
    fn at_row(self, row: usize) -> Self {
        match self {
            Self::Rows { start, step } => Self::Rows {
                start: start.wrapping_add(row * step),
                step,
            },
            Self::Groups { start, step } => Self::Groups {
                start: start.wrapping_add(row / GROUP * step + row % GROUP),
                step,
            },
        }
    }
}

/// All rows of a block times one panel.
///
/// # Safety
/// The instruction set of `V`; `lhs` valid for rows and depth, the panel for the depth, `out` and a
/// non-null `initial` for the rows and the valid columns.
#[inline(always)]
pub(super) unsafe fn rows<V: Vector>(
    rows: usize,
    depth: usize,
    lhs: Lhs,
    panel: *const f32,
    out: Out,
) {
    let mut row = 0;
    for size in ROWS
        .into_iter()
        .filter(|size| size * VECTORS <= V::ACCUMULATORS)
    {
        while row + size <= rows {
            let lhs = lhs.at_row(row);
            let out = Out {
                // SAFETY: rows of the block.
                start: unsafe { out.start.add(row * out.step) },
                initial: out
                    .initial
                    .wrapping_add(row * out.initial_step * usize::from(!out.initial.is_null())),
                ..out
            };
            // SAFETY: passed on to the caller.
            unsafe {
                match size {
                    12 => tile::<V, 12>(depth, lhs, panel, out),
                    8 => tile::<V, 8>(depth, lhs, panel, out),
                    6 => tile::<V, 6>(depth, lhs, panel, out),
                    4 => tile::<V, 4>(depth, lhs, panel, out),
                    2 => tile::<V, 2>(depth, lhs, panel, out),
                    _ => tile::<V, 1>(depth, lhs, panel, out),
                }
            }
            row += size;
        }
    }
}

/// # Safety
/// As [`rows`].
#[inline(always)]
unsafe fn tile<V: Vector, const ROWS: usize>(depth: usize, lhs: Lhs, panel: *const f32, out: Out) {
    // SAFETY: passed on to the caller.
    unsafe {
        let mut sums = [[V::zero(); VECTORS]; ROWS];
        match lhs {
            Lhs::Rows { start, step } => from_rows::<V, ROWS>(&mut sums, depth, start, step, panel),
            Lhs::Groups { start, .. } => from_group::<V, ROWS>(&mut sums, depth, start, panel),
        }
        store::<V, ROWS>(&sums, out);
    }
}

/// Rows `4q + r` are addressed as pointer `q` plus `r` steps: few registers, and no arithmetic in the loop.
///
/// # Safety
/// As [`rows`].
#[inline(always)]
unsafe fn from_rows<V: Vector, const ROWS: usize>(
    sums: &mut [[V; VECTORS]; ROWS],
    depth: usize,
    start: *const f32,
    one: usize,
    mut panel: *const f32,
) {
    let mut three = 3 * one;
    opaque(&mut three);
    let mut quads = [start; 3];
    for (index, quad) in quads.iter_mut().enumerate().take(ROWS.div_ceil(4)) {
        // SAFETY: these are rows of the tile.
        *quad = unsafe { start.add(4 * index * one) };
        opaque(quad);
    }
    let mut left = depth;
    while left >= UNROLL {
        for element in 0..UNROLL {
            // SAFETY: passed on to the caller; elements below the depth.
            unsafe {
                add_products::<V, ROWS>(
                    sums,
                    #[inline(always)]
                    |row| element_of(&quads, row, element, one, three),
                    panel.add(element * VECTORS * V::LANES),
                );
            }
        }
        for quad in quads.iter_mut().take(ROWS.div_ceil(4)) {
            *quad = quad.wrapping_add(UNROLL);
            opaque(quad);
        }
        panel = panel.wrapping_add(UNROLL * VECTORS * V::LANES);
        left -= UNROLL;
    }
    for element in 0..left {
        // SAFETY: as above.
        unsafe {
            add_products::<V, ROWS>(
                sums,
                #[inline(always)]
                |row| element_of(&quads, row, element, one, three),
                panel.add(element * VECTORS * V::LANES),
            );
        }
    }
}

/// The address of an element of a row.
#[inline(always)]
fn element_of(
    quads: &[*const f32; 3],
    row: usize,
    element: usize,
    one: usize,
    three: usize,
) -> *const f32 {
    let quad = quads[row / 4].wrapping_add(element);
    match row % 4 {
        0 => quad,
        1 => quad.wrapping_add(one),
        2 => quad.wrapping_add(2 * one),
        _ => quad.wrapping_add(three),
    }
}

/// # Safety
/// As [`rows`].
#[inline(always)]
unsafe fn from_group<V: Vector, const ROWS: usize>(
    sums: &mut [[V; VECTORS]; ROWS],
    depth: usize,
    mut column: *const f32,
    mut panel: *const f32,
) {
    let mut left = depth;
    while left >= UNROLL {
        for element in 0..UNROLL {
            // SAFETY: passed on to the caller; elements below the depth.
            unsafe {
                add_products::<V, ROWS>(
                    sums,
                    #[inline(always)]
                    |row| column.wrapping_add(element * GROUP + row),
                    panel.add(element * VECTORS * V::LANES),
                );
            }
        }
        column = column.wrapping_add(UNROLL * GROUP);
        panel = panel.wrapping_add(UNROLL * VECTORS * V::LANES);
        left -= UNROLL;
    }
    for element in 0..left {
        // SAFETY: as above.
        unsafe {
            add_products::<V, ROWS>(
                sums,
                #[inline(always)]
                |row| column.wrapping_add(element * GROUP + row),
                panel.add(element * VECTORS * V::LANES),
            );
        }
    }
}

/// Index loops over arrays: in this form LLVM unrolls them and keeps the sums in registers.
///
/// # Safety
/// As [`rows`].
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn add_products<V: Vector, const ROWS: usize>(
    sums: &mut [[V; VECTORS]; ROWS],
    lhs: impl Fn(usize) -> *const f32,
    panel: *const f32,
) {
    // SAFETY: passed on to the caller.
    unsafe {
        let mut columns = [V::zero(); VECTORS];
        for v in 0..VECTORS {
            columns[v] = V::load(panel.add(v * V::LANES));
        }
        for row in 0..ROWS {
            let value = V::splat(lhs(row));
            for v in 0..VECTORS {
                sums[row][v] = sums[row][v].add_product(value, columns[v]);
            }
        }
    }
}
