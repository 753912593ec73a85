//! The cross-entropy of several heads side by side, on rows of logits that become their gradient.

use super::exponential::exponential;
use super::parallel::per_chunk;
use super::simd::vectorise;
use rayon::prelude::*;

/// Partial results of a row, in one order on every instruction set.
const LANES: usize = 16;

/// What every row's loss needs besides its logits.
#[derive(Clone, Copy)]
pub(crate) struct Targets<'a> {
    pub(crate) labels: &'a [u32],
    /// (heads, classes): what a head's logits are multiplied by where the class is the label.
    pub(crate) scales: &'a [f32],
    pub(crate) classes: usize,
    /// What the gradient is multiplied by.
    pub(crate) factor: f32,
}

/// The sum of the rows' losses of each head; `logits`, rows of (heads, classes), become the gradient of its product
/// with the factor.
pub(crate) fn cross_entropy(logits: &mut [f32], targets: Targets<'_>) -> Vec<f64> {
    let (width, rows) = (targets.scales.len(), targets.labels.len());
    let chunk = per_chunk(rows);
    let parts: Vec<Vec<f64>> = logits
        .par_chunks_mut(chunk * width)
        .zip(targets.labels.par_chunks(chunk))
        .map(|(logits, labels)| {
            let mut losses = vec![0f64; width / targets.classes];
            vectorise(
                #[inline(always)]
                || chunk_of_rows(logits, labels, targets, &mut losses),
            );
            losses
        })
        .collect();
    (0..width / targets.classes)
        .map(|head| parts.iter().map(|part| part[head]).sum())
        .collect()
}

#[inline(always)]
fn chunk_of_rows(logits: &mut [f32], labels: &[u32], targets: Targets<'_>, losses: &mut [f64]) {
    let classes = targets.classes;
    for (row, &label) in logits.chunks_exact_mut(targets.scales.len()).zip(labels) {
        let heads = row.chunks_exact_mut(classes);
        let scales = targets.scales.chunks_exact(classes);
        for ((logits, scales), loss) in heads.zip(scales).zip(losses.iter_mut()) {
            let label = label as usize;
            *loss += one_row(logits, label, scales[label], targets.factor);
        }
    }
}

/// The label's exponential is kept out of the sum of the others, so that a small loss and its gradient keep their digits.
#[inline(always)]
fn one_row(logits: &mut [f32], label: usize, scale: f32, factor: f32) -> f64 {
    let (at_label, peak) = (logits[label], largest(logits));
    for logit in logits.iter_mut() {
        *logit = exponential((*logit - peak) * scale);
    }
    let own = logits[label];
    logits[label] = 0.0;
    let others = total(logits);
    let sum = own + others;
    let share = factor * scale / sum;
    for logit in logits.iter_mut() {
        *logit *= share;
    }
    logits[label] = -others * share;
    if own > 0.5 * sum {
        f64::from(others / own).ln_1p()
    } else {
        f64::from(sum).ln() - f64::from(at_label - peak) * f64::from(scale)
    }
}

#[inline(always)]
fn largest(values: &[f32]) -> f32 {
    let larger = |max: f32, value: f32| if value > max { value } else { max };
    let mut lanes = [values[0]; LANES];
    let (whole, rest) = values.as_chunks::<LANES>();
    for chunk in whole {
        for (max, &value) in lanes.iter_mut().zip(chunk) {
            *max = larger(*max, value);
        }
    }
    let max = lanes.into_iter().fold(values[0], larger);
    rest.iter().copied().fold(max, larger)
}

#[inline(always)]
fn total(values: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (whole, rest) = values.as_chunks::<LANES>();
    for chunk in whole {
        for (sum, &value) in lanes.iter_mut().zip(chunk) {
            *sum += value;
        }
    }
    for (sum, &value) in lanes.iter_mut().zip(rest) {
        *sum += value;
    }
    lanes.iter().sum()
}
