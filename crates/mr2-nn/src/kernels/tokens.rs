//! Sequences of tokens, (batch, token, feature): embeddings, selection and means.

use super::parallel::per_chunk;
use super::real::Real;
use rayon::prelude::*;

/// `out = [class, patches] + positions`; without a class token, `patches + positions`.
pub(crate) fn embed<T: Real>(
    patches: &[T],
    class: Option<&[T]>,
    positions: &[T],
    features: usize,
    out: &mut [T],
) {
    let length = positions.len();
    let own = length - class.map_or(0, <[T]>::len);
    out.par_chunks_mut(length)
        .zip(patches.par_chunks(own))
        .for_each(|(out, patches)| {
            let first = out.len() - patches.len();
            if let Some(class) = class {
                out[..features].copy_from_slice(class);
            }
            out[first..].copy_from_slice(patches);
            for (out, &position) in out.iter_mut().zip(positions) {
                *out += position;
            }
        });
}

/// The sum over the batch of sequences of `length` elements: the gradient of position embeddings, and in
/// its first `features` elements that of a class token.
pub(crate) fn sum_batch<T: Real>(gradient: &[T], length: usize) -> Vec<T> {
    let mut sums = vec![T::zero(); length];
    let chunk = per_chunk(length);
    sums.par_chunks_mut(chunk)
        .enumerate()
        .for_each(|(index, sums)| {
            for image in gradient.chunks_exact(length) {
                let own = &image[index * chunk..][..sums.len()];
                for (sum, &value) in sums.iter_mut().zip(own) {
                    *sum += value;
                }
            }
        });
    sums
}

/// The last `rows * features` elements of each sequence, in `to`.
pub(crate) fn without_first<T: Real>(from: &[T], length: usize, own: usize, to: &mut [T]) {
    to.par_chunks_mut(own)
        .zip(from.par_chunks(length))
        .for_each(|(to, from)| to.copy_from_slice(&from[length - own..]));
}

/// The mean of tokens `first..first + count` of each sequence of `length` elements.
pub(crate) fn mean_tokens<T: Real>(
    x: &[T],
    features: usize,
    length: usize,
    [first, count]: [usize; 2],
) -> Vec<T> {
    let mut means = vec![T::zero(); x.len() / length * features];
    let scale = T::one() / T::from_f64(count as f64);
    for (mean, x) in means.chunks_exact_mut(features).zip(x.chunks_exact(length)) {
        for token in x[first * features..][..count * features].chunks_exact(features) {
            for (mean, &value) in mean.iter_mut().zip(token) {
                *mean += value;
            }
        }
        mean.iter_mut().for_each(|mean| *mean *= scale);
    }
    means
}

/// The gradient of [`mean_tokens`].
pub(crate) fn spread_tokens<T: Real>(
    gradient: &[T],
    features: usize,
    length: usize,
    [first, count]: [usize; 2],
    out: &mut [T],
) {
    let scale = T::one() / T::from_f64(count as f64);
    out.par_chunks_mut(length)
        .zip(gradient.par_chunks(features))
        .for_each(|(out, gradient)| {
            out.fill(T::zero());
            for token in out[first * features..][..count * features].chunks_exact_mut(features) {
                for (value, &gradient) in token.iter_mut().zip(gradient) {
                    *value = gradient * scale;
                }
            }
        });
}
