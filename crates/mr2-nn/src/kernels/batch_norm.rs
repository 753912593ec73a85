//! Batch normalisation over rows of channels: one pass for the statistics, one to apply them. The
//! skip connection and the rectifier ride along.

use super::channel_lanes::{block_len, flush, for_lanes, lanes};
use super::elementwise::rectified;
use super::parallel::per_chunk;
use super::real::Real;
use super::simd::vectorise;
use rayon::prelude::*;

/// Mean and biased variance of every channel.
#[derive(Clone)]
pub(crate) struct Moments {
    pub(crate) mean: Vec<f64>,
    pub(crate) variance: Vec<f64>,
}

impl Moments {
    /// Those of all rows, from rows, means and sums of squared deviations of the parts, in their order.
    pub(crate) fn of_parts(channels: usize, parts: &[(f64, Moments)]) -> Self {
        let mut total = Moments {
            mean: vec![0.0; channels],
            variance: vec![0.0; channels],
        };
        let mut count = 0.0;
        for (n, part) in parts {
            let sum = count + n;
            for channel in 0..channels {
                let delta = part.mean[channel] - total.mean[channel];
                total.mean[channel] += delta * n / sum;
                total.variance[channel] += part.variance[channel] + delta * delta * count * n / sum;
            }
            count = sum;
        }
        total
            .variance
            .iter_mut()
            .for_each(|variance| *variance /= count);
        total
    }
}

/// Statistics of `x`, (rows, channels).
pub(crate) fn moments<T: Real>(x: &[T], channels: usize) -> Moments {
    let chunk = per_chunk(x.len() / channels) * channels;
    let parts: Vec<(f64, Moments)> = x
        .par_chunks(chunk)
        .map(|part| part_moments(part, channels))
        .collect();
    Moments::of_parts(channels, &parts)
}

/// Rows, means and sums of squared deviations of a part, taken about its first row so that a
/// large mean costs no digits.
pub(crate) fn part_moments<T: Real>(x: &[T], channels: usize) -> (f64, Moments) {
    let (mut sums, mut squares) = (vec![0f64; channels], vec![0f64; channels]);
    let origin = &x[..channels];
    for block in x.chunks(block_len(channels)) {
        vectorise(
            #[inline(always)]
            || {
                for_lanes!(
                    channels,
                    add_moments(block, origin, &mut sums, &mut squares)
                )
            },
        );
    }
    let rows = (x.len() / channels) as f64;
    for channel in 0..channels {
        squares[channel] = (squares[channel] - sums[channel] * sums[channel] / rows).max(0.0);
        sums[channel] = origin[channel].to_f64() + sums[channel] / rows;
    }
    (
        rows,
        Moments {
            mean: sums,
            variance: squares,
        },
    )
}

#[inline(always)]
fn add_moments<T: Real, const L: usize>(
    channel: usize,
    block: &[T],
    origin: &[T],
    sums: &mut [f64],
    squares: &mut [f64],
) {
    let origin_lanes = lanes::<T, L>(origin, channel);
    let (mut sum, mut square) = ([T::zero(); L], [T::zero(); L]);
    for row in block.chunks_exact(origin.len()) {
        let row = lanes::<T, L>(row, channel);
        for lane in 0..L {
            let deviation = row[lane] - origin_lanes[lane];
            sum[lane] += deviation;
            square[lane] += deviation * deviation;
        }
    }
    flush(channel, &sum, sums);
    flush(channel, &square, squares);
}

/// What follows the normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rectifier {
    None,
    /// `max(., 0)`.
    Relu,
    /// `min(max(., 0), 6)`.
    Relu6,
}

/// Where [`Rectifier::Relu6`] ends.
pub(super) const CEILING: f64 = 6.0;

/// The rectifier by its number, for loops that are compiled for each; NaN stays NaN, as in PyTorch.
#[inline(always)]
fn rectify<T: Real, const RECTIFIER: u8>(value: T) -> T {
    let ceiling = T::from_f64(CEILING);
    match RECTIFIER {
        0 => value,
        2 if value >= ceiling => ceiling,
        _ => rectified(value),
    }
}

/// Calls a function compiled for each combination of skip connection and rectifier.
macro_rules! for_each_kind {
    ($skip:expr, $rectifier:expr, $channels:expr, $function:ident($($argument:expr),*)) => {
        match ($skip, $rectifier) {
            (false, Rectifier::None) => for_lanes!($channels, $function[false, 0]($($argument),*)),
            (false, Rectifier::Relu) => for_lanes!($channels, $function[false, 1]($($argument),*)),
            (false, Rectifier::Relu6) => for_lanes!($channels, $function[false, 2]($($argument),*)),
            (true, Rectifier::None) => for_lanes!($channels, $function[true, 0]($($argument),*)),
            (true, Rectifier::Relu) => for_lanes!($channels, $function[true, 1]($($argument),*)),
            (true, Rectifier::Relu6) => for_lanes!($channels, $function[true, 2]($($argument),*)),
        }
    };
}

/// What is done to each channel: `(x - mean) * scale + shift`, then `+ skip`, then the rectifier.
#[derive(Clone)]
pub(crate) struct Affine<T> {
    pub(crate) mean: Vec<T>,
    pub(crate) scale: Vec<T>,
    pub(crate) shift: Vec<T>,
    pub(crate) rectifier: Rectifier,
}

/// Applies `affine` to rows of `x`, on the calling thread.
pub(crate) fn apply<T: Real>(affine: &Affine<T>, x: &[T], skip: Option<&[T]>, out: &mut [T]) {
    let channels = affine.mean.len();
    let block = block_len(channels);
    // Without a skip connection its place is taken by `x`, which is loaded anyway.
    let blocks = out
        .chunks_mut(block)
        .zip(x.chunks(block))
        .zip(skip.unwrap_or(x).chunks(block));
    for ((out, x), added) in blocks {
        vectorise(
            #[inline(always)]
            || {
                for_each_kind!(
                    skip.is_some(),
                    affine.rectifier,
                    channels,
                    apply_block(affine, x, added, out)
                )
            },
        );
    }
}

#[inline(always)]
fn apply_block<T: Real, const L: usize, const SKIP: bool, const RECTIFIER: u8>(
    channel: usize,
    affine: &Affine<T>,
    x: &[T],
    skip: &[T],
    out: &mut [T],
) {
    let channels = affine.mean.len();
    let affine = Lanes::<T, L>::new(affine, channel);
    let rows = out.chunks_exact_mut(channels).zip(x.chunks_exact(channels));
    for ((out, x), skip) in rows.zip(skip.chunks_exact(channels)) {
        let (x, skip) = (lanes::<T, L>(x, channel), lanes::<T, L>(skip, channel));
        let out = &mut out[channel..channel + L];
        for lane in 0..L {
            let mut y = affine.value(lane, x[lane]);
            if SKIP {
                y += skip[lane];
            }
            out[lane] = rectify::<T, RECTIFIER>(y);
        }
    }
}

/// The coefficients of neighbouring channels.
pub(super) struct Lanes<T, const L: usize> {
    mean: [T; L],
    scale: [T; L],
    shift: [T; L],
}

impl<T: Real, const L: usize> Lanes<T, L> {
    #[inline(always)]
    pub(super) fn new(affine: &Affine<T>, channel: usize) -> Self {
        Self {
            mean: lanes(&affine.mean, channel),
            scale: lanes(&affine.scale, channel),
            shift: lanes(&affine.shift, channel),
        }
    }

    /// The same arithmetic wherever it is done, so that recomputed values have the same bits.
    #[inline(always)]
    pub(super) fn value(&self, lane: usize, x: T) -> T {
        (x - self.mean[lane]) * self.scale[lane] + self.shift[lane]
    }
}

/// Applies `affine` to rows in place, on the calling thread.
pub(crate) fn apply_in_place<T: Real>(affine: &Affine<T>, skip: Option<&[T]>, rows: &mut [T]) {
    let channels = affine.mean.len();
    let block = block_len(channels);
    for (index, rows) in rows.chunks_mut(block).enumerate() {
        let start = index * block;
        let skip = skip.map_or(&[][..], |skip| &skip[start..start + rows.len()]);
        vectorise(
            #[inline(always)]
            || {
                for_each_kind!(
                    !skip.is_empty(),
                    affine.rectifier,
                    channels,
                    in_place_block(affine, skip, rows)
                )
            },
        );
    }
}

#[inline(always)]
fn in_place_block<T: Real, const L: usize, const SKIP: bool, const RECTIFIER: u8>(
    channel: usize,
    affine: &Affine<T>,
    skip: &[T],
    rows: &mut [T],
) {
    let channels = affine.mean.len();
    let affine = Lanes::<T, L>::new(affine, channel);
    for (index, row) in rows.chunks_exact_mut(channels).enumerate() {
        let row = &mut row[channel..channel + L];
        let mut skipped = [T::zero(); L];
        if SKIP {
            skipped = lanes::<T, L>(&skip[index * channels..(index + 1) * channels], channel);
        }
        for lane in 0..L {
            let y = affine.value(lane, row[lane]) + skipped[lane];
            row[lane] = rectify::<T, RECTIFIER>(y);
        }
    }
}
