//! The confusion matrix, kept sparse so that many thousand classes stay cheap, and macro-F1.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, check_classes, check_length};

/// A non-empty cell of the confusion matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfusionCell {
    /// The true class.
    pub label: u32,
    /// The predicted class.
    pub prediction: u32,
    /// How many images.
    pub count: u64,
}

/// How often each class was taken for each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    classes: usize,
    /// Sorted by label, then prediction.
    cells: Vec<ConfusionCell>,
}

impl Confusion {
    /// Counts every (label, prediction) pair.
    ///
    /// # Errors
    /// Lengths that differ, no image, or a label or prediction not below `classes`.
    pub fn from_predictions(
        labels: &[u32],
        predictions: &[u32],
        classes: usize,
    ) -> Result<Self, Error> {
        check_length("predictions", labels.len(), predictions.len())?;
        if labels.is_empty() {
            return Err(Error::Empty {
                what: "labels",
                minimum: 1,
            });
        }
        check_classes("labels", labels, classes)?;
        check_classes("predictions", predictions, classes)?;
        let mut counts = BTreeMap::new();
        for pair in labels.iter().copied().zip(predictions.iter().copied()) {
            *counts.entry(pair).or_insert(0) += 1;
        }
        let cells = counts
            .into_iter()
            .map(|((label, prediction), count)| ConfusionCell {
                label,
                prediction,
                count,
            })
            .collect();
        Ok(Self { classes, cells })
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The non-empty cells, sorted by label, then prediction.
    pub fn cells(&self) -> &[ConfusionCell] {
        &self.cells
    }

    /// Images of class `label` that were predicted as `prediction`.
    pub fn count(&self, label: u32, prediction: u32) -> u64 {
        let key = (label, prediction);
        match self
            .cells
            .binary_search_by_key(&key, |cell| (cell.label, cell.prediction))
        {
            Ok(position) => self.cells[position].count,
            Err(_) => 0,
        }
    }

    /// The most frequent mistakes, most frequent first, ties by label, then prediction.
    pub fn top_confusions(&self, limit: usize) -> Vec<ConfusionCell> {
        let mut wrong: Vec<ConfusionCell> = self
            .cells
            .iter()
            .copied()
            .filter(|cell| cell.label != cell.prediction)
            .collect();
        wrong.sort_by_key(|cell| std::cmp::Reverse(cell.count));
        wrong.truncate(limit);
        wrong
    }

    /// F1 of every class, `None` for a class without images.
    pub fn f1(&self) -> Vec<Option<f64>> {
        let mut correct = vec![0u64; self.classes];
        let mut count = vec![0u64; self.classes];
        let mut predicted = vec![0u64; self.classes];
        for cell in &self.cells {
            count[cell.label as usize] += cell.count;
            predicted[cell.prediction as usize] += cell.count;
            if cell.label == cell.prediction {
                correct[cell.label as usize] += cell.count;
            }
        }
        let f1 = |class: usize| {
            let mentions = count[class] + predicted[class];
            (count[class] > 0).then(|| 2.0 * correct[class] as f64 / mentions as f64)
        };
        (0..self.classes).map(f1).collect()
    }

    /// Mean F1 over the classes that have images; `None` without images.
    pub fn macro_f1(&self) -> Option<f64> {
        let present: Vec<f64> = self.f1().into_iter().flatten().collect();
        (!present.is_empty()).then(|| present.iter().sum::<f64>() / present.len() as f64)
    }
}
