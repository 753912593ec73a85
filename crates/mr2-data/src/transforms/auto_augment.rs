//! `torchvision.transforms.AutoAugment` with the policy that was found on CIFAR-10 (Cubuk et al.,
//! CVPR 2019, 1805.09501).

use super::{AugmentOp, Canvas};
use crate::random::Draws;
use AugmentOp::*;

/// One of the policy's 25 pairs of operations, each done with its probability at its strength.
///
/// Sampling is nearest-neighbour, as torchvision's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AutoAugment {
    /// Which pairs.
    pub policy: AutoAugmentPolicy,
    /// Byte of places outside the image, in all channels; torchvision's default is 0.
    pub fill: u8,
}

/// A list of pairs of operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AutoAugmentPolicy {
    /// Found on CIFAR-10; used for CIFAR-100 too.
    Cifar10,
}

/// Operation, probability, strength of 0..10 (0 where it has none).
type Step = (AugmentOp, f64, usize);

const STRENGTHS: usize = 10;

const CIFAR10: [[Step; 2]; 25] = [
    [(Invert, 0.1, 0), (Contrast, 0.2, 6)],
    [(Rotate, 0.7, 2), (TranslateX, 0.3, 9)],
    [(Sharpness, 0.8, 1), (Sharpness, 0.9, 3)],
    [(ShearY, 0.5, 8), (TranslateY, 0.7, 9)],
    [(AutoContrast, 0.5, 0), (Equalize, 0.9, 0)],
    [(ShearY, 0.2, 7), (Posterize, 0.3, 7)],
    [(Color, 0.4, 3), (Brightness, 0.6, 7)],
    [(Sharpness, 0.3, 9), (Brightness, 0.7, 9)],
    [(Equalize, 0.6, 0), (Equalize, 0.5, 0)],
    [(Contrast, 0.6, 7), (Sharpness, 0.6, 5)],
    [(Color, 0.7, 7), (TranslateX, 0.5, 8)],
    [(Equalize, 0.3, 0), (AutoContrast, 0.4, 0)],
    [(TranslateY, 0.4, 3), (Sharpness, 0.2, 6)],
    [(Brightness, 0.9, 6), (Color, 0.2, 8)],
    [(Solarize, 0.5, 2), (Invert, 0.0, 0)],
    [(Equalize, 0.2, 0), (AutoContrast, 0.6, 0)],
    [(Equalize, 0.2, 0), (Equalize, 0.6, 0)],
    [(Color, 0.9, 9), (Equalize, 0.6, 0)],
    [(AutoContrast, 0.8, 0), (Solarize, 0.2, 8)],
    [(Brightness, 0.1, 3), (Color, 0.7, 0)],
    [(Solarize, 0.4, 5), (AutoContrast, 0.9, 0)],
    [(TranslateY, 0.9, 9), (TranslateY, 0.7, 9)],
    [(AutoContrast, 0.9, 0), (Solarize, 0.8, 3)],
    [(Equalize, 0.8, 0), (Invert, 0.1, 0)],
    [(TranslateY, 0.7, 9), (AutoContrast, 0.9, 0)],
];

impl AutoAugment {
    /// Draws the operations for an image of `height` x `width`, each with its signed magnitude. Takes
    /// five numbers from `draws`, whatever comes of them.
    pub fn draw(&self, height: usize, width: usize, draws: &mut Draws) -> Vec<(AugmentOp, f64)> {
        let AutoAugmentPolicy::Cifar10 = self.policy;
        let pair = CIFAR10[draws.below(CIFAR10.len())];
        let chances = [draws.uniform(), draws.uniform()];
        let negative = [draws.below(2) == 0, draws.below(2) == 0];
        let mut chosen = Vec::with_capacity(pair.len());
        for (index, (op, probability, strength)) in pair.into_iter().enumerate() {
            if chances[index] < probability {
                let magnitude = op.magnitude(strength, STRENGTHS, height, width);
                let signed = op.is_signed() && negative[index];
                chosen.push((op, if signed { -magnitude } else { magnitude }));
            }
        }
        chosen
    }

    pub(super) fn apply(&self, canvas: &mut Canvas, draws: &mut Draws) {
        for (op, magnitude) in self.draw(canvas.height, canvas.width, draws) {
            op.apply_to(canvas, magnitude, self.fill);
        }
    }
}
