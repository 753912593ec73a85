//! The two passes of batch normalisation backwards: sums over rows, then the input's gradient.

use super::batch_norm::{Affine, CEILING, Lanes, Rectifier};
use super::channel_lanes::{block_len, flush, for_lanes, lanes};
use super::parallel::per_chunk;
use super::real::Real;
use super::simd::vectorise;
use rayon::prelude::*;
use std::ops::Range;

/// Sums over the rows of the gradient, and of the gradient times `x - mean`.
pub(crate) struct GradientSums {
    pub(crate) gradient: Vec<f64>,
    pub(crate) product: Vec<f64>,
}

impl GradientSums {
    pub(crate) fn zeros(channels: usize) -> Self {
        Self {
            gradient: vec![0.0; channels],
            product: vec![0.0; channels],
        }
    }

    /// The sum of `parts`, in their order.
    pub(crate) fn of_parts(channels: usize, parts: &[Self]) -> Self {
        let mut total = Self::zeros(channels);
        for part in parts {
            for channel in 0..channels {
                total.gradient[channel] += part.gradient[channel];
                total.product[channel] += part.product[channel];
            }
        }
        total
    }
}

/// Where the rectifier behind the normalisation let nothing through.
#[derive(Clone, Copy)]
pub(crate) enum Mask<'a, T> {
    /// There is none.
    None,
    /// Where its output is 0, or at its ceiling.
    Out(&'a [T], Rectifier),
    /// The same for the normalised input, plus what skipped it: the output was never stored.
    Recomputed {
        affine: &'a Affine<T>,
        skip: Option<&'a [T]>,
    },
}

impl<'a, T> Mask<'a, T> {
    /// 0 none, 1 by the output, 2 recomputed, 3 recomputed with what skipped.
    fn kind(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Out(..) => 1,
            Self::Recomputed { skip: None, .. } => 2,
            Self::Recomputed { skip: Some(_), .. } => 3,
        }
    }

    fn has_ceiling(&self) -> bool {
        let rectifier = match self {
            Self::None => return false,
            Self::Out(_, rectifier) => *rectifier,
            Self::Recomputed { affine, .. } => affine.rectifier,
        };
        rectifier == Rectifier::Relu6
    }

    /// That of a part of the elements.
    pub(crate) fn part(self, range: Range<usize>) -> Self {
        match self {
            Self::None => Self::None,
            Self::Out(out, rectifier) => Self::Out(&out[range], rectifier),
            Self::Recomputed { affine, skip } => Self::Recomputed {
                affine,
                skip: skip.map(|skip| &skip[range]),
            },
        }
    }
}

/// Clears the gradient where `mask` says, and sums it over the rows.
pub(crate) fn gradient_sums<T: Real>(
    x: &[T],
    mean: &[T],
    mask: Mask<'_, T>,
    gradient: &mut [T],
) -> GradientSums {
    let channels = mean.len();
    let chunk = per_chunk(x.len() / channels) * channels;
    let parts: Vec<GradientSums> = gradient
        .par_chunks_mut(chunk)
        .zip(x.par_chunks(chunk))
        .enumerate()
        .map(|(index, (gradient, x))| {
            let mut sums = GradientSums::zeros(channels);
            let start = index * chunk;
            let mask = mask.part(start..start + x.len());
            add_gradient_sums(x, mean, mask, gradient, &mut sums);
            sums
        })
        .collect();
    GradientSums::of_parts(channels, &parts)
}

/// As [`gradient_sums`] for some of the rows, on the calling thread; adds to `sums`.
pub(crate) fn add_gradient_sums<T: Real>(
    x: &[T],
    mean: &[T],
    mask: Mask<'_, T>,
    gradient: &mut [T],
    sums: &mut GradientSums,
) {
    let channels = mean.len();
    let block = block_len(channels);
    let blocks = gradient.chunks_mut(block).zip(x.chunks(block)).enumerate();
    for (index, (gradient, x)) in blocks {
        let start = index * block;
        let mask = mask.part(start..start + x.len());
        vectorise(
            #[inline(always)]
            || match (mask.kind(), mask.has_ceiling()) {
                (0, _) => for_lanes!(channels, sum_block[0, false](x, mean, mask, gradient, sums)),
                (1, false) => {
                    for_lanes!(channels, sum_block[1, false](x, mean, mask, gradient, sums))
                }
                (2, false) => {
                    for_lanes!(channels, sum_block[2, false](x, mean, mask, gradient, sums))
                }
                (_, false) => {
                    for_lanes!(channels, sum_block[3, false](x, mean, mask, gradient, sums))
                }
                (1, true) => {
                    for_lanes!(channels, sum_block[1, true](x, mean, mask, gradient, sums))
                }
                (2, true) => {
                    for_lanes!(channels, sum_block[2, true](x, mean, mask, gradient, sums))
                }
                (_, true) => {
                    for_lanes!(channels, sum_block[3, true](x, mean, mask, gradient, sums))
                }
            },
        );
    }
}

/// `MASK` as [`Mask::kind`] numbers them; `CEILED` where the rectifier has a ceiling.
#[inline(always)]
fn sum_block<T: Real, const L: usize, const MASK: usize, const CEILED: bool>(
    channel: usize,
    x: &[T],
    mean: &[T],
    mask: Mask<'_, T>,
    gradient: &mut [T],
    sums: &mut GradientSums,
) {
    let channels = mean.len();
    let mean = lanes::<T, L>(mean, channel);
    let (by, affine) = match mask {
        Mask::None => (x, None),
        Mask::Out(out, _) => (out, None),
        Mask::Recomputed { affine, skip } => (skip.unwrap_or(x), Some(affine)),
    };
    let affine = affine.map(|affine| Lanes::<T, L>::new(affine, channel));
    let (mut sum, mut product) = ([T::zero(); L], [T::zero(); L]);
    let rows = gradient
        .chunks_exact_mut(channels)
        .zip(x.chunks_exact(channels));
    for ((gradient, x), by) in rows.zip(by.chunks_exact(channels)) {
        let (x, by) = (lanes::<T, L>(x, channel), lanes::<T, L>(by, channel));
        let gradient = &mut gradient[channel..channel + L];
        for lane in 0..L {
            let out = match (&affine, MASK) {
                (Some(affine), 2) => affine.value(lane, x[lane]),
                (Some(affine), 3) => affine.value(lane, x[lane]) + by[lane],
                _ => by[lane],
            };
            let mut kept = gradient[lane];
            if MASK > 0 {
                let closed = out <= T::zero() || (CEILED && out >= T::from_f64(CEILING));
                kept = if closed { T::zero() } else { kept };
                gradient[lane] = kept;
            }
            sum[lane] += kept;
            product[lane] += kept * (x[lane] - mean[lane]);
        }
    }
    flush(channel, &sum, &mut sums.gradient);
    flush(channel, &product, &mut sums.product);
}

/// What the gradient of the input is made of: `gradient * by_gradient + (x - mean) * by_input +
/// constant`.
pub(crate) struct InputGradient<T> {
    pub(crate) mean: Vec<T>,
    pub(crate) by_gradient: Vec<T>,
    pub(crate) by_input: Vec<T>,
    pub(crate) constant: Vec<T>,
}

/// Writes the gradient of `x` to `out`, on the calling thread.
pub(crate) fn input_gradient<T: Real>(
    terms: &InputGradient<T>,
    x: &[T],
    gradient: &[T],
    out: &mut [T],
) {
    let channels = terms.mean.len();
    let block = block_len(channels);
    let blocks = out
        .chunks_mut(block)
        .zip(x.chunks(block))
        .zip(gradient.chunks(block));
    for ((out, x), gradient) in blocks {
        vectorise(
            #[inline(always)]
            || for_lanes!(channels, input_gradient_block(terms, x, gradient, out)),
        );
    }
}

#[inline(always)]
fn input_gradient_block<T: Real, const L: usize>(
    channel: usize,
    terms: &InputGradient<T>,
    x: &[T],
    gradient: &[T],
    out: &mut [T],
) {
    let channels = terms.mean.len();
    let mean = lanes::<T, L>(&terms.mean, channel);
    let by_gradient = lanes::<T, L>(&terms.by_gradient, channel);
    let by_input = lanes::<T, L>(&terms.by_input, channel);
    let constant = lanes::<T, L>(&terms.constant, channel);
    let rows = out.chunks_exact_mut(channels).zip(x.chunks_exact(channels));
    for ((out, x), gradient) in rows.zip(gradient.chunks_exact(channels)) {
        let (x, gradient) = (lanes::<T, L>(x, channel), lanes::<T, L>(gradient, channel));
        let out = &mut out[channel..channel + L];
        for lane in 0..L {
            out[lane] = gradient[lane] * by_gradient[lane]
                + (x[lane] - mean[lane]) * by_input[lane]
                + constant[lane];
        }
    }
}
