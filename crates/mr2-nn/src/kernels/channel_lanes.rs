//! Loops over rows of channels, a fixed number of channels at a time.

use super::real::Real;

/// Channels handled together: loops of a fixed length become vector instructions.
pub(super) const LANES: usize = 16;

/// Elements that pass through the cache between two visits; sums within a block are kept in the
/// element type, sums over blocks in f64.
const BLOCK_ELEMENTS: usize = 4096;

/// Calls a function with channels `c..c + L` for all channels, `L` being [`LANES`] or 1.
macro_rules! for_lanes {
    ($channels:expr, $function:ident $([$($flag:literal),*])? ($($argument:expr),*)) => {{
        let mut channel = 0;
        while channel + $crate::kernels::channel_lanes::LANES <= $channels {
            $function::<T, { $crate::kernels::channel_lanes::LANES } $($(, $flag)*)?>(channel, $($argument),*);
            channel += $crate::kernels::channel_lanes::LANES;
        }
        while channel < $channels {
            $function::<T, 1 $($(, $flag)*)?>(channel, $($argument),*);
            channel += 1;
        }
    }};
}

pub(super) use for_lanes;

/// Elements of a block: whole rows.
pub(super) fn block_len(channels: usize) -> usize {
    (BLOCK_ELEMENTS / channels).clamp(1, 256) * channels
}

/// `L` neighbours of a row.
#[inline(always)]
pub(super) fn lanes<T: Copy, const L: usize>(row: &[T], channel: usize) -> [T; L] {
    let row = &row[channel..channel + L];
    std::array::from_fn(|lane| row[lane])
}

#[inline(always)]
pub(super) fn flush<T: Real, const L: usize>(channel: usize, block: &[T; L], sums: &mut [f64]) {
    for (sum, value) in sums[channel..channel + L].iter_mut().zip(block) {
        *sum += value.to_f64();
    }
}
