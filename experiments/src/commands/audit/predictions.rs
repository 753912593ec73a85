//! Labels, predictions and scores, from whatever file they come.

use std::path::Path;

use anyhow::{Context, Result, bail};
use mr2_metrics::{arg_max, softmax};
use mr2_train::Predictions as RunPredictions;

use super::{csv_file, npz_file};

/// How far from 1 the sum of a row of probabilities may be.
const SUM_TOLERANCE: f64 = 1e-3;

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
    /// Whether they are the softmax of what the file holds.
    pub from_logits: bool,
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

/// Reads predictions; `classes` are the names given by the user.
///
/// # Errors
/// Names the file, line and column, and the fix.
pub fn read(path: &Path, classes: Option<&[String]>) -> Result<Audited> {
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
        return own_file(&inside, classes);
    }
    let ending = path
        .extension()
        .map(|e| e.to_string_lossy().to_lowercase())
        .unwrap_or_default();
    let columns = match ending.as_str() {
        "csv" => csv_file::read(path, b',', classes)?,
        "tsv" => csv_file::read(path, b'\t', classes)?,
        "npz" => npz_file::read(path, classes)?,
        "safetensors" => return own_file(path, classes),
        other => bail!(
            "{}: the ending `{other}` isn't known; use .csv, .tsv, .npz, .safetensors or a run folder",
            path.display()
        ),
    };
    assemble(&path.display().to_string(), columns)
}

fn assemble(source: &str, columns: Columns) -> Result<Audited> {
    let classes = columns.class_names.len();
    let (predictions, scores) = match columns.predicted {
        Predicted::Classes(predictions) => (predictions, None),
        Predicted::Scores(values) => {
            let at = || source.to_string();
            let predictions = arg_max(&values, classes).with_context(at)?;
            (
                predictions,
                Some(probabilities(values, classes).with_context(at)?),
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

fn probabilities(values: Vec<f64>, classes: usize) -> Result<Scores> {
    let is_distribution = |row: &[f64]| {
        row.iter().all(|&v| v >= 0.0) && (row.iter().sum::<f64>() - 1.0).abs() <= SUM_TOLERANCE
    };
    if values.chunks_exact(classes).all(is_distribution) {
        return Ok(Scores {
            probabilities: values,
            from_logits: false,
        });
    }
    Ok(Scores {
        probabilities: softmax(&values, classes)?,
        from_logits: true,
    })
}

/// The predictions of one of our own runs.
fn own_file(path: &Path, classes: Option<&[String]>) -> Result<Audited> {
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
    )
}
