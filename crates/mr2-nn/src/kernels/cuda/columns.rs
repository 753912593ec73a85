//! Sums over the rows of (rows, columns), in two stages and always in the same order.

use super::{Arg, Grid, Module, device_of, empty, kernel_for, launch, module, optional, pointer};
use candle_core::{D, DType, Result, Tensor};

const MODULE: Module = module!("columns");

/// `COLUMN_THREADS` in columns.cuh.
const THREADS: usize = 256;

/// Blocks that keep a large GPU busy.
const BLOCKS: usize = 1056;

/// How threads lie over a tensor's rows, its last dimension being the columns.
pub(crate) struct Columns {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Whether a thread has 16 bytes of a row, not one element.
    wide: bool,
    pub(crate) grid: Grid,
}

impl Columns {
    pub(crate) fn of(x: &Tensor) -> Result<Self> {
        Ok(Self::new(x.elem_count(), x.dim(D::Minus1)?, x.dtype()))
    }

    /// As [`Columns::of`], for rows of `columns` elements whatever the tensor's last dimension is.
    fn new(elements: usize, columns: usize, dtype: DType) -> Self {
        let pack = 16 / dtype.size_in_bytes();
        match columns.is_multiple_of(pack) {
            true => Self::of_packs(elements, columns, pack),
            false => Self::of_elements(elements, columns),
        }
    }

    /// A thread for each column.
    pub(crate) fn of_elements(elements: usize, columns: usize) -> Self {
        Self::of_packs(elements, columns, 1)
    }

    fn of_packs(elements: usize, columns: usize, pack: usize) -> Self {
        let (rows, packs) = (elements / columns, columns / pack);
        let across = packs.next_power_of_two().min(32);
        let down = THREADS / across;
        let over_columns = packs.div_ceil(across);
        let most = (BLOCKS / over_columns).max(1);
        Self {
            rows,
            columns,
            wide: pack > 1,
            grid: Grid {
                // A thread has a few rows at least, so that its sums are worth writing.
                blocks: (over_columns, rows.div_ceil(down * 4).clamp(1, most)),
                threads: (across, down),
            },
        }
    }

    pub(crate) fn kernel(&self, base: &str, dtype: DType) -> Result<String> {
        let width = if self.wide { "wide" } else { "one" };
        kernel_for(&format!("{base}_{width}"), dtype)
    }

    pub(crate) fn sizes(&self) -> [Arg; 2] {
        [Arg::I64(self.rows as i64), Arg::I32(self.columns as i32)]
    }

    /// Where the first stage writes its sums: (parts of the rows, columns).
    pub(crate) fn parts(&self, beside: &Tensor) -> Result<Tensor> {
        let shape = (self.grid.blocks.1, self.columns);
        empty(&device_of(beside)?, DType::F32, shape)
    }
}

/// The sum over all but the last dimension, in f32.
pub(crate) fn column_sums(x: &Tensor) -> Result<Tensor> {
    row_sums(x, x.dim(D::Minus1)?)
}

/// The sum of rows of `columns` elements each, in f32.
pub(crate) fn row_sums(x: &Tensor, columns: usize) -> Result<Tensor> {
    let over = Columns::new(x.elem_count(), columns, x.dtype());
    let parts = over.parts(x)?;
    launch(
        &device_of(x)?,
        MODULE,
        &over.kernel("column_parts", x.dtype())?,
        over.grid,
        &[&[pointer(x)?, pointer(&parts)?][..], &over.sizes()].concat(),
    )?;
    finish(&parts)
}

/// The second stage: the sums of the columns of (parts, columns).
pub(crate) fn finish(parts: &Tensor) -> Result<Tensor> {
    let sums = empty(&device_of(parts)?, DType::F32, parts.dim(1)?)?;
    finish_into(parts, &sums, None)?;
    Ok(sums)
}

/// As [`finish`], of sums of two kinds side by side: (parts, 2 x columns).
pub(crate) fn finish_pair(parts: &Tensor) -> Result<[Tensor; 2]> {
    let device = device_of(parts)?;
    let columns = parts.dim(1)? / 2;
    let sums = [
        empty(&device, DType::F32, columns)?,
        empty(&device, DType::F32, columns)?,
    ];
    finish_into(parts, &sums[0], Some(&sums[1]))?;
    Ok(sums)
}

fn finish_into(parts: &Tensor, first: &Tensor, second: Option<&Tensor>) -> Result<()> {
    let (count, columns) = parts.dims2()?;
    launch(
        &device_of(parts)?,
        MODULE,
        "column_finish_f32",
        Grid {
            blocks: (columns.div_ceil(32), 1),
            threads: (32, 32),
        },
        &[
            pointer(parts)?,
            pointer(first)?,
            optional(second)?,
            Arg::I32(count as i32),
            Arg::I32(columns as i32),
            Arg::I32(first.elem_count() as i32),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_cover_all_columns_and_a_block_is_full() {
        for (rows, columns) in [
            (1, 1),
            (50_000, 3072),
            (128, 151_296),
            (7, 3),
            (25_216, 768),
        ] {
            for dtype in [DType::F32, DType::BF16] {
                let over = Columns::new(rows * columns, columns, dtype);
                let pack = if over.wide {
                    16 / dtype.size_in_bytes()
                } else {
                    1
                };
                let ((across, parts), threads) = (over.grid.blocks, over.grid.threads);
                assert_eq!(threads.0 * threads.1, THREADS);
                assert!(across * threads.0 * pack >= columns);
                assert_eq!(over.rows, rows);
                assert!(parts >= 1 && (parts == 1 || parts * across <= BLOCKS));
            }
        }
    }
}
