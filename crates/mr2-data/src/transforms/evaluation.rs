//! How pretrained models are given images for evaluation, as a list of transforms.

use super::{Interpolation, Transform};
use crate::error::{Error, Result};

/// From an image of any size to a square.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum EvaluationGeometry {
    /// The short side to `resize`, then the middle: torchvision, OpenAI's CLIP, open_clip, MAE, MoCo, DINOv2.
    /// (The image processors of transformers put the middle half a pixel further up or left where an
    /// odd number of pixels is cut off.)
    ShortSide {
        /// Size of the short side.
        resize: usize,
        /// Side of the square.
        size: usize,
    },
    /// timm's `crop_pct`: the short side to `size / crop_pct` rounded down, then the middle.
    CropShare {
        /// Side of the square.
        size: usize,
        /// Share of the short side that the square takes, above 0 and up to 1.
        crop_pct: f64,
    },
    /// The whole image to a square, whatever its shape: `ViTImageProcessor` of transformers.
    Whole {
        /// Side of the square.
        size: usize,
    },
}

/// The transforms of `geometry` and then of `mean` and `std`, with Pillow's antialiased resampling.
///
/// # Errors
/// A `crop_pct` that isn't above 0 and up to 1. Other settings are checked by [`super::Pipeline::new`].
pub fn evaluation_transforms(
    geometry: EvaluationGeometry,
    interpolation: Interpolation,
    mean: &[f64],
    std: &[f64],
) -> Result<Vec<Transform>> {
    let short_side = |resize, size| {
        let resize = Transform::ResizeShortSide {
            size: resize,
            interpolation,
        };
        vec![resize, Transform::CentreCrop { size }]
    };
    let mut transforms = match geometry {
        EvaluationGeometry::ShortSide { resize, size } => short_side(resize, size),
        EvaluationGeometry::CropShare { size, crop_pct } => {
            if !(crop_pct > 0.0 && crop_pct <= 1.0) {
                let reason = format!("expected above 0 and up to 1, got {crop_pct}");
                return Err(Error::config("crop_pct", reason));
            }
            short_side((size as f64 / crop_pct).floor() as usize, size)
        }
        EvaluationGeometry::Whole { size } => vec![Transform::Resize {
            height: size,
            width: size,
            interpolation,
        }],
    };
    transforms.push(Transform::Normalize {
        mean: mean.to_vec(),
        std: std.to_vec(),
    });
    Ok(transforms)
}
