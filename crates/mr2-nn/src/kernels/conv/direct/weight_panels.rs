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

/// Elements that are packed together: their rows stay in the first-level cache while the lanes pass by.
const ELEMENTS: usize = 16;

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
    let columns = |(ky, columns): &(usize, Vec<usize>)| -> Vec<usize> {
        columns.iter().map(|kx| ky * g.kernel + kx).collect()
    };
    let taps: Vec<usize> = pass.kernel.iter().flat_map(columns).collect();
    packed
        .par_chunks_mut(VECTORS * lanes * pass.depth())
        .zip(panels(outputs, lanes).collect::<Vec<_>>())
        .for_each(|(packed, (first, vectors))| {
            let width = vectors * lanes;
            let valid = width.min(outputs - first);
            if valid < width {
                packed.fill(0.0);
            }
            for start in (0..elements).step_by(ELEMENTS) {
                for lane in 0..valid {
                    let output = &weight[(first + lane) * output_step..];
                    for element in start..(start + ELEMENTS).min(elements) {
                        let from = &output[element * element_step..];
                        for (index, &tap) in taps.iter().enumerate() {
                            packed[(index * elements + element) * width + lane] = from[tap];
                        }
                    }
                }
            }
        });
}
