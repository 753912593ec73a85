//! A value of each run as one cell.

use mr2_metrics::mean_sd;

use crate::report::{Cell, Scale};

/// Mean and standard deviation over the runs; absent where any run lacks the value.
pub fn over_seeds(values: impl Iterator<Item = Option<f64>>, scale: Scale) -> Cell {
    let values: Option<Vec<f64>> = values.collect();
    Cell::measure(values.and_then(|values| mean_sd(&values).ok()), scale)
}
