//! What the baselines check of their arguments, and constants in the dtype of what they meet.
use candle_core::{DType, Device, Result, Shape, Tensor, bail};

/// (batch, classes) of a tensor of logits.
pub(super) fn batch_and_classes(name: &str, logits: &Tensor) -> Result<(usize, usize)> {
    match logits.dims() {
        &[batch, classes] => Ok((batch, classes)),
        dims => bail!("{name} must be (batch, classes), got {dims:?}"),
    }
}

pub(super) fn check_labels(labels: &[u32], batch: usize, classes: usize) -> Result<()> {
    if labels.len() != batch {
        bail!(
            "labels must have one entry per sample: {batch}, got {}",
            labels.len()
        )
    }
    match labels.iter().position(|&label| label as usize >= classes) {
        None => Ok(()),
        Some(sample) => bail!(
            "sample {sample} has label {}, expected below {classes} classes",
            labels[sample]
        ),
    }
}

/// Counts whose logarithm or negative power is taken.
pub(super) fn check_counts(counts: &[u64]) -> Result<()> {
    if counts.is_empty() {
        bail!("counts must have an entry per class, got none")
    }
    match counts.iter().position(|&count| count == 0) {
        None => Ok(()),
        Some(class) => bail!("counts must be positive: class {class} has 0 training samples"),
    }
}

pub(super) fn check_per_class(name: &str, length: usize, classes: usize) -> Result<()> {
    if length != classes {
        bail!("{name} must have one entry per class: {classes}, got {length}")
    }
    Ok(())
}

pub(super) fn check_finite_not_negative(name: &str, values: &[f64]) -> Result<()> {
    match values
        .iter()
        .position(|value| !(*value >= 0.0 && value.is_finite()))
    {
        None => Ok(()),
        Some(place) => bail!(
            "{name} must be finite and not negative: entry {place} is {}",
            values[place]
        ),
    }
}

/// As [`check_finite_not_negative`], where the values are at hand: on an accelerator it would wait for them.
pub(super) fn check_values_on_cpu(name: &str, values: &Tensor) -> Result<()> {
    match values.device().is_cpu() {
        true => check_finite_not_negative(name, &values.to_dtype(DType::F64)?.to_vec1()?),
        false => Ok(()),
    }
}

pub(super) fn check_not_negative(name: &str, value: f64) -> Result<()> {
    if value >= 0.0 && value.is_finite() {
        return Ok(());
    }
    bail!("{name} must be finite and not negative, got {value}")
}

pub(super) fn check_positive(name: &str, value: f64) -> Result<()> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    bail!("{name} must be positive and finite, got {value}")
}

/// A constant in the dtype and on the device of `like`. The conversion is on the host, since not
/// every device has f64.
pub(super) fn constant(values: Vec<f64>, shape: impl Into<Shape>, like: &Tensor) -> Result<Tensor> {
    Tensor::from_vec(values, shape, &Device::Cpu)?
        .to_dtype(like.dtype())?
        .to_device(like.device())
}

/// The class's value for each sample, (batch).
pub(super) fn of_labels(values: &[f64], labels: &[u32], like: &Tensor) -> Result<Tensor> {
    let chosen: Vec<f64> = labels.iter().map(|&label| values[label as usize]).collect();
    constant(chosen, labels.len(), like)
}
