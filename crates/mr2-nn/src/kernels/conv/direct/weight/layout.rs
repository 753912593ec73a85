//! Images and gradients laid out anew, so that the sums read both from front to back.

use super::{Extent, Gradients, Plan};
use crate::kernels::pool::{Pool, PoolBuf};
use std::ops::Range;
use std::sync::Arc;

impl Plan {
    /// Padded images by blocks of channels.
    pub(super) fn blocked(&self, padded: &[f32], extent: Extent, pool: &Arc<Pool>) -> PoolBuf<f32> {
        let (channels, pixels) = (self.g.in_channels, extent.height * self.padded.width);
        let mut blocked = pool.take(extent.count * pixels * channels);
        let images = padded.chunks(extent.step);
        for (to, from) in blocked.chunks_exact_mut(pixels * channels).zip(images) {
            for (first, block) in self.blocks() {
                let to = &mut to[first * pixels..][..block * pixels];
                select_channels(from, channels, first, block, to);
            }
        }
        blocked
    }

    /// Gradients by panels of output channels; lanes beyond the last channel are zero.
    pub(super) fn paneled(
        &self,
        gradients: Gradients<'_>,
        extent: Extent,
        group: &Range<usize>,
        pool: &Arc<Pool>,
    ) -> PoolBuf<f32> {
        let (channels, cols) = (self.g.out_channels, self.g.out_width);
        let pixels = extent.count * extent.rows * cols;
        let mut paneled = pool.take(pixels * group.len());
        let mut rest = &mut paneled[..];
        for (first, width) in self.panels(group) {
            let (own, others) = rest.split_at_mut(pixels * width);
            let present = width.min(channels - first);
            for (index, row) in own.chunks_exact_mut(cols * width).enumerate() {
                let (image, y) = (index / extent.rows, index % extent.rows);
                let start = image * gradients.steps[0] + y * gradients.steps[1];
                let from = &gradients.values[start..start + cols * channels];
                if present == width {
                    select_channels(from, channels, first, width, row);
                    continue;
                }
                for (to, from) in row.chunks_exact_mut(width).zip(from.chunks_exact(channels)) {
                    to[..present].copy_from_slice(&from[first..]);
                    to[present..].fill(0.0);
                }
            }
            rest = others;
        }
        paneled
    }
}

/// Copies `count` neighbouring channels of every pixel.
fn select_channels(from: &[f32], channels: usize, first: usize, count: usize, to: &mut [f32]) {
    match count {
        32 => select::<32>(from, channels, first, to),
        16 => select::<16>(from, channels, first, to),
        24 => select::<24>(from, channels, first, to),
        12 => select::<12>(from, channels, first, to),
        8 => select::<8>(from, channels, first, to),
        4 => select::<4>(from, channels, first, to),
        _ => {
            for (to, from) in to.chunks_exact_mut(count).zip(from.chunks_exact(channels)) {
                to.copy_from_slice(&from[first..first + count]);
            }
        }
    }
}

/// As [`select_channels`]: copies of a fixed length are a few moves, not calls.
fn select<const COUNT: usize>(from: &[f32], channels: usize, first: usize, to: &mut [f32]) {
    for (to, from) in to.chunks_exact_mut(COUNT).zip(from.chunks_exact(channels)) {
        to.copy_from_slice(&from[first..first + COUNT]);
    }
}
