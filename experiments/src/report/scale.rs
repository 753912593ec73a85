//! How numbers are written.

use serde::{Deserialize, Serialize};

/// How a number is written; the data keep the number itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "unit")]
pub enum Scale {
    /// A share in [0, 1], or a difference of shares, written in percent with one decimal.
    Percent,
    /// The number itself.
    Plain {
        /// Digits after the point.
        decimals: usize,
    },
    /// A probability: three decimals, `<0.001` below.
    Probability {},
}

impl Scale {
    /// The number without a sign of its own where it rounds to 0.
    pub fn write(self, value: f64) -> String {
        let text = match self {
            Self::Percent => format!("{:.1}", value * 100.0),
            Self::Plain { decimals } => format!("{value:.decimals$}"),
            Self::Probability {} if value < 0.001 => "<0.001".into(),
            Self::Probability {} => format!("{value:.3}"),
        };
        match text.strip_prefix('-') {
            Some(digits) if digits.chars().all(|c| c == '0' || c == '.') => digits.into(),
            _ => text,
        }
    }

    /// The number with + or -, or no sign where it rounds to 0.
    pub fn signed(self, value: f64) -> String {
        let text = self.write(value);
        let zero = text.chars().all(|c| c == '0' || c == '.');
        if value > 0.0 && !zero {
            format!("+{text}")
        } else {
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probability_is_never_written_as_0() {
        let written = [0.0, 0.00099, 0.001, 0.0316, 1.0].map(|p| Scale::Probability {}.write(p));
        assert_eq!(written, ["<0.001", "<0.001", "0.001", "0.032", "1.000"]);
    }
}
