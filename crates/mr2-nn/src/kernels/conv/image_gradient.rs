//! Where the gradient of a convolution's images goes, and what is done to it while it is in the cache.

use crate::kernels::batch_norm_gradient::{GradientSums, Mask, add_gradient_sums};
use crate::kernels::real::Real;
use crate::kernels::source::same_type;
use std::ops::Range;

/// The gradient of the images, complete with what others have contributed.
pub(crate) struct ImageGradient<'a, T> {
    pub(crate) values: &'a mut [T],
    /// The values are unspecified: overwrite them instead of adding.
    pub(crate) fresh: bool,
    pub(crate) behind: Option<Behind<'a, T>>,
}

/// The batch norm that made the images, if this is the last contribution to its gradient: what it clears
/// and sums in a pass of its own otherwise.
#[derive(Clone, Copy)]
pub(crate) struct Behind<'a, T> {
    /// Its input, and the mean of each channel.
    pub(crate) x: &'a [T],
    pub(crate) mean: &'a [T],
    pub(crate) mask: Mask<'a, T>,
}

impl Behind<'_, f32> {
    /// Clears and sums the gradient of as many elements, on the calling thread.
    pub(super) fn add_to(self, values: &mut [f32], sums: &mut GradientSums) {
        add_gradient_sums(self.x, self.mean, self.mask, values, sums);
    }
}

impl<T> Behind<'_, T> {
    pub(super) fn part(self, range: Range<usize>) -> Self {
        Self {
            x: &self.x[range.clone()],
            mean: self.mean,
            mask: self.mask.part(range),
        }
    }

    /// Sums that begin at zero.
    pub(super) fn sums(&self) -> GradientSums {
        GradientSums::zeros(self.mean.len())
    }
}

impl<'a, T: Real> ImageGradient<'a, T> {
    /// Parts of `len` elements.
    pub(super) fn parts(self, len: usize) -> Vec<ImageGradient<'a, T>> {
        let (fresh, behind) = (self.fresh, self.behind);
        let parts = self.values.chunks_mut(len).enumerate();
        parts
            .map(|(index, values)| {
                let start = index * len;
                ImageGradient {
                    fresh,
                    behind: behind.map(|behind| behind.part(start..start + values.len())),
                    values,
                }
            })
            .collect()
    }

    /// The same, if its elements are f32.
    pub(super) fn f32(self) -> Option<ImageGradient<'a, f32>> {
        let behind = match self.behind {
            None => None,
            Some(Behind { x, mean, mask }) => Some(Behind {
                x: T::f32s(x)?,
                mean: T::f32s(mean)?,
                mask: match mask {
                    Mask::None => Mask::None,
                    Mask::Out(out, rectifier) => Mask::Out(T::f32s(out)?, rectifier),
                    Mask::Recomputed { affine, skip } => Mask::Recomputed {
                        affine: same_type(affine)?,
                        skip: match skip {
                            Some(skip) => Some(T::f32s(skip)?),
                            None => None,
                        },
                    },
                },
            }),
        };
        Some(ImageGradient {
            values: T::f32s_mut(self.values)?,
            fresh: self.fresh,
            behind,
        })
    }
}
