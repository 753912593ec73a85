//! The orders in which a convolution's weight is stored.

use super::geometry::Geometry;
use crate::kernels::real::Real;

/// (out, in, kernel, kernel), as PyTorch stores weights, to the packed order of [`Geometry`].
pub(super) fn pack_weight<T: Real>(weight: &[T], geometry: &Geometry, packed: &mut [T]) {
    let (taps, channels, outputs) = geometry.filter();
    let group = outputs * channels * taps;
    for (weight, packed) in weight
        .chunks_exact(group)
        .zip(packed.chunks_exact_mut(group))
    {
        for (index, &value) in weight.iter().enumerate() {
            let (output, channel, tap) = (
                index / (channels * taps),
                index / taps % channels,
                index % taps,
            );
            packed[(tap * channels + channel) * outputs + output] = value;
        }
    }
}

/// A packed weight to that of the transposed convolution: inputs and outputs exchanged, taps in
/// reverse order.
pub(super) fn flip_weight<T: Real>(packed: &[T], geometry: &Geometry, flipped: &mut [T]) {
    let (taps, channels, outputs) = geometry.filter();
    let group = outputs * channels * taps;
    for (packed, flipped) in packed
        .chunks_exact(group)
        .zip(flipped.chunks_exact_mut(group))
    {
        for (index, &value) in packed.iter().enumerate() {
            let (tap, channel, output) = (
                index / (channels * outputs),
                index / outputs % channels,
                index % outputs,
            );
            flipped[((taps - 1 - tap) * outputs + output) * channels + channel] = value;
        }
    }
}

/// A gradient in the order (out, kernel, kernel, in) to PyTorch's (out, in, kernel, kernel).
pub(super) fn unpack_gradient<T: Real>(gradient: &[T], geometry: &Geometry, unpacked: &mut [T]) {
    let (taps, channels, _) = geometry.filter();
    let filter = taps * channels;
    for (index, value) in unpacked.iter_mut().enumerate() {
        let (output, channel, tap) = (index / filter, index / taps % channels, index % taps);
        *value = gradient[output * filter + tap * channels + channel];
    }
}
