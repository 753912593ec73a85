//! Mean and standard deviation over seeds.

use serde::{Deserialize, Serialize};

use crate::error::{Error, check_finite};

/// Mean, sample standard deviation and number of values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MeanSd {
    /// Arithmetic mean.
    pub mean: f64,
    /// Standard deviation with the divisor n − 1; `None` for one value.
    pub sd: Option<f64>,
    /// Number of values.
    pub n: usize,
}

/// Mean and standard deviation (divisor n − 1) of `values`.
///
/// # Errors
/// No value, or a NaN or infinite one.
pub fn mean_sd(values: &[f64]) -> Result<MeanSd, Error> {
    if values.is_empty() {
        return Err(Error::Empty {
            what: "values",
            minimum: 1,
        });
    }
    check_finite("values", values.iter().copied())?;
    let n = values.len();
    let mean = values.iter().sum::<f64>() / n as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Ok(MeanSd {
        mean,
        sd: (n > 1).then(|| (squares / (n - 1) as f64).sqrt()),
        n,
    })
}
