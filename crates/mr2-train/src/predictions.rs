//! What a model says of each image of a set, and the two files that it is kept in.
//!
//! `predictions.safetensors` holds `indices`, `labels` and `predictions` (u32, one for each image)
//! and `logits` (f32, images × classes), and one metadata entry `mr2_predictions`, a JSON object
//! with `format_version` and `classes`, the class names. `predictions.csv` holds the columns
//! `index,label,prediction,label_name,prediction_name`.

use std::collections::HashMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use mr2_metrics::PerClass;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::format_version;

const FORMAT_VERSION: u32 = 1;
const METADATA_KEY: &str = "mr2_predictions";

/// Labels, predictions and logits of a set of images, in the order of the set.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictions {
    /// Names of the classes.
    pub class_names: Vec<String>,
    /// Index of each image in its set.
    pub indices: Vec<u32>,
    /// Its label.
    pub labels: Vec<u32>,
    /// The class with the highest logit; the lowest of equals.
    pub predictions: Vec<u32>,
    /// Logits, image after image.
    pub logits: Vec<f32>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format_version: u32,
    classes: Vec<String>,
}

impl Predictions {
    /// Correct images and all images, by class.
    ///
    /// # Errors
    /// When a label is out of range.
    pub fn per_class(&self) -> Result<PerClass> {
        Ok(PerClass::from_predictions(
            &self.labels,
            &self.predictions,
            self.class_names.len(),
        )?)
    }

    /// Mean over the images of `−log softmax(logits)[label]`; `None` without images.
    pub fn mean_cross_entropy(&self) -> Option<f64> {
        let losses = self
            .logits
            .chunks_exact(self.class_names.len())
            .zip(&self.labels)
            .map(|(row, label)| {
                let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max) as f64;
                let sum: f64 = row.iter().map(|z| (f64::from(*z) - largest).exp()).sum();
                largest + sum.ln() - f64::from(row[*label as usize])
            });
        (!self.labels.is_empty()).then(|| losses.sum::<f64>() / self.labels.len() as f64)
    }

    /// The safetensors file.
    ///
    /// # Errors
    /// When safetensors refuses the content.
    pub fn to_safetensors(&self) -> Result<Vec<u8>> {
        let refuse = |e: &dyn std::fmt::Display| Error::Malformed {
            path: "predictions.safetensors".into(),
            reason: e.to_string(),
        };
        let bytes = |values: &[u32]| -> Vec<u8> {
            values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect()
        };
        let n = self.labels.len();
        let columns = [
            ("indices", bytes(&self.indices)),
            ("labels", bytes(&self.labels)),
            ("predictions", bytes(&self.predictions)),
        ];
        let logits: Vec<u8> = self
            .logits
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let mut tensors = Vec::with_capacity(columns.len() + 1);
        for (name, data) in &columns {
            let view = TensorView::new(Dtype::U32, vec![n], data).map_err(|e| refuse(&e))?;
            tensors.push((*name, view));
        }
        let shape = vec![n, self.class_names.len()];
        let view = TensorView::new(Dtype::F32, shape, &logits).map_err(|e| refuse(&e))?;
        tensors.push(("logits", view));
        let header = Header {
            format_version: FORMAT_VERSION,
            classes: self.class_names.clone(),
        };
        let header = serde_json::to_string(&header).map_err(|e| refuse(&e))?;
        let metadata = HashMap::from([(METADATA_KEY.to_string(), header)]);
        safetensors::serialize(tensors, Some(metadata)).map_err(|e| refuse(&e))
    }

    /// Reads `predictions.safetensors`.
    ///
    /// # Errors
    /// Names the file and what is missing or wrong in it.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).map_err(Error::io(path, "read the predictions"))?;
        let refuse = |reason: String| Error::malformed(path, reason);
        let file = SafeTensors::deserialize(&bytes).map_err(|e| refuse(e.to_string()))?;
        let (_, metadata) =
            SafeTensors::read_metadata(&bytes).map_err(|e| refuse(e.to_string()))?;
        let header = metadata
            .metadata()
            .as_ref()
            .and_then(|entries| entries.get(METADATA_KEY));
        let header =
            header.ok_or_else(|| refuse(format!("its metadata has no entry {METADATA_KEY}")))?;
        format_version::check(header, FORMAT_VERSION).map_err(refuse)?;
        let header: Header = serde_json::from_str(header).map_err(|e| refuse(e.to_string()))?;
        let column = |name: &str, dtype, shape: &[usize]| {
            words(&file, name, dtype, shape).map_err(|reason| Error::malformed(path, reason))
        };
        let labels = file
            .tensor("labels")
            .map_err(|e| Error::malformed(path, e))?;
        let n = labels.shape().first().copied().unwrap_or(0);
        let classes = header.classes.len();
        let read = Self {
            indices: column("indices", Dtype::U32, &[n])?,
            labels: column("labels", Dtype::U32, &[n])?,
            predictions: column("predictions", Dtype::U32, &[n])?,
            logits: column("logits", Dtype::F32, &[n, classes])?
                .into_iter()
                .map(f32::from_bits)
                .collect(),
            class_names: header.classes,
        };
        if let Some(bad) = read
            .labels
            .iter()
            .chain(&read.predictions)
            .find(|class| **class as usize >= classes)
        {
            return Err(Error::malformed(
                path,
                format!("class {bad} of {classes} classes"),
            ));
        }
        Ok(read)
    }

    /// The CSV file (RFC 4180).
    pub fn to_csv(&self) -> String {
        let mut text = "index,label,prediction,label_name,prediction_name\n".to_string();
        let name = |class: u32| quoted(&self.class_names[class as usize]);
        for ((index, label), prediction) in
            self.indices.iter().zip(&self.labels).zip(&self.predictions)
        {
            let (label_name, prediction_name) = (name(*label), name(*prediction));
            // Writing to a string can't fail.
            let _ = writeln!(
                text,
                "{index},{label},{prediction},{label_name},{prediction_name}"
            );
        }
        text
    }
}

/// A tensor of four-byte words, bounds-checked by safetensors.
fn words(
    file: &SafeTensors<'_>,
    name: &str,
    dtype: Dtype,
    shape: &[usize],
) -> std::result::Result<Vec<u32>, String> {
    let view = file.tensor(name).map_err(|e| format!("{name}: {e}"))?;
    if view.dtype() != dtype || view.shape() != shape {
        return Err(format!(
            "{name}: expected {dtype:?} of shape {shape:?}, got {:?} of shape {:?}",
            view.dtype(),
            view.shape()
        ));
    }
    let word = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    Ok(view.data().chunks_exact(4).map(word).collect())
}

fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_string()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn sample() -> Predictions {
        Predictions {
            class_names: vec!["a, \"b\"".into(), "c".into()],
            indices: vec![0, 1, 2],
            labels: vec![0, 1, 1],
            predictions: vec![0, 0, 1],
            logits: vec![2.0, 0.0, 1.0, 1.0, -1.0, 3.0],
        }
    }

    #[test]
    fn predictions_are_read_back_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("predictions.safetensors");
        fs::write(&path, sample().to_safetensors().unwrap()).unwrap();
        assert_eq!(Predictions::read(&path).unwrap(), sample());
    }

    #[test]
    fn class_names_are_quoted_in_csv() {
        let csv = sample().to_csv();
        assert_eq!(csv.lines().nth(2).unwrap(), "1,1,0,c,\"a, \"\"b\"\"\"");
    }

    #[test]
    fn cross_entropy_is_minus_log_softmax_of_the_label() {
        let expected = ((1.0 + (-2f64).exp()).ln() + 2f64.ln() + (1.0 + (-4f64).exp()).ln()) / 3.0;
        assert!((sample().mean_cross_entropy().unwrap() - expected).abs() < 1e-12);
    }
}
