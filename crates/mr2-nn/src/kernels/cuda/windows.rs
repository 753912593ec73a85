//! Windows of images of bytes that are held on the device.

use super::{Arg, Grid, Module, device_of, empty, launch, module, pointer};
use crate::ops::windows::{ImageWindow, Sizes};
use candle_core::{DType, Result, Tensor, bail};

const MODULE: Module = module!("windows");

/// [`crate::ops::image_windows`] of checked arguments.
pub(crate) fn image_windows(
    images: &Tensor,
    tables: &Tensor,
    windows: &[ImageWindow],
    sizes: &Sizes,
) -> Result<Tensor> {
    let &Sizes {
        channels,
        image: [rows, columns],
        window: [height, width],
    } = sizes;
    let pixels = height * width;
    let all = windows.len() * pixels;
    if i32::try_from(pixels).is_err() || i32::try_from(images.dims()[0]).is_err() {
        bail!("image windows: too large for a CUDA kernel");
    }
    let device = device_of(images)?;
    let out = empty(
        &device,
        DType::F32,
        (windows.len(), channels, height, width),
    )?;
    if all == 0 {
        return Ok(out);
    }
    // A few KB, which the driver takes over at once: no wait, as a large copy from ordinary memory would be.
    let numbers: Vec<u32> = windows.iter().flat_map(numbers).collect();
    let windows = Tensor::new(numbers, images.device())?;
    let size = |size: usize| Arg::I32(size as i32);
    launch(
        &device,
        MODULE,
        "image_windows",
        Grid::over(all),
        &[
            pointer(images)?,
            pointer(tables)?,
            pointer(&windows)?,
            pointer(&out)?,
            Arg::I64(all as i64),
            size(channels),
            size(rows),
            size(columns),
            size(height),
            size(width),
        ],
    )?;
    Ok(out)
}

/// A window as the kernel's four signed numbers.
fn numbers(window: &ImageWindow) -> [u32; 4] {
    let signed = |place: isize| (place as i32).cast_unsigned();
    [
        window.image,
        signed(window.top),
        signed(window.left),
        u32::from(window.mirrored),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_outside_are_negative_numbers() {
        let window = ImageWindow {
            image: 7,
            top: -4,
            left: 31,
            mirrored: true,
        };
        let signed = numbers(&window).map(u32::cast_signed);
        assert_eq!(signed, [7, -4, 31, 1]);
    }
}
