//! Holm's correction of p-values for their number.
//!
//! Of twenty methods that are all the reference under another name, one comes out "better" or
//! "worse" at the 5 % level on average. Holm's step-down correction keeps the probability of
//! even one such verdict below the level, whatever the dependence between the tests, and is
//! never less powerful than Bonferroni's (S. Holm, "A simple sequentially rejective multiple
//! test procedure", Scandinavian Journal of Statistics 6, 1979).

use crate::error::{Error, check_finite_present};

/// Holm-adjusted p-values, in the order of `p`: with m tests, the smallest p times m, the next
/// times m − 1 and so on, none below the one before it and none above 1. An adjusted p at or
/// below a level decides its test at that level for the whole family.
///
/// `None` stands for a comparison without a test (one seed, say): it stays `None` and is not
/// counted among the m.
///
/// ```
/// let adjusted = mr2_metrics::holm(&[Some(0.01), None, Some(0.04), Some(0.03)])?;
/// assert_eq!(adjusted, [Some(0.03), None, Some(0.06), Some(0.06)]);
/// # Ok::<(), mr2_metrics::Error>(())
/// ```
///
/// # Errors
/// A NaN, or a p outside [0, 1].
pub fn holm(p: &[Option<f64>]) -> Result<Vec<Option<f64>>, Error> {
    check_finite_present("p", p)?;
    let mut ascending: Vec<(f64, usize)> = Vec::with_capacity(p.len());
    for (position, value) in p.iter().enumerate() {
        match *value {
            Some(value) if !(0.0..=1.0).contains(&value) => {
                return Err(Error::Setting {
                    name: "p",
                    value,
                    expected: "a probability from 0 to 1",
                });
            }
            Some(value) => ascending.push((value, position)),
            None => {}
        }
    }
    ascending.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let mut adjusted = vec![None; p.len()];
    let mut largest: f64 = 0.0;
    for (rank, &(value, position)) in ascending.iter().enumerate() {
        let remaining = (ascending.len() - rank) as f64;
        largest = largest.max((remaining * value).min(1.0));
        adjusted[position] = Some(largest);
    }
    Ok(adjusted)
}
