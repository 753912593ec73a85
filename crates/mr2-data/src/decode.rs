//! Encoded images to bytes, as Pillow's `convert("RGB")` (or `"L"`) makes them. The format is told from the
//! content, not from the name: data sets of this field hold PNG and GIF files that are called `.jpg`.
//!
//! Bytes are Pillow's, but for JPEG, whose decoder rounds in other places (up to 2 levels, and 3 where colour is
//! stored at half the size), lossy WebP, and CMYK in TIFF (1 level). Alpha is dropped, not blended; of an
//! animation the first frame is taken; CMYK and YCCK in JPEG are taken for inverted, as Adobe writes them; colour
//! profiles play no part, nor does EXIF rotation, as in torchvision's loaders. 16-bit grey is cut off at 255,
//! which makes most of such images white: that is what a model sees through Pillow, and it is logged.
//! Unlike in Pillow, a TIFF with a palette is an error, and so is a JPEG that lacks no more than its end marker.

mod gif;
mod jpeg;

use crate::descriptor::MAX_SIDE;
use crate::error::{Error, Result};
use crate::files;
use crate::source::Image;
use image::{
    DynamicImage, GrayAlphaImage, GrayImage, ImageDecoder, ImageError, ImageFormat, ImageReader,
    Limits, RgbImage, RgbaImage,
};
use std::borrow::Cow;
use std::io::Cursor;
use std::path::Path;

/// The largest encoded image that is read.
pub(crate) const MAX_FILE_BYTES: u64 = 256 << 20;
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
    let Some(format) = reader.format() else {
        let reason = "not a PNG, JPEG, GIF, BMP, TIFF or WebP file";
        return Err(Error::decode(path, reason));
    };
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
    let mut decoded = DynamicImage::from_decoder(decoder).map_err(failed)?;
    if format == ImageFormat::Jpeg && !jpeg::is_whole(encoded) {
        let reason = "the JPEG ends before its end marker: the file is cut off";
        return Err(Error::decode(path, reason));
    }
    if format == ImageFormat::Gif {
        gif::paint_surround(encoded, &mut decoded);
    }
    let decoded = to_bytes(path, decoded, is_grey_16_png(encoded));
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

/// True for a PNG of 16-bit grey, with a transparent grey or without.
fn is_grey_16_png(encoded: &[u8]) -> bool {
    const BIT_DEPTH_AND_COLOUR_TYPE: std::ops::Range<usize> = 24..26;
    encoded.starts_with(b"\x89PNG") && encoded.get(BIT_DEPTH_AND_COLOUR_TYPE) == Some(&[16, 0])
}

/// To bytes as Pillow: of 16-bit colours the high byte; 16-bit grey (its mode "I;16") is cut off at 255.
fn to_bytes(path: &Path, decoded: DynamicImage, clips: bool) -> DynamicImage {
    let high = |words: &[u16]| {
        words
            .iter()
            .map(|word| (word >> 8) as u8)
            .collect::<Vec<u8>>()
    };
    let (width, height) = (decoded.width(), decoded.height());
    let clipped = |words: &mut dyn Iterator<Item = u16>| {
        let mut over = 0usize;
        let bytes = words.map(|word| {
            over += usize::from(word > 255);
            word.min(255) as u8
        });
        let bytes = bytes.collect();
        if over > 0 {
            let path = path.display();
            tracing::warn!("{path}: {over} pixels of 16-bit grey are over 255 and become white");
        }
        GrayImage::from_raw(width, height, bytes).map(DynamicImage::ImageLuma8)
    };
    let converted = match &decoded {
        DynamicImage::ImageLuma16(image) => clipped(&mut image.iter().copied()),
        DynamicImage::ImageLumaA16(image) if clips => {
            clipped(&mut image.iter().copied().step_by(2))
        }
        DynamicImage::ImageLumaA16(image) => {
            GrayAlphaImage::from_raw(width, height, high(image)).map(DynamicImage::ImageLumaA8)
        }
        DynamicImage::ImageRgb16(image) => {
            RgbImage::from_raw(width, height, high(image)).map(DynamicImage::ImageRgb8)
        }
        DynamicImage::ImageRgba16(image) => {
            RgbaImage::from_raw(width, height, high(image)).map(DynamicImage::ImageRgba8)
        }
        _ => None,
    };
    converted.unwrap_or(decoded)
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
