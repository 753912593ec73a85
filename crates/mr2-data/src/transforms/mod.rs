//! Image transforms, one per file, that follow torchvision (on Pillow images) in geometry, rounding
//! and in how their parameters are distributed. The random numbers themselves are our own.

mod auto_augment;
mod canvas;
mod crop;
mod evaluation;
mod flip;
mod normalize;
mod ops;
mod pipeline;
mod rand_augment;
mod random_resized_crop;
mod resample;
mod resize;
mod window;

pub use auto_augment::{AutoAugment, AutoAugmentPolicy};
pub(crate) use canvas::Canvas;
pub use evaluation::{EvaluationGeometry, evaluation_transforms};
pub use ops::AugmentOp;
pub use pipeline::Pipeline;
pub use rand_augment::RandAugment;
pub use random_resized_crop::{CropBox, RandomResizedCrop};
pub use resample::Interpolation;
pub(crate) use resample::resample;
pub use window::Window;
pub(crate) use window::{are_windows, window_size};

use crate::corruptions::{self, Corruption};
use crate::error::{Error, Result};
use crate::random::Draws;

/// A step of a [`Pipeline`]. Steps before `Normalize` work on bytes.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Transform {
    /// The whole image to exactly this size, as `torchvision.transforms.Resize((h, w))`.
    Resize {
        /// Rows of the result.
        height: usize,
        /// Columns of the result.
        width: usize,
        /// How pixels are interpolated.
        interpolation: Interpolation,
    },
    /// The short side to this size, the other in proportion, rounded down, as
    /// `torchvision.transforms.Resize(size)`.
    ResizeShortSide {
        /// Size of the short side.
        size: usize,
        /// How pixels are interpolated.
        interpolation: Interpolation,
    },
    /// The middle square; a smaller image is first padded with zeros.
    CentreCrop {
        /// Side of the square.
        size: usize,
    },
    /// A square from a random place of the image padded with zeros.
    RandomCrop {
        /// Side of the square.
        size: usize,
        /// Zeros added on every side first.
        padding: usize,
    },
    /// A rectangle of random area, shape and place, resized to a square.
    RandomResizedCrop(RandomResizedCrop),
    /// The same with one draw, which is cut to the image where it doesn't fit, instead of ten tries: the
    /// cropping of MAE's linear probes (`util/crop.py` of facebookresearch/mae).
    RandomResizedCropOnce(RandomResizedCrop),
    /// Left and right exchanged with probability `p`.
    HorizontalFlip {
        /// The probability.
        p: f64,
    },
    /// One of the pairs of operations of a learned policy.
    AutoAugment(AutoAugment),
    /// Random operations of one strength.
    RandAugment(RandAugment),
    /// A common corruption: random, but a function of `seed` and the image's place in the data set as
    /// released alone, so an evaluation pipeline may have it (as its first step, before sizes change).
    Corrupt {
        /// The kind.
        corruption: Corruption,
        /// 1 to 5.
        severity: usize,
        /// Seed of what is random in it.
        seed: u64,
    },
    /// Last: bytes to 0..=1, minus `mean`, divided by `std`, for each channel.
    Normalize {
        /// Subtracted, for each channel.
        mean: Vec<f64>,
        /// Divided by, for each channel.
        std: Vec<f64>,
    },
}

/// Why a step cannot be applied to an image.
#[derive(Debug)]
pub(crate) struct Misfit {
    pub transform: &'static str,
    pub reason: String,
}

impl Transform {
    /// The name in a configuration.
    pub fn kind(&self) -> &'static str {
        match self {
            Transform::Resize { .. } => "resize",
            Transform::ResizeShortSide { .. } => "resize_short_side",
            Transform::CentreCrop { .. } => "centre_crop",
            Transform::RandomCrop { .. } => "random_crop",
            Transform::RandomResizedCrop(_) => "random_resized_crop",
            Transform::RandomResizedCropOnce(_) => "random_resized_crop_once",
            Transform::HorizontalFlip { .. } => "horizontal_flip",
            Transform::AutoAugment(_) => "auto_augment",
            Transform::RandAugment(_) => "rand_augment",
            Transform::Corrupt { .. } => "corrupt",
            Transform::Normalize { .. } => "normalize",
        }
    }

    /// True if the result depends on the loader's seed or the epoch.
    pub fn is_random(&self) -> bool {
        match self {
            Transform::RandomCrop { .. }
            | Transform::RandomResizedCrop(_)
            | Transform::RandomResizedCropOnce(_)
            | Transform::AutoAugment(_)
            | Transform::RandAugment(_) => true,
            Transform::HorizontalFlip { p } => *p > 0.0 && *p < 1.0,
            Transform::Resize { .. }
            | Transform::ResizeShortSide { .. }
            | Transform::CentreCrop { .. }
            | Transform::Corrupt { .. }
            | Transform::Normalize { .. } => false,
        }
    }

    /// Checks the settings.
    fn validate(&self) -> Result<()> {
        let within = |least: usize, field: &'static str, side: usize| match side {
            _ if (least..=MAX_SIDE).contains(&side) => Ok(()),
            _ => Err(Error::config(
                field,
                format!("expected {least} to {MAX_SIDE}, got {side}"),
            )),
        };
        let side = |field, side| within(1, field, side);
        match self {
            Transform::Resize { height, width, .. } => {
                side("resize.height", *height).and(side("resize.width", *width))
            }
            Transform::ResizeShortSide { size, .. } => side("resize_short_side.size", *size),
            Transform::CentreCrop { size } => side("centre_crop.size", *size),
            Transform::RandomCrop { size, padding } => {
                side("random_crop.size", *size).and(within(0, "random_crop.padding", *padding))
            }
            Transform::RandomResizedCrop(crop) | Transform::RandomResizedCropOnce(crop) => {
                crop.validate()
            }
            Transform::RandAugment(augment) => augment.validate(),
            Transform::Corrupt { severity, .. } => {
                corruptions::check_severity("corrupt.severity", *severity)
            }
            Transform::HorizontalFlip { p } if !(0.0..=1.0).contains(p) => Err(Error::config(
                "horizontal_flip.p",
                format!("expected 0 to 1, got {p}"),
            )),
            Transform::HorizontalFlip { .. } | Transform::AutoAugment(_) => Ok(()),
            Transform::Normalize { mean, std } => normalize::validate(mean, std),
        }
    }

    /// Applies the step to the bytes on the canvas.
    fn apply(&self, canvas: &mut Canvas, draws: &mut Draws) -> std::result::Result<(), Misfit> {
        let misfit = |reason| Misfit {
            transform: self.kind(),
            reason,
        };
        match self {
            Transform::Resize {
                height,
                width,
                interpolation,
            } => resize::resize(canvas, *height, *width, *interpolation),
            Transform::ResizeShortSide {
                size,
                interpolation,
            } => resize::resize_short_side(canvas, *size, *interpolation),
            Transform::CentreCrop { size } => {
                let (top, left) = crop::centre(canvas.height, canvas.width, *size);
                crop::window(canvas, top, left, *size, *size);
                Ok(())
            }
            Transform::RandomCrop { size, padding } => {
                crop::random(canvas.height, canvas.width, *size, *padding, draws)
                    .map(|(top, left)| crop::window(canvas, top, left, *size, *size))
            }
            Transform::RandomResizedCrop(crop) => crop.apply(canvas, draws),
            Transform::RandomResizedCropOnce(crop) => crop.apply_once(canvas, draws),
            Transform::HorizontalFlip { p } => {
                if flip::drawn(*p, draws) {
                    flip::horizontal(canvas);
                }
                Ok(())
            }
            Transform::AutoAugment(augment) => {
                augment.apply(canvas, draws);
                Ok(())
            }
            Transform::RandAugment(augment) => {
                augment.apply(canvas, draws);
                Ok(())
            }
            Transform::Corrupt {
                corruption,
                severity,
                seed,
            } => {
                let mut own = Draws::for_corruption(*seed, *corruption, draws.image());
                corruptions::apply(canvas, *corruption, *severity, &mut own)
            }
            Transform::Normalize { .. } => Ok(()), // in the step from bytes to numbers
        }
        .map_err(misfit)
    }
}

/// The largest side that a transform makes.
pub(crate) const MAX_SIDE: usize = 8_192;
