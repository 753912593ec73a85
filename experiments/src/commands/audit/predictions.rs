//! Labels, predictions and scores, from whatever file they come.

use std::path::Path;

use anyhow::{Context, Result, bail};
use mr2_metrics::{arg_max, softmax};
use mr2_train::Predictions as RunPredictions;

use super::{csv_file, npz_file};

/// How far from 1 the probabilities of an image may sum, rounded as they may be, to be taken for
/// probabilities without being asked.
const SUM_TOLERANCE: f64 = 0.02;
/// Where probabilities lie; the softmax of single precision can pass 1.
const UNIT: std::ops::RangeInclusive<f64> = 0.0..=1.0 + 1e-6;

/// What the scores of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ScoreKind {
    /// Probabilities where every score lies in [0, 1] and those of each image sum to about 1,
    /// logits where any lies outside.
    Auto,
    /// Softmax makes them probabilities.
    Logits,
    /// Those of each image are divided by their sum.
    Probabilities,
}

/// What is audited.
#[derive(Clone, Debug, PartialEq)]
pub struct Audited {
    /// The file or folder, for the title.
    pub source: String,
    /// Names of the classes; their indices where there are no names.
    pub class_names: Vec<String>,
    /// Class of each image.
    pub labels: Vec<u32>,
    /// Predicted class of each image.
    pub predictions: Vec<u32>,
    /// Scores, where the file has them.
    pub scores: Option<Scores>,
}

/// One score for each image and class.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// Probabilities, image after image.
    pub probabilities: Vec<f64>,
    /// The smallest and the largest sum of an image's scores, where the file holds probabilities,
    /// which are divided by it; `None` for logits.
    pub sums: Option<[f64; 2]>,
}

/// Columns of a file before classes are counted.
pub struct Columns {
    /// Names of the classes.
    pub class_names: Vec<String>,
    /// Class of each image.
    pub labels: Vec<u32>,
    /// What was predicted.
    pub predicted: Predicted,
}

/// What a file says of each image.
pub enum Predicted {
    /// The predicted class.
    Classes(Vec<u32>),
    /// A score for each class, image after image, all finite.
    Scores(Vec<f64>),
}

/// Reads predictions; `classes` are the names given by the user, and `kind` what their scores are.
///
/// # Errors
/// Names the file, line and column, and the fix.
pub fn read(path: &Path, classes: Option<&[String]>, kind: ScoreKind) -> Result<Audited> {
    if !path.exists() {
        bail!(
            "{}: no such file; `mr2 audit --example` prints one to start from",
            path.display()
        );
    }
    if path.is_dir() {
        let inside = path.join("predictions.safetensors");
        if !inside.is_file() {
            bail!(
                "{}: a folder without predictions.safetensors is no finished run; name a file, or a run \
                 folder that `mr2 train` has finished",
                path.display()
            );
        }
        return own_file(&inside, classes, kind);
    }
    let ending = path
        .extension()
        .map(|e| e.to_string_lossy().to_lowercase())
        .unwrap_or_default();
    let columns = match ending.as_str() {
        "csv" => csv_file::read(path, b',', classes)?,
        "tsv" => csv_file::read(path, b'\t', classes)?,
        "npz" => npz_file::read(path, classes)?,
        "safetensors" => return own_file(path, classes, kind),
        other => bail!(
            "{}: the ending `{other}` isn't known; use .csv, .tsv, .npz, .safetensors or a run folder",
            path.display()
        ),
    };
    assemble(&path.display().to_string(), columns, kind)
}

fn assemble(source: &str, columns: Columns, kind: ScoreKind) -> Result<Audited> {
    let classes = columns.class_names.len();
    let (predictions, scores) = match columns.predicted {
        Predicted::Classes(_) if kind != ScoreKind::Auto => {
            bail!("{source}: it holds predicted classes and no scores; leave --scores out")
        }
        Predicted::Classes(predictions) => (predictions, None),
        Predicted::Scores(values) => {
            let at = || source.to_string();
            let predictions = arg_max(&values, classes).with_context(at)?;
            (
                predictions,
                Some(scores(values, classes, kind).with_context(at)?),
            )
        }
    };
    Ok(Audited {
        source: source.to_string(),
        class_names: columns.class_names,
        labels: columns.labels,
        predictions,
        scores,
    })
}

fn scores(mut values: Vec<f64>, classes: usize, kind: ScoreKind) -> Result<Scores> {
    let outside = values.iter().position(|value| !UNIT.contains(value));
    let sums: Vec<f64> = values
        .chunks_exact(classes)
        .map(|row| row.iter().sum())
        .collect();
    let logits = match kind {
        ScoreKind::Logits => true,
        ScoreKind::Probabilities => false,
        ScoreKind::Auto => outside.is_some(),
    };
    if logits {
        return Ok(Scores {
            probabilities: softmax(&values, classes)?,
            sums: None,
        });
    }
    if let Some(at) = outside {
        let (image, value) = (at / classes, values[at]);
        bail!(
            "--scores probabilities: a score of image {image} is {value}, outside [0, 1] (images count from 0)"
        );
    }
    let far = |sum: &f64| kind == ScoreKind::Auto && (sum - 1.0).abs() > SUM_TOLERANCE;
    if let Some(image) = sums.iter().position(|sum| *sum == 0.0 || far(sum)) {
        bail!(
            "every score lies in [0, 1], but those of image {image} sum to {:.3} (images count from 0); say what \
             they are: --scores logits, or --scores probabilities, which divides those of an image by their sum",
            sums[image]
        );
    }
    for (row, sum) in values.chunks_exact_mut(classes).zip(&sums) {
        row.iter_mut().for_each(|value| *value /= sum);
    }
    let least = sums.iter().copied().fold(f64::INFINITY, f64::min);
    let most = sums.iter().copied().fold(0.0, f64::max);
    Ok(Scores {
        probabilities: values,
        sums: Some([least, most]),
    })
}

/// The predictions of one of our own runs.
fn own_file(path: &Path, classes: Option<&[String]>, kind: ScoreKind) -> Result<Audited> {
    if kind == ScoreKind::Probabilities {
        bail!(
            "{}: its scores are logits; leave --scores out",
            path.display()
        );
    }
    let own = RunPredictions::read(path).with_context(|| {
        "only safetensors files written by `mr2 train` or `mr2 eval` are understood; \
         write other predictions as .csv or .npz"
    })?;
    let class_names = match classes {
        Some(names) if names.len() != own.class_names.len() => bail!(
            "{}: --classes names {} classes, the file has {}",
            path.display(),
            names.len(),
            own.class_names.len()
        ),
        Some(names) => names.to_vec(),
        None => own.class_names.clone(),
    };
    from_run(
        &path.display().to_string(),
        RunPredictions { class_names, ..own },
    )
}

/// Predictions of a model of ours; `source` names them in the title.
///
/// # Errors
/// When there is no image, or a logit isn't finite.
pub fn from_run(source: &str, own: RunPredictions) -> Result<Audited> {
    if own.labels.is_empty() {
        bail!("{source}: it holds no image");
    }
    let values = own.logits.iter().map(|&z| f64::from(z)).collect();
    assemble(
        source,
        Columns {
            class_names: own.class_names,
            labels: own.labels,
            predicted: Predicted::Scores(values),
        },
        ScoreKind::Logits,
    )
}
