//! Brightness, contrast, pixels and compression.

use super::raster::Raster;
use crate::decode;
use crate::transforms::{Canvas, Interpolation, resample};
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};
use std::path::Path;

/// Raises the HSV value, hue and saturation kept; a grey image's bytes are its values.
pub(super) fn brightness(image: &mut Raster, more: f64) {
    for pixel in image.values.chunks_exact_mut(image.channels) {
        let value = pixel.iter().copied().fold(0.0, f64::max);
        let raised = (value + more).clamp(0.0, 1.0);
        for channel in pixel {
            // With hue and saturation kept, channels stay in proportion to the value.
            *channel = match *channel == value {
                true => raised,
                false => *channel / value * raised,
            };
        }
    }
}

/// Moves each channel towards its mean.
pub(super) fn contrast(image: &mut Raster, keep: f64) {
    let channels = image.channels;
    let count = (image.height * image.width) as f64;
    for channel in 0..channels {
        let values = image.values[channel..].iter().step_by(channels);
        let mean = values.sum::<f64>() / count;
        for value in image.values[channel..].iter_mut().step_by(channels) {
            *value = (*value - mean) * keep + mean;
        }
    }
}

/// Fewer pixels, then as many as before, by Pillow's box filter.
pub(super) fn pixelate(canvas: &mut Canvas, keep: f64) {
    let (height, width) = (canvas.height, canvas.width);
    let fewer = |side: usize| ((side as f64 * keep) as usize).max(1);
    resample(canvas, fewer(height), fewer(width), Interpolation::Box);
    resample(canvas, height, width, Interpolation::Box);
}

/// Through JPEG and back.
pub(super) fn jpeg(canvas: &mut Canvas, quality: u8) -> Result<(), String> {
    let (height, width, channels) = (canvas.height, canvas.width, canvas.channels);
    let color = match channels {
        1 => ExtendedColorType::L8,
        _ => ExtendedColorType::Rgb8,
    };
    let mut encoded = Vec::new();
    JpegEncoder::new_with_quality(&mut encoded, quality)
        .write_image(canvas.pixels(), width as u32, height as u32, color)
        .map_err(|error| error.to_string())?;
    let decoded = decode::bytes(Path::new("the JPEG"), &encoded, channels);
    let decoded = decoded.map_err(|error| error.to_string())?;
    canvas.repaint(height, width, |_, to| to.copy_from_slice(&decoded.pixels));
    Ok(())
}
