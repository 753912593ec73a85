//! Kernels with a warp for each row, which stays in registers where it is not too long.

use super::{Arg, Grid};
use candle_core::DType;

/// `WARPS` in rows.cuh.
const WARPS: usize = 4;

/// A warp for each of `rows`.
pub(crate) fn warp_per_row(rows: usize) -> Grid {
    Grid {
        blocks: (rows.div_ceil(WARPS), 1),
        threads: (32, WARPS),
    }
}

/// A fixed number of blocks of warps that share the rows.
pub(crate) fn blocks_of_warps(blocks: usize, rows: usize) -> Grid {
    Grid {
        blocks: (rows.div_ceil(WARPS).min(blocks), 1),
        threads: (32, WARPS),
    }
}

/// The instance of rows.cuh for rows of `columns` elements: its name, if there is one.
pub(crate) fn width(columns: usize, dtype: DType) -> Option<usize> {
    let fits = columns.is_multiple_of(16 / dtype.size_in_bytes()) && columns <= 1024;
    fits.then(|| columns.next_multiple_of(256))
}

/// Whether packs of 16 bytes may be loaded from there.
pub(crate) fn aligned(arg: Arg) -> bool {
    matches!(arg, Arg::Pointer(address) if address.is_multiple_of(16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_whole_packs_have_an_instance_up_to_1024_elements() {
        let widths = [8, 197, 200, 256, 264, 768, 1024, 1032];
        let found = widths.map(|columns| width(columns, DType::BF16));
        let expected = [256, 0, 256, 256, 512, 768, 1024, 0].map(|n| Some(n).filter(|&n| n > 0));
        assert_eq!(found, expected);
        assert_eq!(width(12, DType::F32), Some(256));
        assert_eq!(width(12, DType::F16), None);
        assert!(aligned(Arg::Pointer(32)) && !aligned(Arg::Pointer(24)));
    }
}
