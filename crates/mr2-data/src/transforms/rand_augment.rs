//! `torchvision.transforms.RandAugment` (Cubuk et al., NeurIPS 2020, 1909.13719).

use super::{AugmentOp, Canvas};
use crate::error::{Error, Result};
use crate::random::Draws;

/// `num_ops` operations in turn, each drawn from all but `Invert`, all at one strength.
///
/// Sampling is nearest-neighbour, as torchvision's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandAugment {
    /// Operations on each image.
    pub num_ops: usize,
    /// Their strength, below `num_magnitude_bins`.
    pub magnitude: usize,
    /// Number of strengths, 2 or more; torchvision's default is 31.
    pub num_magnitude_bins: usize,
    /// Byte of places outside the image, in all channels; torchvision's default is 0.
    pub fill: u8,
}

/// More would leave nothing of an image.
const MAX_OPS: usize = 100;

impl RandAugment {
    pub(super) fn validate(&self) -> Result<()> {
        let fail = |field, reason: String| Err(Error::config(field, reason));
        if !(1..=MAX_OPS).contains(&self.num_ops) {
            let reason = format!("expected 1 to {MAX_OPS}, got {}", self.num_ops);
            return fail("rand_augment.num_ops", reason);
        }
        if self.num_magnitude_bins < 2 {
            let reason = format!("expected at least 2, got {}", self.num_magnitude_bins);
            return fail("rand_augment.num_magnitude_bins", reason);
        }
        if self.magnitude >= self.num_magnitude_bins {
            let reason = format!(
                "expected less than num_magnitude_bins = {}, got {}",
                self.num_magnitude_bins, self.magnitude
            );
            return fail("rand_augment.magnitude", reason);
        }
        Ok(())
    }

    /// Draws the operations for an image of `height` x `width`, each with its signed magnitude. Takes
    /// two numbers from `draws` for each.
    pub fn draw(&self, height: usize, width: usize, draws: &mut Draws) -> Vec<(AugmentOp, f64)> {
        let choices = AugmentOp::ALL.len() - 1; // Invert, the last, is none of them
        let one = |_| {
            let op = AugmentOp::ALL[draws.below(choices)];
            let negative = draws.below(2) == 1 && op.is_signed();
            let bins = self.num_magnitude_bins;
            let magnitude = op.magnitude(self.magnitude, bins, height, width);
            (op, if negative { -magnitude } else { magnitude })
        };
        (0..self.num_ops).map(one).collect()
    }

    pub(super) fn apply(&self, canvas: &mut Canvas, draws: &mut Draws) {
        for (op, magnitude) in self.draw(canvas.height, canvas.width, draws) {
            op.apply_to(canvas, magnitude, self.fill);
        }
    }
}
