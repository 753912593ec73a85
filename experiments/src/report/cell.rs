//! One cell of a table: the numbers as measured, and how they are written.

use mr2_metrics::{Interval, MeanSd, PairedDifference};
use serde::{Deserialize, Serialize};

use super::published::Published;
use super::scale::Scale;

/// What a cell without a number shows.
pub const ABSENT: &str = "–";

/// The content of a cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Cell {
    /// There is no such number: an absent class, an interval of one seed.
    Absent,
    /// Words, such as a class name; escaped when rendered.
    Text {
        /// The words.
        text: String,
    },
    /// A number of things.
    Count {
        /// The number.
        value: u64,
    },
    /// A mean over seeds: `85.3 ± 0.4 (3)`, without ± for one seed.
    Measure {
        /// Mean over the seeds.
        mean: f64,
        /// Standard deviation; `None` for one seed.
        sd: Option<f64>,
        /// Number of seeds.
        n: usize,
        /// How it is written.
        scale: Scale,
    },
    /// A difference with its interval: `+0.5 [-0.3, +1.2]`, or `identical`.
    Difference {
        /// Mean difference.
        mean: f64,
        /// Its interval; `None` where n = 1 or the difference is the same in every seed.
        interval: Option<Interval>,
        /// Whether the difference is exactly 0 in every seed.
        identical: bool,
        /// Number of pairs.
        n: usize,
        /// How it is written.
        scale: Scale,
    },
    /// One number with an interval: `85.3 [84.1, 86.4]`.
    Estimate {
        /// The number.
        value: f64,
        /// Its interval, if there is one.
        interval: Option<Interval>,
        /// How it is written.
        scale: Scale,
    },
    /// An interval alone, beside the number that it belongs to: `[84.1, 86.4]`.
    Range {
        /// The interval.
        interval: Interval,
        /// How its ends are written.
        scale: Scale,
    },
    /// What others published: `71.8 (paper)`.
    Published {
        /// What is known of it.
        published: Published,
    },
}

impl Cell {
    /// Words.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into() }
    }

    /// A number of things.
    pub fn count(value: usize) -> Self {
        Self::Count {
            value: value as u64,
        }
    }

    /// A mean over seeds, or nothing.
    pub fn measure(summary: Option<MeanSd>, scale: Scale) -> Self {
        match summary {
            Some(MeanSd { mean, sd, n }) => Self::Measure { mean, sd, n, scale },
            None => Self::Absent,
        }
    }

    /// A paired difference, or nothing.
    pub fn difference(paired: Option<&PairedDifference>, scale: Scale) -> Self {
        match paired {
            Some(p) => Self::Difference {
                mean: p.mean,
                interval: p.interval,
                identical: p.identical,
                n: p.n,
                scale,
            },
            None => Self::Absent,
        }
    }

    /// One number with an interval, or nothing.
    pub fn estimate(value: Option<f64>, interval: Option<Interval>, scale: Scale) -> Self {
        match value {
            Some(value) => Self::Estimate {
                value,
                interval,
                scale,
            },
            None => Self::Absent,
        }
    }

    /// An interval alone, or nothing.
    pub fn range(interval: Option<Interval>, scale: Scale) -> Self {
        interval.map_or(Self::Absent, |interval| Self::Range { interval, scale })
    }

    /// The cell as plain text; words are not escaped yet.
    pub fn plain(&self) -> String {
        match self {
            Self::Absent => ABSENT.into(),
            Self::Text { text } => text.clone(),
            Self::Count { value } => value.to_string(),
            Self::Measure {
                mean,
                sd: Some(sd),
                n,
                scale,
            } => {
                format!("{} ± {} ({n})", scale.write(*mean), scale.write(*sd))
            }
            Self::Measure {
                mean,
                sd: None,
                n,
                scale,
            } => format!("{} ({n})", scale.write(*mean)),
            Self::Difference {
                identical: true, ..
            } => "identical".into(),
            Self::Difference {
                mean,
                interval,
                scale,
                ..
            } => match interval {
                Some(Interval { low, high }) => format!(
                    "{} [{}, {}]",
                    scale.signed(*mean),
                    scale.signed(*low),
                    scale.signed(*high)
                ),
                None => scale.signed(*mean),
            },
            Self::Estimate {
                value,
                interval: Some(Interval { low, high }),
                scale,
            } => {
                format!(
                    "{} [{}, {}]",
                    scale.write(*value),
                    scale.write(*low),
                    scale.write(*high)
                )
            }
            Self::Estimate {
                value,
                interval: None,
                scale,
            } => scale.write(*value),
            Self::Range {
                interval: Interval { low, high },
                scale,
            } => {
                format!("[{}, {}]", scale.write(*low), scale.write(*high))
            }
            Self::Published { published } => published.plain(),
        }
    }

    /// Whether the text consists of numbers and signs only, so that LaTeX sets it as mathematics.
    pub(crate) fn is_numeric(&self) -> bool {
        match self {
            Self::Count { .. }
            | Self::Measure { .. }
            | Self::Estimate { .. }
            | Self::Range { .. } => true,
            Self::Difference { identical, .. } => !identical,
            Self::Absent | Self::Text { .. } | Self::Published { .. } => false,
        }
    }

    /// The plain text as what a reader looks for and what qualifies it: spread and n, an interval,
    /// a source.
    pub(crate) fn parts(&self) -> (String, Option<String>) {
        let plain = self.plain();
        let parts = match self {
            Self::Published { .. } => plain.rsplit_once(" ("),
            _ if self.is_numeric() && !plain.starts_with('[') => plain.split_once(' '),
            _ => None,
        };
        match parts {
            // The bracket goes with what it opens.
            Some((main, _)) => (main.into(), Some(plain[main.len() + 1..].into())),
            None => (plain, None),
        }
    }

    /// The share that a bar behind the cell shows.
    pub(crate) fn share(&self) -> Option<f64> {
        let (value, scale) = match *self {
            Self::Measure { mean, scale, .. } => (mean, scale),
            Self::Estimate { value, scale, .. } => (value, scale),
            _ => return None,
        };
        (scale == Scale::Percent && value.is_finite()).then(|| value.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_shows_its_spread_and_n_and_one_seed_has_no_spread() {
        let three = MeanSd {
            mean: 0.8534,
            sd: Some(0.0041),
            n: 3,
        };
        assert_eq!(
            Cell::measure(Some(three), Scale::Percent).plain(),
            "85.3 ± 0.4 (3)"
        );
        let one = MeanSd {
            mean: 0.8534,
            sd: None,
            n: 1,
        };
        assert_eq!(Cell::measure(Some(one), Scale::Percent).plain(), "85.3 (1)");
        assert_eq!(Cell::measure(None, Scale::Percent).plain(), "–");
    }

    #[test]
    fn a_difference_shows_signs_its_interval_or_identical() {
        let difference = |mean: f64, interval, identical| {
            Cell::Difference {
                mean,
                interval,
                identical,
                n: 3,
                scale: Scale::Percent,
            }
            .plain()
        };
        let interval = Some(Interval {
            low: -0.003,
            high: 0.0121,
        });
        assert_eq!(difference(0.0046, interval, false), "+0.5 [-0.3, +1.2]");
        assert_eq!(difference(-0.0102, None, false), "-1.0");
        assert_eq!(difference(-0.00001, None, false), "0.0");
        assert_eq!(difference(0.0, None, true), "identical");
    }
}
