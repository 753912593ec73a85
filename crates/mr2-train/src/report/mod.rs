//! What is measured and kept at the end of each epoch.

mod correlation;
mod failure_signs;

use mr2_metrics::PerClass;
use mr2_stats::NeuralCollapse;
use serde::{Deserialize, Serialize};

pub use correlation::{Correlations, MeasuredOn};
pub(crate) use correlation::{both_known, premise};
pub use failure_signs::{FailureSign, Sign};
pub(crate) use failure_signs::{Watched, signs};

/// One epoch of a run; a line of `metrics.jsonl` and a point of the curves in `result.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochRecord {
    /// The epoch, counted from 1.
    pub epoch: u64,
    /// Steps done at its end.
    pub step: u64,
    /// Learning rate of its last step.
    pub lr: f64,
    /// Mean over its steps of the total loss.
    pub loss: f64,
    /// Mean over its steps of the classification term.
    pub classification_loss: f64,
    /// Mean over its steps of the representation term before its weight.
    pub representation_loss: f64,
    /// Images trained on per second, validation not counted.
    pub images_per_second: f64,
    /// Share of training samples that had another sample of their class in the batch.
    pub share_with_positive: f64,
    /// Overall accuracy over the training batches as they were seen.
    pub train_accuracy: Option<f64>,
    /// The same by class.
    pub train_classes: PerClass,
    /// Overall accuracy on the validation part, where there is one.
    pub validation_accuracy: Option<f64>,
    /// The same by class.
    pub validation_classes: Option<PerClass>,
    /// Mean cross-entropy on the validation part.
    pub validation_loss: Option<f64>,
    /// On the test part, by class, where `test_every_epoch` asks for it. Only recorded: nothing is
    /// selected by it.
    pub test_classes: Option<PerClass>,
    /// Statistics, margin and head norm by class.
    pub classes: ClassSeries,
    /// All training images with the weights of the end of the epoch, where `class_measures` asks for it.
    pub training_set: Option<TrainingSet>,
    /// The threshold s̄ of the representation term, where the objective has one.
    pub spread_threshold: Option<f64>,
    /// How hard the terms of the loss pull at the features, where it has two.
    pub pulls: Option<Pulls>,
    /// Spearman's ρ of class accuracy with them.
    pub correlations: Correlations,
    /// Signs that the method fails here.
    pub signs: Vec<Sign>,
}

impl EpochRecord {
    /// Class accuracies on validation, or else over the training batches as they were seen.
    pub fn accuracies(&self) -> (MeasuredOn, Vec<Option<f64>>) {
        match &self.validation_classes {
            Some(classes) => (MeasuredOn::Validation, classes.accuracies()),
            None => (MeasuredOn::RunningTraining, self.train_classes.accuracies()),
        }
    }

    /// What TensorBoard shows of the epoch.
    pub(crate) fn scalars(&self, class_names: &[String]) -> Vec<(String, f64)> {
        let rho = &self.correlations;
        let overall = [
            ("epoch/loss", Some(self.loss)),
            ("epoch/images_per_second", Some(self.images_per_second)),
            ("epoch/share_with_positive", Some(self.share_with_positive)),
            ("epoch/spread_threshold", self.spread_threshold),
            (
                "epoch/pull_ratio",
                self.pulls.and_then(|pulls| pulls.ratio()),
            ),
            ("accuracy/train", self.train_accuracy),
            ("accuracy/validation", self.validation_accuracy),
            ("rho/m", rho.m),
            ("rho/v", rho.v),
            ("rho/second_moment", rho.second_moment),
            ("rho/relative_spread", rho.relative_spread),
            ("rho/gamma", rho.gamma),
            ("rho/head_norm", rho.head_norm),
        ];
        let by_class = [
            ("class_accuracy", &self.accuracies().1),
            ("class_v", &self.classes.v),
            ("class_gamma", &self.classes.gamma),
        ];
        let mut scalars: Vec<(String, f64)> = overall
            .into_iter()
            .filter_map(|(tag, value)| Some((tag.to_string(), value?)))
            .collect();
        for (tag, values) in by_class {
            for (name, value) in class_names.iter().zip(values) {
                scalars.extend(value.map(|value| (format!("{tag}/{name}"), value)));
            }
        }
        scalars
    }
}

/// The norms of the gradients of a loss's two terms with respect to the features of a batch, the
/// first of the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pulls {
    /// Of the classification term.
    pub classification: f64,
    /// Of the representation term, its weight λ included.
    pub representation: f64,
}

impl Pulls {
    /// The representation term's over the classification term's; `None` where that is 0.
    pub fn ratio(&self) -> Option<f64> {
        (self.classification > 0.0).then(|| self.representation / self.classification)
    }
}

/// One value for each class; `None` where the class has none (yet).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassSeries {
    /// Squared norm of the feature mean. As `v` and `second_moment`, it comes from statistics
    /// that every run keeps in the same way, whatever its objective uses, so that runs compare.
    pub m: Vec<Option<f64>>,
    /// Mean squared distance of the features from their mean.
    pub v: Vec<Option<f64>>,
    /// m + v.
    pub second_moment: Vec<Option<f64>>,
    /// The objective's logit margin γ; 1 for plain cross-entropy, `None` where the method has no such
    /// margin.
    pub gamma: Vec<Option<f64>>,
    /// L2 norm of the class's row in the head's weight.
    pub head_norm: Vec<Option<f64>>,
}

/// The training images as a fixed set: unaugmented, with the network in evaluation mode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingSet {
    /// Statistics of the features of each class.
    pub classes: ExactClasses,
    /// How far the features and the head have collapsed.
    pub collapse: NeuralCollapse,
}

/// Statistics of each class over a fixed set; `None` for a class without images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExactClasses {
    /// Squared norm of the mean.
    pub m: Vec<Option<f64>>,
    /// Mean squared distance from the mean.
    pub v: Vec<Option<f64>>,
}

/// How much the training images of each class differ before anything is learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Diversity {
    /// Of their pixels, as the model gets them.
    pub pixels: ExactClasses,
    /// Of their features under the initial weights.
    pub initial_features: ExactClasses,
}

impl ClassSeries {
    /// v / m.
    pub fn relative_spread(&self) -> Vec<Option<f64>> {
        ratios(&self.v, &self.m)
    }
}

impl ExactClasses {
    /// v / m.
    pub fn relative_spread(&self) -> Vec<Option<f64>> {
        ratios(&self.v, &self.m)
    }
}

fn ratios(v: &[Option<f64>], m: &[Option<f64>]) -> Vec<Option<f64>> {
    let ratio = |(v, m): (&Option<f64>, &Option<f64>)| match (v, m) {
        (Some(v), Some(m)) if *m > 0.0 => Some(v / m),
        _ => None,
    };
    v.iter().zip(m).map(ratio).collect()
}
