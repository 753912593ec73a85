//! Labels out of tensors, one per sample or not at all.
use candle_core::{DType, Result, Tensor, bail};

/// The labels in a tensor of class indices or of one-hot rows.
///
/// Statistics and margins are those of *the* class of a sample, so rows with several ones (multi
/// label data) are refused, as are soft rows: those are targets ([`crate::Target::Soft`]), beside
/// which a hard label is needed.
///
/// # Shapes
/// `labels` (batch) of an integer dtype, or (batch, classes) with a single 1 in each row.
///
/// # Errors
/// Another rank; a label that is negative or beyond u32; a row with several ones, none, or any
/// other number (the error names the sample).
pub fn labels_from_tensor(labels: &Tensor) -> Result<Vec<u32>> {
    match labels.rank() {
        1 => from_indices(labels),
        2 => from_rows(labels),
        _ => bail!(
            "labels must be (batch) or one-hot (batch, classes), got {:?}",
            labels.dims()
        ),
    }
}

fn from_indices(labels: &Tensor) -> Result<Vec<u32>> {
    if labels.dtype().is_float() {
        bail!(
            "labels must be of an integer dtype, got {:?}",
            labels.dtype()
        )
    }
    let labels = labels.to_dtype(DType::I64)?.to_vec1::<i64>()?;
    let check = |(sample, label): (usize, i64)| match u32::try_from(label) {
        Ok(label) => Ok(label),
        Err(_) => bail!("labels must be class indices: sample {sample} has {label}"),
    };
    labels.into_iter().enumerate().map(check).collect()
}

fn from_rows(labels: &Tensor) -> Result<Vec<u32>> {
    let rows = labels.to_dtype(DType::F64)?.to_vec2::<f64>()?;
    let mut classes = Vec::with_capacity(rows.len());
    for (sample, row) in rows.iter().enumerate() {
        if let Some(other) = row.iter().find(|&&x| x != 0.0 && x != 1.0) {
            bail!(
                "labels must be one-hot: sample {sample} has {other}; pass soft targets as \
                 Target::Soft beside hard labels"
            )
        }
        let mut ones = (0u32..)
            .zip(row)
            .filter(|&(_, &x)| x == 1.0)
            .map(|(class, _)| class);
        match (ones.next(), ones.count()) {
            (Some(class), 0) => classes.push(class),
            (None, _) => bail!("labels must be one-hot: sample {sample} has no class"),
            (Some(_), more) => bail!(
                "multi-label targets are not supported: sample {sample} has {} classes, but its \
                 statistics and margin are those of one",
                more + 1
            ),
        }
    }
    Ok(classes)
}
