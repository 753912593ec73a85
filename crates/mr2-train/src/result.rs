//! `result.json`: everything that a table or plot reads of a finished run.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use mr2_metrics::{PerClass, PremiseTest, SplitSource, Thirds};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::{Select, TrainConfig};
use crate::error::{Error, Result};
use crate::format_version;
use crate::report::{ClassSeries, Correlations, Diversity, EpochRecord, FailureSign};

/// Version of the schema that this page documents.
pub const RESULT_FORMAT_VERSION: u32 = 1;

/// A finished run. Accuracies are fractions of 1; an absent class has count 0 and no accuracy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunResult {
    /// Version of this schema.
    pub format_version: u32,
    /// Seed of the loop.
    pub seed: u64,
    /// The hyperparameters; the whole configuration is in `config.toml`.
    pub config: TrainConfig,
    /// Names of the classes.
    pub class_names: Vec<String>,
    /// The weights that were tested.
    pub selected: Selected,
    /// Results on the test part, evaluated once.
    pub test: Evaluated,
    /// On each extra test set, by its name: correct and all images of each class.
    pub extra_tests: BTreeMap<String, PerClass>,
    /// How much the training images of each class differ before anything is learnt, where `class_measures`
    /// asks for it.
    pub diversity: Option<Diversity>,
    /// Thirds of the classes by this run's own test accuracy. With several seeds, choose them on
    /// other runs instead.
    pub thirds: Option<ThirdsResult>,
    /// Accuracy on the validation part of the selected weights, where there is one.
    pub validation: Option<PerClass>,
    /// Statistics, margin and head norm of each class with the selected weights.
    pub classes: ClassSeries,
    /// The threshold s̄, where the objective has one.
    pub spread_threshold: Option<f64>,
    /// Spearman's ρ of class accuracy on the test part with them.
    pub correlations: Correlations,
    /// Whether harder classes have the larger m + v here.
    pub premise: PremiseTest,
    /// Every epoch.
    pub curves: Vec<EpochRecord>,
    /// Failure signs and other warnings of the whole run.
    pub warnings: Vec<Warning>,
    /// Seconds, summed over all starts of the run.
    pub timings: Timings,
    /// Versions of the program and its parts, the machine's CPU and threads, and the device (cpu, or the
    /// GPU and its driver; not in files from before), as given by the caller for the last start.
    pub versions: BTreeMap<String, String>,
    /// File with labels, predictions and logits of the test part, in the run folder.
    pub predictions: String,
}

/// The weights that were tested.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selected {
    /// How they were chosen.
    pub by: Select,
    /// After which epoch, counted from 1.
    pub epoch: u64,
    /// After which step, counted from 1.
    pub step: u64,
}

/// Results on one set of images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluated {
    /// Share of correct images.
    pub overall: Option<f64>,
    /// Correct and all images of each class.
    pub per_class: PerClass,
    /// Accuracy of each class.
    pub class_accuracy: Vec<Option<f64>>,
    /// Images that were taken for each class, rightly or not; unknown in older results.
    pub predicted: Option<Vec<u64>>,
    /// Mean of the classes' accuracies.
    pub mean_recall: Option<f64>,
    /// Mean of the classes' F1.
    pub macro_f1: Option<f64>,
    /// Share of images whose label is among the five highest logits; `None` below six classes.
    pub top5: Option<f64>,
    /// Expected calibration error.
    pub ece: f64,
    /// Mean cross-entropy.
    pub loss: Option<f64>,
}

/// Thirds of the classes, how they were chosen, and their accuracies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThirdsResult {
    /// Which accuracy chose them.
    pub chosen_on: SplitSource,
    /// The classes.
    pub classes: Thirds,
    /// Mean class accuracy of the easy third.
    pub easy: Option<f64>,
    /// Mean class accuracy of the medium third.
    pub medium: Option<f64>,
    /// Mean class accuracy of the hard third.
    pub hard: Option<f64>,
}

/// A failure sign over the epochs that showed it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Warning {
    /// Which sign.
    pub sign: FailureSign,
    /// The epochs, counted from 1.
    pub epochs: Vec<u64>,
    /// What was seen in the last of them.
    pub message: String,
}

/// Seconds, summed over all starts of a run up to what was saved.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timings {
    /// In training steps, waiting for batches included.
    pub training_seconds: f64,
    /// In evaluation.
    pub evaluation_seconds: f64,
    /// In all.
    pub total_seconds: f64,
    /// How often the run was started or resumed; a start that was killed before it saved anything
    /// isn't known.
    pub starts: u64,
}

impl RunResult {
    /// Reads `result.json` from a run folder.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn read(run_folder: &Path) -> Result<Self> {
        let path = run_folder.join("result.json");
        let text = fs::read_to_string(&path).map_err(Error::io(&path, "read the result"))?;
        format_version::check(&text, RESULT_FORMAT_VERSION)
            .map_err(|reason| Error::malformed(&path, reason))?;
        let mut value: Value =
            serde_json::from_str(&text).map_err(|e| Error::malformed(&path, e))?;
        add_later_keys(&mut value);
        serde_json::from_value(value).map_err(|e| Error::malformed(&path, e))
    }
}

/// Keys that have come since the first files of this version, with what those runs had.
fn add_later_keys(result: &mut Value) {
    let later = [
        ("", "extra_tests", json!({})),
        ("/config", "class_measures", json!("off")),
        ("/config", "sharpness", json!({"kind": "off"})),
        ("/config", "test_every_epoch", json!(false)),
    ];
    for (place, key, value) in later {
        // Where there is no such place, the typed pass names what is missing.
        let object = result.pointer_mut(place).and_then(Value::as_object_mut);
        if let Some(object) = object {
            object.entry(key).or_insert(value);
        }
    }
}
