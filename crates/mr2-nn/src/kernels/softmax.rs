//! Rows of scores to probabilities, for loops compiled for an instruction set.

use super::real::Real;

/// Partial results of a row, in one order on every instruction set.
const LANES: usize = 16;

/// Scaled scores of one row to probabilities; returns the logarithm of the sum of exponentials.
#[inline(always)]
pub(super) fn softmax<T: Real>(scores: &mut [T], scale: T) -> T {
    let mut lanes = [scores[0]; LANES];
    let (whole, rest) = scores.as_chunks::<LANES>();
    for chunk in whole {
        for (max, &score) in lanes.iter_mut().zip(chunk) {
            *max = if score > *max { score } else { *max };
        }
    }
    let larger = |max: T, &score: &T| if score > max { score } else { max };
    let max = rest
        .iter()
        .fold(lanes.iter().fold(scores[0], larger), larger);
    let mut lanes = [T::zero(); LANES];
    let (whole, rest) = scores.as_chunks_mut::<LANES>();
    for chunk in whole {
        for (sum, score) in lanes.iter_mut().zip(chunk) {
            *score = ((*score - max) * scale).exponential();
            *sum += *score;
        }
    }
    for (sum, score) in lanes.iter_mut().zip(rest) {
        *score = ((*score - max) * scale).exponential();
        *sum += *score;
    }
    let sum = lanes.iter().fold(T::zero(), |sum, &lane| sum + lane);
    let factor = T::one() / sum;
    scores.iter_mut().for_each(|score| *score *= factor);
    max * scale + sum.logarithm()
}

/// The sum of products of two rows.
#[inline(always)]
pub(super) fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    let mut lanes = [T::zero(); LANES];
    for (a, b) in a.chunks(LANES).zip(b.chunks(LANES)) {
        for ((sum, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    lanes.iter().fold(T::zero(), |sum, &lane| sum + lane)
}
