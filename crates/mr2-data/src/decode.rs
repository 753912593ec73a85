//! Encoded images to bytes. The format is told from the content, not from the name: data sets of
//! this field hold PNG and GIF files that are called `.jpg`.

use crate::descriptor::MAX_SIDE;
use crate::error::{Error, Result};
use crate::files;
use crate::source::Image;
use image::{DynamicImage, ImageDecoder, ImageError, ImageReader, Limits};
use std::borrow::Cow;
use std::io::Cursor;
use std::path::Path;

/// The largest encoded image that is read.
const MAX_FILE_BYTES: u64 = 256 << 20;
/// The most memory that a decoder may take for one image.
const MAX_DECODED_BYTES: u64 = 512 << 20;

/// Decodes an image file to grey (1 channel) or RGB (3).
pub(crate) fn file(path: &Path, channels: usize) -> Result<Image<'static>> {
    bytes(path, &files::read_file(path, MAX_FILE_BYTES)?, channels)
}

/// Decodes an encoded image; `path` is for messages.
pub(crate) fn bytes(path: &Path, encoded: &[u8], channels: usize) -> Result<Image<'static>> {
    let mut reader = ImageReader::new(Cursor::new(encoded))
        .with_guessed_format()
        .map_err(|cause| Error::io(path, cause))?;
    if reader.format().is_none() {
        return Err(Error::decode(
            path,
            "not a PNG, JPEG, GIF, BMP, TIFF or WebP file",
        ));
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE as u32);
    limits.max_image_height = Some(MAX_SIDE as u32);
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    reader.limits(limits);
    let failed = |error: ImageError| Error::decode(path, error);
    let decoder = reader.into_decoder().map_err(failed)?;
    let (width, height) = decoder.dimensions();
    // As the file has it, and as RGB, which comes beside it.
    let needed = decoder
        .total_bytes()
        .max(3 * u64::from(width) * u64::from(height));
    if needed > MAX_DECODED_BYTES {
        return Err(Error::TooLarge {
            path: path.to_path_buf(),
            what: "the decoded image",
            bytes: needed,
            limit: MAX_DECODED_BYTES,
        });
    }
    let decoded = DynamicImage::from_decoder(decoder).map_err(failed)?;
    let (height, width) = (decoded.height() as usize, decoded.width() as usize);
    if height == 0 || width == 0 {
        return Err(Error::decode(path, "it has no pixels"));
    }
    let pixels = match channels {
        1 => grey(decoded),
        _ => decoded.into_rgb8().into_raw(),
    };
    Ok(Image {
        pixels: Cow::Owned(pixels),
        height,
        width,
        channels,
    })
}

/// Grey as Pillow's mode "L": ITU-R 601 weights in 16-bit fixed point, rounded.
fn grey(decoded: DynamicImage) -> Vec<u8> {
    match decoded {
        DynamicImage::ImageLuma8(image) => image.into_raw(),
        other => {
            let luma = |rgb: &[u8]| {
                let [r, g, b] = [0, 1, 2].map(|c| u32::from(rgb[c]));
                ((r * 19_595 + g * 38_470 + b * 7_471 + 0x8000) >> 16) as u8
            };
            other
                .into_rgb8()
                .into_raw()
                .chunks_exact(3)
                .map(luma)
                .collect()
        }
    }
}
