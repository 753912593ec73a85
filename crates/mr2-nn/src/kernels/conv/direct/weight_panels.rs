//! Weights in the order in which tiles read them: panels of output channels, each (tap, element, lane).

use super::pass::Pass;
use crate::kernels::conv::geometry::Geometry;
use rayon::prelude::*;

/// Vectors of a panel; the last panel has 1 where that is enough.
pub(super) const VECTORS: usize = 2;

/// Panels of output channels: the first channel of each, and its vectors.
pub(super) fn panels(outputs: usize, lanes: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..outputs)
        .step_by(VECTORS * lanes)
        .map(move |first| (first, (outputs - first).div_ceil(lanes).min(VECTORS)))
}

/// Output channels with those that fill the last vector.
pub(super) fn padded_outputs(outputs: usize, lanes: usize) -> usize {
    outputs.next_multiple_of(lanes)
}

/// What a pass takes from the weight.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Elements are input channels, lanes output channels.
    Forward,
    /// The other way round.
    Backward,
}

/// From PyTorch's order (out, in, kernel, kernel) to that of the tiles of `pass`.
pub(super) fn pack(
    role: Role,
    g: &Geometry,
    pass: &Pass,
    weight: &[f32],
    lanes: usize,
    packed: &mut [f32],
) {
    let taps = g.kernel * g.kernel;
    let (elements, outputs, element_step, output_step) = match role {
        Role::Forward => (g.in_channels, g.out_channels, taps, g.in_channels * taps),
        Role::Backward => (g.out_channels, g.in_channels, g.in_channels * taps, taps),
    };
    let depth = pass.depth();
    packed
        .par_chunks_mut(VECTORS * lanes * depth)
        .zip(panels(outputs, lanes).collect::<Vec<_>>())
        .for_each(|(packed, (first, vectors))| {
            let width = vectors * lanes;
            let valid = width.min(outputs - first);
            let mut rows = packed.chunks_exact_mut(width);
            for (ky, columns) in &pass.kernel {
                for kx in columns {
                    for (element, row) in (0..elements).zip(&mut rows) {
                        let from =
                            ky * g.kernel + kx + element * element_step + first * output_step;
                        for (lane, value) in row.iter_mut().enumerate() {
                            *value = if lane < valid {
                                weight[from + lane * output_step]
                            } else {
                                0.0
                            };
                        }
                    }
                }
            }
        });
}
