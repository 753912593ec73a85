//! Crops: where a window's first pixel is, and taking the window. What lies outside the image is zero, as
//! torchvision pads.

use super::Canvas;
use crate::random::Draws;

/// The window of `height` x `width` whose first pixel is (`top`, `left`), which may be outside.
pub(crate) fn window(canvas: &mut Canvas, top: isize, left: isize, height: usize, width: usize) {
    canvas.repaint(height, width, |from, to| {
        let channels = from.channels;
        // The part of the window's columns that lies in the image.
        let first = left.clamp(0, from.width as isize);
        let last = left
            .saturating_add(width as isize)
            .clamp(0, from.width as isize);
        if first >= last {
            return;
        }
        let len = (last - first) as usize * channels;
        let start = (first - left) as usize * channels;
        for (row, target) in to.chunks_exact_mut(width * channels).enumerate() {
            let source_row = top + row as isize;
            if (0..from.height as isize).contains(&source_row) {
                let at = (source_row as usize * from.width + first as usize) * channels;
                target[start..start + len].copy_from_slice(&from.pixels()[at..at + len]);
            }
        }
    });
}

/// `torchvision.transforms.CenterCrop`: offsets are halves rounded to even; padding of a smaller
/// image is rounded down on the left and top.
pub(crate) fn centre(height: usize, width: usize, size: usize) -> (isize, isize) {
    let offset = |length: usize| match length.checked_sub(size) {
        Some(room) => (room as f64 / 2.0).round_ties_even() as isize,
        None => -(((size - length) / 2) as isize),
    };
    (offset(height), offset(width))
}

/// `torchvision.transforms.RandomCrop`: every place in the padded image is equally likely; the row
/// is drawn before the column.
pub(crate) fn random(
    height: usize,
    width: usize,
    size: usize,
    padding: usize,
    draws: &mut Draws,
) -> Result<(isize, isize), String> {
    let mut place = |length: usize| match (length + 2 * padding).checked_sub(size) {
        Some(room) => Ok(draws.below(room + 1) as isize - padding as isize),
        None => Err(format!(
            "the image has {height} x {width} pixels and {padding} of padding, too few for {size} x {size}. \
             Resize it first, or take a smaller crop or more padding"
        )),
    };
    Ok((place(height)?, place(width)?))
}
