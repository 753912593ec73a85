//! `torchvision.transforms.Resize` on a Pillow image.

use super::resample::{Interpolation, resample};
use super::{Canvas, MAX_SIDE};

/// To exactly this size.
pub(crate) fn resize(
    canvas: &mut Canvas,
    height: usize,
    width: usize,
    interpolation: Interpolation,
) -> Result<(), String> {
    resample(canvas, height, width, interpolation);
    Ok(())
}

/// The short side to `size`, the long side in proportion and rounded down.
pub(crate) fn resize_short_side(
    canvas: &mut Canvas,
    size: usize,
    interpolation: Interpolation,
) -> Result<(), String> {
    let (short, long) = (
        canvas.height.min(canvas.width),
        canvas.height.max(canvas.width),
    );
    let longer = ((size * long) as f64 / short as f64) as usize;
    if longer > MAX_SIDE {
        return Err(format!(
            "the image of {} x {} pixels would have a side of {longer}, over {MAX_SIDE}. Leave it \
             out, or use `resize` to a fixed size",
            canvas.height, canvas.width
        ));
    }
    let (height, width) = if canvas.height <= canvas.width {
        (size, longer)
    } else {
        (longer, size)
    };
    resize(canvas, height, width, interpolation)
}
