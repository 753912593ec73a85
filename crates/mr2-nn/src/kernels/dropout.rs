//! Dropout masks, computed from a key and an element's index whenever they are needed.

use super::parallel::ELEMENTS;
use super::real::Real;
use super::simd::vectorise;
use crate::rng;
use rayon::prelude::*;

/// A mask as a function: nothing is stored between forward and backward.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mask {
    pub(crate) key: u64,
    /// The probability that an element is zeroed.
    pub(crate) p: f64,
}

impl Mask {
    /// `out = x / (1 - p)` where the element is kept, else 0. The gradient is the same function.
    ///
    /// As in PyTorch it is a product, so that NaN and infinity show even where they are dropped.
    pub(crate) fn apply<T: Real>(self, x: &[T], out: &mut [T]) {
        let scale = T::from_f64(1.0 / (1.0 - self.p));
        let work = out
            .par_chunks_mut(ELEMENTS)
            .zip(x.par_chunks(ELEMENTS))
            .enumerate();
        work.for_each(|(chunk, (out, x))| {
            let first = (chunk * ELEMENTS) as u64;
            vectorise(
                #[inline(always)]
                || {
                    for (index, (out, &x)) in (first..).zip(out.iter_mut().zip(x)) {
                        let kept = rng::uniform(self.key, index) >= self.p;
                        *out = x * if kept { scale } else { T::zero() };
                    }
                },
            );
        });
    }
}
