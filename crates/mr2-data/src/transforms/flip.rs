//! Mirror images.

use super::Canvas;
use crate::random::Draws;

/// Whether an image is flipped.
pub(crate) fn drawn(p: f64, draws: &mut Draws) -> bool {
    draws.uniform() < p
}

/// Exchanges left and right.
pub(crate) fn horizontal(canvas: &mut Canvas) {
    let channels = canvas.channels;
    for row in canvas.rows_mut() {
        row.reverse();
        if channels == 3 {
            // Reversing the bytes has also reversed the channels of each pixel.
            row.chunks_exact_mut(3).for_each(|pixel| pixel.swap(0, 2));
        }
    }
}
