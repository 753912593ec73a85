//! Predictions from a NumPy archive.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use mr2_metrics::arg_max;
use npyz::npz::NpzArchive;
use npyz::{DType, NpyFile, Order, TypeChar};

use super::predictions::{Columns, Predicted};

/// Elements of an array from which on a file is refused: 8 GB as f64.
const MOST_ELEMENTS: u64 = 1_000_000_000;
/// Class indices from here on are taken for a mistake.
const MOST_CLASSES: f64 = 1_000_000.0;

/// An array with its shape, row by row.
struct Array {
    shape: Vec<u64>,
    values: Vec<f64>,
}

/// Reads `labels` with `predictions` or `logits`, or with both where they agree.
///
/// # Errors
/// Names the file, the array and the fix.
pub fn read(path: &Path, classes: Option<&[String]>) -> Result<Columns> {
    let mut archive = NpzArchive::open(path)
        .with_context(|| format!("{}: not readable as an npz archive", path.display()))?;
    let mut names: Vec<String> = archive.array_names().map(str::to_string).collect();
    names.sort();
    let mut array = |name: &str| -> Result<Option<Array>> {
        let file = archive
            .by_name(name)
            .with_context(|| format!("{}: array `{name}`", path.display()))?;
        file.map(values)
            .transpose()
            .with_context(|| format!("{}: array `{name}`", path.display()))
    };
    let missing = |what: &str| {
        anyhow!(
            "{}: there is no array {what} (arrays: {}); save it with \
             np.savez(file, labels=…, predictions=…) or np.savez(file, labels=…, logits=…)",
            path.display(),
            if names.is_empty() {
                "none".to_string()
            } else {
                names.join(", ")
            }
        )
    };
    let labels = array("labels")?.ok_or_else(|| missing("`labels`"))?;
    let labels = indices(&labels).with_context(|| format!("{}: array `labels`", path.display()))?;
    if labels.is_empty() {
        bail!("{}: array `labels` is empty", path.display());
    }
    let predictions = match array("predictions")? {
        Some(predictions) => {
            let predictions = indices(&predictions)
                .with_context(|| format!("{}: array `predictions`", path.display()))?;
            same_length(path, "predictions", predictions.len(), labels.len())?;
            Some(predictions)
        }
        None => None,
    };
    if let Some(logits) = array("logits")? {
        return with_logits(path, labels, predictions.as_deref(), logits, classes);
    }
    let predictions = predictions.ok_or_else(|| missing("`predictions` or `logits`"))?;
    let largest = labels
        .iter()
        .chain(&predictions)
        .max()
        .map_or(0, |&k| k as usize);
    let class_names = class_names(path, largest + 1, classes)?;
    Ok(Columns {
        class_names,
        labels,
        predicted: Predicted::Classes(predictions),
    })
}

fn with_logits(
    path: &Path,
    labels: Vec<u32>,
    predictions: Option<&[u32]>,
    logits: Array,
    classes: Option<&[String]>,
) -> Result<Columns> {
    let [rows, columns] = logits.shape[..] else {
        bail!(
            "{}: array `logits` has shape {:?}; expected (images, classes)",
            path.display(),
            logits.shape
        );
    };
    same_length(path, "logits", rows as usize, labels.len())?;
    let columns = columns as usize;
    if columns < 2 {
        bail!(
            "{}: array `logits` has {columns} columns; expected one for each class",
            path.display()
        );
    }
    if let Some(at) = logits.values.iter().position(|v| !v.is_finite()) {
        bail!(
            "{}: array `logits`, row {}, column {} is {}; give every image finite \
             scores, or leave it out (rows count from 0)",
            path.display(),
            at / columns,
            at % columns,
            logits.values[at]
        );
    }
    if let Some(row) = labels.iter().position(|&k| k as usize >= columns) {
        bail!(
            "{}: array `labels`, row {row} is class {}, but `logits` has {columns} columns (0 to {})",
            path.display(),
            labels[row],
            columns - 1
        );
    }
    if let Some(given) = classes.filter(|given| given.len() != columns) {
        bail!(
            "{}: --classes names {} classes, `logits` has {columns} columns",
            path.display(),
            given.len()
        );
    }
    if let Some(predictions) = predictions {
        let highest = arg_max(&logits.values, columns)?;
        if let Some(row) = (0..highest.len()).find(|&row| predictions[row] != highest[row]) {
            bail!(
                "{}: row {row} of `predictions` is class {}, but the highest of `logits` is class {}; \
                 leave one of the two arrays out",
                path.display(),
                predictions[row],
                highest[row]
            );
        }
    }
    let class_names = class_names(path, columns, classes)?;
    Ok(Columns {
        class_names,
        labels,
        predicted: Predicted::Scores(logits.values),
    })
}

fn class_names(path: &Path, least: usize, given: Option<&[String]>) -> Result<Vec<String>> {
    match given {
        Some(names) if names.len() < least => bail!(
            "{}: class {} occurs, but --classes names {} classes (0 to {})",
            path.display(),
            least - 1,
            names.len(),
            names.len() - 1
        ),
        Some(names) => Ok(names.to_vec()),
        None => Ok((0..least).map(|k| k.to_string()).collect()),
    }
}

fn same_length(path: &Path, name: &str, got: usize, labels: usize) -> Result<()> {
    if got != labels {
        bail!(
            "{}: array `{name}` has {got} rows, `labels` has {labels}; both must list the same images",
            path.display()
        );
    }
    Ok(())
}

/// Whole numbers from an array of one column.
fn indices(array: &Array) -> Result<Vec<u32>> {
    match array.shape[..] {
        [_] | [_, 1] => {}
        ref shape => bail!("it has shape {shape:?}; expected one class index for each image"),
    }
    let index = |(row, &value): (usize, &f64)| {
        if value.fract() == 0.0 && (0.0..MOST_CLASSES).contains(&value) {
            Ok(value as u32)
        } else {
            Err(anyhow!(
                "row {row} is {value}; expected a class index, a whole number from 0"
            ))
        }
    };
    array.values.iter().enumerate().map(index).collect()
}

/// The numbers of an array, whatever their type, in C order.
fn values<R: Read>(file: NpyFile<R>) -> Result<Array> {
    let shape = file.shape().to_vec();
    let elements = shape.iter().try_fold(1u64, |n, &side| n.checked_mul(side));
    if elements.is_none_or(|n| n > MOST_ELEMENTS) {
        bail!("it says that its shape is {shape:?}, which is too large");
    }
    let fortran = file.order() == Order::Fortran;
    let DType::Plain(kind) = file.dtype() else {
        bail!("it holds records; expected plain numbers");
    };
    let described = kind.to_string();
    macro_rules! read {
        ($kind:ty) => {
            file.into_vec::<$kind>()?
                .into_iter()
                .map(|v| v as f64)
                .collect::<Vec<f64>>()
        };
    }
    let values = match (kind.type_char(), kind.size_field()) {
        (TypeChar::Int, 1) => read!(i8),
        (TypeChar::Int, 2) => read!(i16),
        (TypeChar::Int, 4) => read!(i32),
        (TypeChar::Int, 8) => read!(i64),
        (TypeChar::Uint, 1) => read!(u8),
        (TypeChar::Uint, 2) => read!(u16),
        (TypeChar::Uint, 4) => read!(u32),
        (TypeChar::Uint, 8) => read!(u64),
        (TypeChar::Float, 4) => read!(f32),
        (TypeChar::Float, 8) => read!(f64),
        _ => bail!(
            "its type is {described}; save it as int64, int32, uint8, uint32, float32 or float64 \
             (array.astype(…))"
        ),
    };
    let values = match shape[..] {
        [rows, columns] if fortran => transposed(&values, rows as usize, columns as usize),
        _ => values,
    };
    Ok(Array { shape, values })
}

fn transposed(values: &[f64], rows: usize, columns: usize) -> Vec<f64> {
    (0..rows * columns)
        .map(|i| values[(i % columns) * rows + i / columns])
        .collect()
}
