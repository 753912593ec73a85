//! Correct and total images of each class, and the accuracies that follow from them.

use serde::{Deserialize, Serialize};

use crate::error::{Error, check_classes, check_length};

/// How many images of each class there are, and how many were classified correctly.
///
/// ```
/// let per_class = mr2_metrics::PerClass::from_predictions(&[0, 0, 1], &[0, 1, 1], 3)?;
/// assert_eq!(per_class.accuracies(), [Some(0.5), Some(1.0), None]);
/// # Ok::<(), mr2_metrics::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PerClass {
    /// Correctly classified images of each class.
    pub correct: Vec<u64>,
    /// Images of each class.
    pub count: Vec<u64>,
}

impl PerClass {
    /// Counts the images of each class and those predicted correctly.
    ///
    /// # Errors
    /// Lengths that differ, no image, or a label or prediction not below `classes`.
    pub fn from_predictions(
        labels: &[u32],
        predictions: &[u32],
        classes: usize,
    ) -> Result<Self, Error> {
        check_length("predictions", labels.len(), predictions.len())?;
        check_classes("predictions", predictions, classes)?;
        let hits = labels
            .iter()
            .zip(predictions)
            .map(|(label, prediction)| label == prediction);
        Self::from_hits(labels, hits, classes)
    }

    /// Counts from one "was it right" per image, in the order of `labels`.
    pub(crate) fn from_hits(
        labels: &[u32],
        hits: impl Iterator<Item = bool>,
        classes: usize,
    ) -> Result<Self, Error> {
        if labels.is_empty() {
            return Err(Error::Empty {
                what: "labels",
                minimum: 1,
            });
        }
        check_classes("labels", labels, classes)?;
        let mut per_class = Self {
            correct: vec![0; classes],
            count: vec![0; classes],
        };
        for (&label, hit) in labels.iter().zip(hits) {
            per_class.count[label as usize] += 1;
            per_class.correct[label as usize] += u64::from(hit);
        }
        Ok(per_class)
    }

    /// Number of classes, absent ones included.
    pub fn classes(&self) -> usize {
        self.count.len()
    }

    /// Accuracy of a class; `None` where it has no image or doesn't exist.
    pub fn accuracy(&self, class: usize) -> Option<f64> {
        match (self.correct.get(class), self.count.get(class)) {
            (Some(&correct), Some(&count)) if count > 0 => Some(correct as f64 / count as f64),
            _ => None,
        }
    }

    /// Accuracy of every class in order, `None` for absent ones.
    pub fn accuracies(&self) -> Vec<Option<f64>> {
        (0..self.classes())
            .map(|class| self.accuracy(class))
            .collect()
    }

    /// Share of all images that are correct; `None` without images.
    pub fn overall(&self) -> Option<f64> {
        let count: u64 = self.count.iter().sum();
        let correct: u64 = self.correct.iter().sum();
        (count > 0).then(|| correct as f64 / count as f64)
    }

    /// Mean of the per-class accuracies over the classes that have images
    /// (balanced accuracy); `None` without images.
    pub fn mean_recall(&self) -> Option<f64> {
        let present: Vec<f64> = self.accuracies().into_iter().flatten().collect();
        (!present.is_empty()).then(|| present.iter().sum::<f64>() / present.len() as f64)
    }
}

/// Mean accuracy of a group of classes, absent ones left out; `None` if all are absent.
///
/// ```
/// use mr2_metrics::group_accuracy;
/// assert_eq!(group_accuracy(&[Some(0.5), None, Some(1.0)], &[0, 1, 2]), Some(0.75));
/// ```
pub fn group_accuracy(accuracies: &[Option<f64>], group: &[usize]) -> Option<f64> {
    let present: Vec<f64> = group
        .iter()
        .filter_map(|&class| accuracies.get(class).copied().flatten())
        .collect();
    (!present.is_empty()).then(|| present.iter().sum::<f64>() / present.len() as f64)
}
