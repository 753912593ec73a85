//! The image operations that AutoAugment and RandAugment choose from, with the strengths that
//! torchvision gives them. On the same magnitude each makes the bytes that torchvision makes of a
//! Pillow image.

mod affine;
mod enhance;
mod lookup;

use super::Canvas;
use crate::error::{Error, Result};
use crate::source::Image;

/// An image operation. What its magnitude means is said with each; `{}` is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AugmentOp {
    /// Nothing.
    Identity,
    /// Rows moved by magnitude · row.
    ShearX,
    /// Columns moved by magnitude · column.
    ShearY,
    /// Moved right by magnitude pixels, rounded towards 0.
    TranslateX,
    /// Moved down by magnitude pixels, rounded towards 0.
    TranslateY,
    /// Turned counter-clockwise about the centre by magnitude degrees.
    Rotate,
    /// Blended with black: 1 + magnitude parts of the image, −magnitude of black.
    Brightness,
    /// Blended with its grey version in the same way. Grey images stay as they are.
    Color,
    /// Blended with its mean grey in the same way.
    Contrast,
    /// Blended with its smoothed version in the same way.
    Sharpness,
    /// The magnitude highest bits of each byte are kept.
    Posterize,
    /// Bytes from the magnitude on are inverted.
    Solarize,
    /// Each channel's darkest byte to 0, its lightest to 255. No magnitude.
    AutoContrast,
    /// Each channel's histogram made flat. No magnitude.
    Equalize,
    /// Bytes inverted. No magnitude.
    Invert,
}

/// The largest magnitude, either way, of any use.
const MAX_MAGNITUDE: f64 = 10_000.0;

impl AugmentOp {
    /// All of them.
    pub const ALL: [AugmentOp; 15] = [
        AugmentOp::Identity,
        AugmentOp::ShearX,
        AugmentOp::ShearY,
        AugmentOp::TranslateX,
        AugmentOp::TranslateY,
        AugmentOp::Rotate,
        AugmentOp::Brightness,
        AugmentOp::Color,
        AugmentOp::Contrast,
        AugmentOp::Sharpness,
        AugmentOp::Posterize,
        AugmentOp::Solarize,
        AugmentOp::AutoContrast,
        AugmentOp::Equalize,
        AugmentOp::Invert,
    ];

    /// Strength number `index` of `bins` (from 2) for an image of `height` x `width` pixels, before a
    /// sign is drawn; 0 where the operation has none. `_augmentation_space` of torchvision's
    /// transforms/autoaugment.py.
    pub fn magnitude(self, index: usize, bins: usize, height: usize, width: usize) -> f64 {
        let from_zero = |end: f64| linspace(0.0, end as f32, index, bins);
        let translation = |side: usize| from_zero(150.0 / 331.0 * side as f64);
        let magnitude = match self {
            AugmentOp::ShearX | AugmentOp::ShearY => from_zero(0.3),
            AugmentOp::TranslateX => translation(width),
            AugmentOp::TranslateY => translation(height),
            AugmentOp::Rotate => from_zero(30.0),
            AugmentOp::Brightness
            | AugmentOp::Color
            | AugmentOp::Contrast
            | AugmentOp::Sharpness => from_zero(0.9),
            AugmentOp::Posterize => {
                8.0 - (index as f32 / ((bins - 1) as f64 / 4.0) as f32).round_ties_even()
            }
            AugmentOp::Solarize => linspace(255.0, 0.0, index, bins),
            AugmentOp::Identity
            | AugmentOp::AutoContrast
            | AugmentOp::Equalize
            | AugmentOp::Invert => 0.0,
        };
        f64::from(magnitude)
    }

    /// Whether the magnitude's sign is drawn.
    pub fn is_signed(self) -> bool {
        match self {
            AugmentOp::ShearX
            | AugmentOp::ShearY
            | AugmentOp::TranslateX
            | AugmentOp::TranslateY
            | AugmentOp::Rotate
            | AugmentOp::Brightness
            | AugmentOp::Color
            | AugmentOp::Contrast
            | AugmentOp::Sharpness => true,
            AugmentOp::Identity
            | AugmentOp::Posterize
            | AugmentOp::Solarize
            | AugmentOp::AutoContrast
            | AugmentOp::Equalize
            | AugmentOp::Invert => false,
        }
    }

    /// The operation on an image. Places outside the image become `fill`, in all channels.
    ///
    /// # Errors
    /// An image whose bytes are not those of its size, or a magnitude that is not a number of at most
    /// 10,000 either way (for `Posterize`, 1 to 8).
    pub fn apply(self, image: &Image, magnitude: f64, fill: u8) -> Result<Image<'static>> {
        image.check()?;
        let fits = match self {
            AugmentOp::Posterize => (1.0..=8.0).contains(&magnitude),
            _ => magnitude.abs() <= MAX_MAGNITUDE,
        };
        if !fits {
            let reason = format!("of {self:?}: out of range: {magnitude}");
            return Err(Error::config("magnitude", reason));
        }
        let mut canvas = Canvas::default();
        canvas.load(image);
        self.apply_to(&mut canvas, magnitude, fill);
        Ok(Image {
            pixels: canvas.pixels().to_vec().into(),
            height: canvas.height,
            width: canvas.width,
            channels: canvas.channels,
        })
    }

    /// The operation, whose magnitude is known to be in range.
    pub(super) fn apply_to(self, canvas: &mut Canvas, magnitude: f64, fill: u8) {
        let factor = (1.0 + magnitude) as f32;
        match self {
            AugmentOp::Identity => {}
            AugmentOp::ShearX => affine::shear(canvas, [magnitude, 0.0], fill),
            AugmentOp::ShearY => affine::shear(canvas, [0.0, magnitude], fill),
            AugmentOp::TranslateX => affine::translate(canvas, [magnitude.trunc(), 0.0], fill),
            AugmentOp::TranslateY => affine::translate(canvas, [0.0, magnitude.trunc()], fill),
            AugmentOp::Rotate => affine::rotate(canvas, magnitude, fill),
            AugmentOp::Brightness => enhance::brightness(canvas, factor),
            AugmentOp::Color => enhance::color(canvas, factor),
            AugmentOp::Contrast => enhance::contrast(canvas, factor),
            AugmentOp::Sharpness => enhance::sharpness(canvas, factor),
            AugmentOp::Posterize => lookup::posterize(canvas, magnitude as u32),
            AugmentOp::Solarize => lookup::solarize(canvas, magnitude),
            AugmentOp::AutoContrast => lookup::auto_contrast(canvas),
            AugmentOp::Equalize => lookup::equalize(canvas),
            AugmentOp::Invert => lookup::invert(canvas),
        }
    }
}

/// `torch.linspace(start, end, bins)[index]` in f32: from the nearer end.
fn linspace(start: f32, end: f32, index: usize, bins: usize) -> f32 {
    let step = (end - start) / (bins - 1) as f32;
    if index < bins / 2 {
        start + step * index as f32
    } else {
        end - step * (bins - 1 - index) as f32
    }
}
