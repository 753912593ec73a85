//! Easy, medium and hard thirds of the classes.

use serde::{Deserialize, Serialize};

use crate::error::{Error, check_finite_present};

/// The classes by difficulty, each group in ascending class order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thirds {
    /// The ⌊K/3⌋ classes with the highest reference accuracy.
    pub easy: Vec<usize>,
    /// What lies between, with the remainder of K/3.
    pub medium: Vec<usize>,
    /// The ⌊K/3⌋ classes with the lowest reference accuracy.
    pub hard: Vec<usize>,
}

/// Splits the classes that have an accuracy into thirds; `None` if fewer than three have one.
///
/// ```
/// let reference = [Some(0.9), Some(0.5), None, Some(0.7), Some(0.8)];
/// let thirds = mr2_metrics::thirds(&reference)?.expect("four classes have an accuracy");
/// assert_eq!((thirds.easy, thirds.medium, thirds.hard), (vec![0], vec![3, 4], vec![1]));
/// # Ok::<(), mr2_metrics::Error>(())
/// ```
///
/// # Errors
/// A NaN or infinite accuracy.
pub fn thirds(reference: &[Option<f64>]) -> Result<Option<Thirds>, Error> {
    let order = hardest_first(reference)?;
    let size = order.len() / 3;
    if size == 0 {
        return Ok(None);
    }
    let group = |range: std::ops::Range<usize>| {
        let mut classes = order[range].to_vec();
        classes.sort_unstable();
        classes
    };
    Ok(Some(Thirds {
        easy: group(order.len() - size..order.len()),
        medium: group(size..order.len() - size),
        hard: group(0..size),
    }))
}

/// The classes that have an accuracy, lowest accuracy first, ties by class index. Thirds,
/// worst class and worst decile are all cut from this one order, so that they are nested.
///
/// Accuracies are first rounded to multiples of 2⁻⁴⁰ (1e-12): means over seeds of the same
/// fractions summed in another order must not change the order of the classes.
///
/// # Errors
/// A NaN or infinite accuracy.
pub fn hardest_first(reference: &[Option<f64>]) -> Result<Vec<usize>, Error> {
    check_finite_present("reference accuracy", reference)?;
    let mut order: Vec<(f64, usize)> = reference
        .iter()
        .enumerate()
        .filter_map(|(class, accuracy)| accuracy.map(|accuracy| (rounded(accuracy), class)))
        .collect();
    order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    Ok(order.into_iter().map(|(_, class)| class).collect())
}

/// An accuracy in whole steps of 2⁻⁴⁰, so that equal means tie whatever the order of their sums.
pub(crate) fn rounded(accuracy: f64) -> f64 {
    // A power of two scales without rounding.
    (accuracy * (1u64 << 40) as f64).round()
}
