//! Expected calibration error (Guo et al. 2017, arXiv 1706.04599): equal-width bins of the
//! largest probability.

use serde::{Deserialize, Serialize};

use crate::error::{Error, check_classes};
use crate::top_k::{arg_max_row, check_scores};

/// The usual number of bins.
pub const ECE_BINS: usize = 15;

/// How far a row of probabilities may be from summing to 1: single-precision softmax over
/// many thousand classes stays well below it, logits stay far above.
const SUM_TOLERANCE: f64 = 1e-3;

/// One bin of a reliability diagram.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBin {
    /// Images whose largest probability lies in the bin.
    pub count: u64,
    /// Mean largest probability in the bin; `None` if it is empty.
    pub confidence: Option<f64>,
    /// Accuracy in the bin; `None` if it is empty.
    pub accuracy: Option<f64>,
}

/// Expected calibration error with the bins that it comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Σ over bins of (share of images) · |accuracy − mean confidence|.
    pub ece: f64,
    /// The bins from low to high confidence; bin b holds confidences in (b/n, (b+1)/n].
    pub bins: Vec<CalibrationBin>,
}

/// Expected calibration error of `probabilities`, which holds the images one after the
/// other, `classes` values each. The predicted class is the first maximum.
///
/// # Errors
/// Lengths that don't match, no image, a label out of range, no bin, or rows that are no
/// probabilities.
pub fn calibration<P: Copy + Into<f64>>(
    labels: &[u32],
    probabilities: &[P],
    classes: usize,
    bins: usize,
) -> Result<Calibration, Error> {
    if labels.is_empty() {
        return Err(Error::Empty {
            what: "labels",
            minimum: 1,
        });
    }
    if bins == 0 {
        return Err(Error::Setting {
            name: "bins",
            value: 0.0,
            expected: "at least 1",
        });
    }
    check_classes("labels", labels, classes)?;
    check_scores(labels.len(), probabilities, classes)?;
    let mut count = vec![0u64; bins];
    let mut correct = vec![0u64; bins];
    let mut confidence = vec![0f64; bins];
    for (image, row) in probabilities.chunks_exact(classes).enumerate() {
        check_row(image, row)?;
        let predicted = arg_max_row(row);
        let largest: f64 = row[predicted].into();
        let bin = ((largest * bins as f64).ceil() as usize).clamp(1, bins) - 1;
        count[bin] += 1;
        correct[bin] += u64::from(predicted == labels[image] as usize);
        confidence[bin] += largest;
    }
    let bins: Vec<CalibrationBin> = (0..bins)
        .map(|bin| {
            let mean = |sum: f64| (count[bin] > 0).then(|| sum / count[bin] as f64);
            CalibrationBin {
                count: count[bin],
                confidence: mean(confidence[bin]),
                accuracy: mean(correct[bin] as f64),
            }
        })
        .collect();
    let gap = |bin: &CalibrationBin| match (bin.accuracy, bin.confidence) {
        (Some(accuracy), Some(confidence)) => bin.count as f64 * (accuracy - confidence).abs(),
        _ => 0.0,
    };
    Ok(Calibration {
        ece: bins.iter().map(gap).sum::<f64>() / labels.len() as f64,
        bins,
    })
}

/// Softmax of every image's logits, for [`calibration`](fn@crate::calibration).
///
/// # Errors
/// A length that is no multiple of `classes`, or a NaN or infinite logit.
pub fn softmax<S: Copy + Into<f64>>(logits: &[S], classes: usize) -> Result<Vec<f64>, Error> {
    check_scores(logits.len() / classes.max(1), logits, classes)?;
    let mut probabilities = Vec::with_capacity(logits.len());
    for row in logits.chunks_exact(classes) {
        let largest: f64 = row[arg_max_row(row)].into();
        let start = probabilities.len();
        probabilities.extend(row.iter().map(|&logit| (logit.into() - largest).exp()));
        let sum: f64 = probabilities[start..].iter().sum();
        probabilities[start..]
            .iter_mut()
            .for_each(|value| *value /= sum);
    }
    Ok(probabilities)
}

/// Refuses a row that is no probability distribution.
fn check_row<P: Copy + Into<f64>>(row: usize, values: &[P]) -> Result<(), Error> {
    let outside = values
        .iter()
        .map(|&value| value.into())
        .find(|value: &f64| *value < 0.0);
    if let Some(value) = outside {
        return Err(Error::NotProbabilities {
            row,
            problem: format!("contain {value}"),
        });
    }
    let sum: f64 = values.iter().map(|&value| value.into()).sum();
    if (sum - 1.0).abs() > SUM_TOLERANCE {
        return Err(Error::NotProbabilities {
            row,
            problem: format!("sum to {sum}"),
        });
    }
    Ok(())
}
