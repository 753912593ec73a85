//! What the numbers of a [`ClassReport`] say about each method.

use mr2_metrics::{ClassReport, Metric, Verdict};

use super::cell::Cell;
use super::document::{Claim, Tone};
use super::scale::Scale;

/// A verdict for each method on overall accuracy, the hard third and the worst class.
pub fn claims(report: &ClassReport) -> Vec<Claim> {
    let mut claims = Vec::new();
    for row in report
        .rows
        .iter()
        .filter(|row| row.name != report.reference)
    {
        for metric in [Metric::Overall, Metric::Hard, Metric::WorstClass] {
            let Some(comparison) = row.cell(metric).and_then(|c| c.against_reference.as_ref())
            else {
                continue;
            };
            let verdict = comparison.verdict;
            claims.push(Claim {
                claim: format!(
                    "{} against {}, {}",
                    row.name,
                    report.reference,
                    metric.title()
                ),
                paper: None,
                ours: Cell::difference(Some(&comparison.paired), Scale::Percent).plain(),
                verdict: verdict.to_string(),
                tone: match verdict {
                    Verdict::Better => Tone::For,
                    Verdict::Worse => Tone::Against,
                    Verdict::Undecided { .. } | Verdict::Identical => Tone::Open,
                },
            });
        }
    }
    claims
}
