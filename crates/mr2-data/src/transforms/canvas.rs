//! The image that a pipeline works on: two buffers that are used in turn, so that a loader's thread
//! takes memory once and not for each image.

use crate::source::Image;

/// Bytes in (height, width, channel) order.
#[derive(Debug, Default)]
pub(crate) struct Canvas {
    pixels: Vec<u8>,
    spare: Vec<u8>,
    pub height: usize,
    pub width: usize,
    pub channels: usize,
}

impl Canvas {
    pub fn load(&mut self, image: &Image) {
        self.pixels.clear();
        self.pixels.extend_from_slice(&image.pixels);
        (self.height, self.width) = (image.height, image.width);
        self.channels = image.channels;
    }

    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The bytes of one pixel.
    pub fn pixel(&self, row: usize, column: usize) -> &[u8] {
        let at = (row * self.width + column) * self.channels;
        &self.pixels[at..at + self.channels]
    }

    /// The rows, each `width * channels` bytes.
    pub fn rows_mut(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.pixels
            .chunks_exact_mut((self.width * self.channels).max(1))
    }

    /// Makes a new image of zeros and has `paint` fill it from the old one.
    pub fn repaint(&mut self, height: usize, width: usize, paint: impl FnOnce(&Self, &mut [u8])) {
        let mut target = std::mem::take(&mut self.spare);
        target.clear();
        target.resize(height * width * self.channels, 0);
        paint(self, &mut target);
        self.spare = std::mem::replace(&mut self.pixels, target);
        (self.height, self.width) = (height, width);
    }
}
