//! What the paper says, and how it is tested.

use mr2_metrics::Metric;
use serde::{Deserialize, Serialize};

/// What the paper says.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// In words.
    pub claim: String,
    /// The paper's numbers, with their source, or "unknown".
    pub paper: String,
    /// The block that it is tested in.
    pub block: String,
    /// The test.
    pub test: ClaimTest,
}

/// How a claim is tested.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ClaimTest {
    /// The arm's metric is higher (lower) than the other arm's. Against the reference, p is adjusted by Holm
    /// over the block's arms; against another arm it is the pair's own.
    Difference {
        /// The arm.
        arm: String,
        /// The arm that it is compared with; the reference in most claims.
        against: String,
        /// The metric.
        metric: Metric,
        /// Which sign is claimed.
        expect: Expect,
    },
    /// Class accuracy falls as the quantity rises, over the classes of the reference's runs.
    HarderClassesHaveMore {
        /// The quantity.
        quantity: Quantity,
    },
    /// The arm has the highest mean of the metric in its block, the reference left out.
    BestArm {
        /// The arm.
        arm: String,
        /// The metric.
        metric: Metric,
    },
}

/// The claimed sign of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    /// The arm's is larger.
    Higher,
    /// The arm's is smaller.
    Lower,
}

/// A quantity of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// m + v.
    SecondMoment,
    /// v.
    Spread,
    /// v / m.
    RelativeSpread,
    /// The norm of its row in the head.
    HeadNorm,
}
