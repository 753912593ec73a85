//! `torchvision.transforms.RandomResizedCrop`.

use super::resample::{Interpolation, resample};
use super::{Canvas, MAX_SIDE, crop};
use crate::error::{Error, Result};
use crate::random::Draws;

/// How often a rectangle is drawn before the middle of the image is taken.
const TRIES: usize = 10;

/// A rectangle of random area, shape and place, resized to a square.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomResizedCrop {
    /// Side of the resulting square.
    pub size: usize,
    /// Smallest and largest share of the image's area; uniform between them.
    pub scale: [f64; 2],
    /// Smallest and largest width / height; uniform in the logarithm.
    pub ratio: [f64; 2],
    /// How pixels are interpolated.
    pub interpolation: Interpolation,
}

/// A rectangle in an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CropBox {
    /// First row.
    pub top: usize,
    /// First column.
    pub left: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl RandomResizedCrop {
    pub(crate) fn validate(&self) -> Result<()> {
        if !(1..=MAX_SIDE).contains(&self.size) {
            let reason = format!("expected 1 to {MAX_SIDE}, got {}", self.size);
            return Err(Error::config("random_resized_crop.size", reason));
        }
        let fields = [
            ("random_resized_crop.scale", self.scale),
            ("random_resized_crop.ratio", self.ratio),
        ];
        for (field, [low, high]) in fields {
            if !(low > 0.0 && low <= high && high.is_finite()) {
                let reason = format!("expected 0 < smallest <= largest, got [{low}, {high}]");
                return Err(Error::config(field, reason));
            }
        }
        Ok(())
    }

    /// Draws area and shape.
    fn size(&self, area: f64, uniform: &mut impl FnMut() -> f64) -> (usize, usize) {
        let [low, high] = self.ratio;
        let target = area * (self.scale[0] + (self.scale[1] - self.scale[0]) * uniform());
        let ratio = (low.ln() + (high.ln() - low.ln()) * uniform()).exp();
        let side = |squared: f64| squared.sqrt().round_ties_even() as usize;
        (side(target / ratio), side(target * ratio))
    }

    /// Draws the rectangle of [`super::Transform::RandomResizedCropOnce`]: area and shape once, cut to the
    /// image, then the place. `uniform` gives four numbers in [0, 1).
    pub fn crop_box_once(
        &self,
        height: usize,
        width: usize,
        mut uniform: impl FnMut() -> f64,
    ) -> CropBox {
        let (h, w) = self.size((height * width) as f64, &mut uniform);
        let (h, w) = (h.clamp(1, height), w.clamp(1, width));
        CropBox {
            top: (uniform() * (height - h + 1) as f64) as usize,
            left: (uniform() * (width - w + 1) as f64) as usize,
            height: h,
            width: w,
        }
    }

    /// Draws the rectangle for an image: up to ten tries of area and shape, the place of the first
    /// that fits; else the largest middle rectangle of an allowed shape. `uniform` gives numbers
    /// in [0, 1); two are used for each try and two for the place.
    pub fn crop_box(
        &self,
        height: usize,
        width: usize,
        mut uniform: impl FnMut() -> f64,
    ) -> CropBox {
        let [low, high] = self.ratio;
        let area = (height * width) as f64;
        for _ in 0..TRIES {
            let (h, w) = self.size(area, &mut uniform);
            if (1..=width).contains(&w) && (1..=height).contains(&h) {
                let top = (uniform() * (height - h + 1) as f64) as usize;
                let left = (uniform() * (width - w + 1) as f64) as usize;
                return CropBox {
                    top,
                    left,
                    height: h,
                    width: w,
                };
            }
        }
        let image_ratio = width as f64 / height as f64;
        let rounded = |size: f64, most: usize| (size.round_ties_even() as usize).clamp(1, most);
        let (h, w) = if image_ratio < low {
            (rounded(width as f64 / low, height), width)
        } else if image_ratio > high {
            (height, rounded(height as f64 * high, width))
        } else {
            (height, width)
        };
        CropBox {
            top: (height - h) / 2,
            left: (width - w) / 2,
            height: h,
            width: w,
        }
    }

    pub(crate) fn apply(
        &self,
        canvas: &mut Canvas,
        draws: &mut Draws,
    ) -> std::result::Result<(), String> {
        let part = self.crop_box(canvas.height, canvas.width, || draws.uniform());
        self.cut(canvas, part);
        Ok(())
    }

    pub(crate) fn apply_once(
        &self,
        canvas: &mut Canvas,
        draws: &mut Draws,
    ) -> std::result::Result<(), String> {
        let part = self.crop_box_once(canvas.height, canvas.width, || draws.uniform());
        self.cut(canvas, part);
        Ok(())
    }

    fn cut(&self, canvas: &mut Canvas, part: CropBox) {
        crop::window(
            canvas,
            part.top as isize,
            part.left as isize,
            part.height,
            part.width,
        );
        resample(canvas, self.size, self.size, self.interpolation);
    }
}
