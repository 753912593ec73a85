//! Top-k accuracy from one score per image and class.

use crate::error::{Error, check_finite, check_length};
use crate::per_class::PerClass;

/// Counts an image as correct if fewer than `k` classes beat its label, where a class beats
/// the label by a higher score, or by an equal score and a lower index. With `k = 1` that is
/// the accuracy of [`arg_max`].
///
/// `scores` holds the images one after the other, `classes` values each; logits and
/// probabilities give the same result. With `k` of at least `classes` every image is correct.
///
/// # Errors
/// `scores.len() != labels.len() * classes`, a NaN or infinite score, a label out of range,
/// no image, or `k = 0`.
pub fn top_k<S: Copy + Into<f64>>(
    labels: &[u32],
    scores: &[S],
    classes: usize,
    k: usize,
) -> Result<PerClass, Error> {
    if k == 0 {
        return Err(Error::Setting {
            name: "k",
            value: 0.0,
            expected: "at least 1",
        });
    }
    check_scores(labels.len(), scores, classes)?;
    let hits = labels.iter().enumerate().map(|(row, &label)| {
        let (row, label) = (&scores[row * classes..(row + 1) * classes], label as usize);
        // `from_hits` refuses a label out of range before it asks for a hit.
        let own: f64 = row[label].into();
        let beats = |class: usize, score: f64| score > own || (score == own && class < label);
        let ahead = row
            .iter()
            .enumerate()
            .filter(|&(class, &score)| beats(class, score.into()));
        ahead.count() < k
    });
    PerClass::from_hits(labels, hits, classes)
}

/// The class with the highest score of every image, the lowest index among equals.
///
/// # Errors
/// A length that is no multiple of `classes`, or a NaN or infinite score.
pub fn arg_max<S: Copy + Into<f64>>(scores: &[S], classes: usize) -> Result<Vec<u32>, Error> {
    check_scores(scores.len() / classes.max(1), scores, classes)?;
    Ok(scores
        .chunks_exact(classes)
        .map(|row| arg_max_row(row) as u32)
        .collect())
}

/// Position of the first maximum.
pub(crate) fn arg_max_row<S: Copy + Into<f64>>(row: &[S]) -> usize {
    let mut best = 0;
    for (class, &score) in row.iter().enumerate() {
        if score.into() > row[best].into() {
            best = class;
        }
    }
    best
}

/// Refuses a score table of the wrong size or with numbers that have no order.
pub(crate) fn check_scores<S: Copy + Into<f64>>(
    images: usize,
    scores: &[S],
    classes: usize,
) -> Result<(), Error> {
    if classes == 0 {
        return Err(Error::Empty {
            what: "classes",
            minimum: 1,
        });
    }
    check_length(
        "scores (images x classes)",
        images.saturating_mul(classes),
        scores.len(),
    )?;
    check_finite("scores", scores.iter().map(|&score| score.into()))
}
