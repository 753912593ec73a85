//! How settings are judged on validation images, by `mr2 tune` and by the tables alike.

/// The score that counts the hard third as much as all classes: the mean of both accuracies.
pub fn overall_and_hard(overall: f64, hard: f64) -> f64 {
    (overall + hard) / 2.0
}

/// What has the highest score; the first of equals.
pub fn highest<T>(scored: impl DoubleEndedIterator<Item = (T, f64)>) -> Option<T> {
    // Of equals, `max_by` takes the last.
    let best = scored.rev().max_by(|a, b| a.1.total_cmp(&b.1));
    best.map(|(item, _)| item)
}
