//! Values of one number to try.

use serde::{Deserialize, Serialize};

use super::config::require;
use crate::error::Result;

/// Values to try.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Grid {
    /// All of these.
    Values {
        /// Each.
        values: Vec<f64>,
    },
    /// Of values at equal steps of the logarithm, first every so many, then those half as far to both sides of the
    /// best, and so on down to neighbours; of equals the smallest value is the best (CLIP, arXiv 2103.00020, A.3).
    Peak {
        /// The smallest.
        lowest: f64,
        /// The largest.
        highest: f64,
        /// How many there are.
        points: usize,
        /// How far apart the first ones are, a power of two.
        first_stride: usize,
    },
}

impl Grid {
    /// The values, ascending where they are searched.
    pub(super) fn values(&self) -> Vec<f64> {
        match self {
            Self::Values { values } => values.clone(),
            Self::Peak {
                lowest,
                highest,
                points,
                ..
            } => {
                let (low, high) = (lowest.log10(), highest.log10());
                let step = (high - low) / (*points - 1) as f64;
                (0..*points)
                    .map(|point| 10f64.powf(low + step * point as f64))
                    .collect()
            }
        }
    }

    pub(super) fn check(&self, key: &'static str, smallest: f64) -> Result<()> {
        let fits = |value: f64| value.is_finite() && value >= smallest;
        let (right, rule) = match self {
            Self::Values { values } => (
                !values.is_empty() && values.iter().all(|&value| fits(value)),
                "values must be at least one, finite and not negative (C: positive)",
            ),
            Self::Peak {
                lowest,
                highest,
                points,
                first_stride,
            } => (
                *lowest > 0.0
                    && highest.is_finite()
                    && lowest < highest
                    && *points >= 2
                    && first_stride.is_power_of_two()
                    && (points - 1).is_multiple_of(*first_stride),
                "0 < lowest < highest, 2 points or more, and a first_stride that is a power of two and divides points - 1",
            ),
        };
        require(key, right, rule)
    }
}
