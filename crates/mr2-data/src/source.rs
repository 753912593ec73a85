//! Where the pixels of a set are, and one image of it.

use crate::error::{Error, Result};
use std::borrow::Cow;
use std::path::PathBuf;

/// Where the pixels are.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// All images in memory, of one size: (image, height, width, channel) in row-major order.
    Memory {
        /// The bytes of all images.
        pixels: Vec<u8>,
        /// Rows of an image.
        height: usize,
        /// Columns of an image.
        width: usize,
        /// 1 or 3.
        channels: usize,
    },
    /// One file per image, decoded when read.
    Files {
        /// The files.
        paths: Vec<PathBuf>,
        /// 1 (grey) or 3 (RGB): what the files are converted to.
        channels: usize,
    },
    /// Encoded images (PNG, JPEG, ...) in memory, decoded when read.
    Encoded {
        /// The bytes of each image file.
        files: Vec<Vec<u8>>,
        /// 1 (grey) or 3 (RGB): what the images are converted to.
        channels: usize,
    },
}

impl Source {
    /// Checks that it holds whole images of 1 or 3 channels; `name` is for messages.
    pub(crate) fn check(&self, name: &str) -> Result<()> {
        if !matches!(self.channels(), 1 | 3) {
            let reason = format!("{name}: expected 1 or 3, got {}", self.channels());
            return Err(Error::config("channels", reason));
        }
        let Source::Memory {
            pixels,
            height,
            width,
            channels,
        } = self
        else {
            return Ok(());
        };
        let size = height
            .checked_mul(*width)
            .and_then(|area| area.checked_mul(*channels));
        match size.and_then(|size| pixels.len().checked_rem(size)) {
            Some(0) => Ok(()),
            _ => {
                let reason = format!(
                    "{name}: {} bytes are not whole images of {height} x {width} x {channels}",
                    pixels.len()
                );
                Err(Error::config("pixels", reason))
            }
        }
    }

    /// Number of images; `Memory` counts whole images only.
    pub(crate) fn len(&self) -> usize {
        match self {
            Source::Memory {
                pixels,
                height,
                width,
                channels,
            } => pixels
                .len()
                .checked_div(height * width * channels)
                .unwrap_or(0),
            Source::Files { paths, .. } => paths.len(),
            Source::Encoded { files, .. } => files.len(),
        }
    }

    /// 1 or 3.
    pub(crate) fn channels(&self) -> usize {
        match self {
            Source::Memory { channels, .. }
            | Source::Files { channels, .. }
            | Source::Encoded { channels, .. } => *channels,
        }
    }
}

/// One image: (height, width, channel) bytes in row-major order, RGB where there are three.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image<'a> {
    /// The bytes.
    pub pixels: Cow<'a, [u8]>,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// 1 or 3.
    pub channels: usize,
}

impl Image<'_> {
    /// Checks that it has pixels of 1 or 3 channels, and a byte for each.
    pub(crate) fn check(&self) -> Result<()> {
        let (height, width, channels) = (self.height, self.width, self.channels);
        let size = height
            .checked_mul(width)
            .and_then(|area| area.checked_mul(channels));
        let bytes = self.pixels.len();
        if matches!(channels, 1 | 3) && bytes > 0 && size == Some(bytes) {
            return Ok(());
        }
        let reason = format!(
            "expected height x width x channels bytes, at least one pixel and 1 or 3 channels, got \
             {height} x {width} x {channels} and {bytes} bytes"
        );
        Err(Error::config("image", reason))
    }
}
