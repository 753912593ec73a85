//! The paper's way of choosing an epoch, to be shown beside an honest one.

use serde::{Deserialize, Serialize};

use crate::error::{Error, check_finite_present};

/// The best of a run's epochs on test images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BestOnTest {
    /// Its position among the accuracies given, counted from 0.
    pub position: usize,
    /// Its accuracy.
    pub accuracy: f64,
}

/// The highest of a run's test accuracies, one for each epoch, and the first epoch that reached
/// it; `None` if no epoch was tested (`None` stands for one that wasn't).
///
/// Optimistic, and only there to stand beside tables made that way: the epoch is chosen on the
/// images that it is scored on. The maximum of many noisy numbers exceeds what any of these
/// networks would reach on new images, and methods whose accuracy fluctuates more gain more.
///
/// ```
/// let best = mr2_metrics::best_on_test(&[Some(0.7), None, Some(0.72), Some(0.71)])?;
/// let best = best.expect("three epochs were tested");
/// assert_eq!((best.position, best.accuracy), (2, 0.72));
/// # Ok::<(), mr2_metrics::Error>(())
/// ```
///
/// # Errors
/// A NaN or infinite accuracy.
pub fn best_on_test(accuracies: &[Option<f64>]) -> Result<Option<BestOnTest>, Error> {
    check_finite_present("accuracies", accuracies)?;
    let tested = accuracies
        .iter()
        .enumerate()
        .filter_map(|(position, accuracy)| {
            accuracy.map(|accuracy| BestOnTest { position, accuracy })
        });
    Ok(tested.reduce(|best, next| {
        if next.accuracy > best.accuracy {
            next
        } else {
            best
        }
    }))
}
