//! A memory to and from named tensors.
use std::collections::HashMap;

use candle_core::{DType, Device, Result, Tensor, bail};

use super::{EMPTY, FeatureMemory};

/// The names of the state's tensors.
const FEATURES: &str = "features";
const LABELS: &str = "labels";
const CURSOR: &str = "cursor";

impl FeatureMemory {
    /// Copies of the state as tensors on the CPU, in a fixed order, for a checkpoint: what losses would
    /// see after the next push.
    ///
    /// # Shapes
    /// `features` (capacity, feature_dim), in the memory's dtype; `labels` (capacity) and `cursor` (1),
    /// u32. The label of a place without a sample is the largest u32.
    ///
    /// # Errors
    /// Only what the device reports.
    pub fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        let mut settled = Self {
            features: self.features.copy()?,
            labels: self.labels.clone(),
            counts: self.counts.clone(),
            cursor: self.cursor,
            waiting: self.waiting.clone(),
        };
        settled.move_in()?;
        let cpu = &Device::Cpu;
        Ok(vec![
            (FEATURES.to_string(), settled.features.to_device(cpu)?),
            (LABELS.to_string(), Tensor::new(settled.labels, cpu)?),
            (
                CURSOR.to_string(),
                Tensor::new(&[settled.cursor as u32], cpu)?,
            ),
        ])
    }

    /// Replaces the state by one that [`FeatureMemory::tensors`] gave.
    ///
    /// # Shapes
    /// As [`FeatureMemory::tensors`].
    ///
    /// # Errors
    /// A tensor too many, too few, of another shape or dtype, a label that is no class, a cursor beyond
    /// the capacity, a feature that is not finite. After an error the memory is as before.
    pub fn load(&mut self, tensors: &HashMap<String, Tensor>) -> Result<()> {
        let known = [FEATURES, LABELS, CURSOR];
        let mut others: Vec<_> = tensors
            .keys()
            .filter(|name| !known.contains(&name.as_str()))
            .collect();
        others.sort_unstable();
        if let Some(name) = others.first() {
            bail!("a memory has no tensor {name}")
        }
        let (capacity, dim) = (self.capacity(), self.feature_dim());
        let features = find(tensors, FEATURES, &[capacity, dim])?;
        if features.dtype() != self.features.dtype() {
            bail!(
                "the memory's features must be {:?}, got {:?}",
                self.features.dtype(),
                features.dtype()
            )
        }
        let zero_or_nan = (features.to_device(&Device::Cpu)?.to_dtype(DType::F64)? * 0.0)?;
        if zero_or_nan.sum_all()?.to_scalar::<f64>()? != 0.0 {
            bail!("the memory's features must be finite")
        }
        let labels = find(tensors, LABELS, &[capacity])?.to_vec1::<u32>()?;
        let mut counts = vec![0; self.counts.len()];
        for &label in labels.iter().filter(|&&label| label != EMPTY) {
            match counts.get_mut(label as usize) {
                Some(count) => *count += 1,
                None => bail!(
                    "the memory's labels must be below {} classes, got {label}",
                    self.counts.len()
                ),
            }
        }
        let cursor = find(tensors, CURSOR, &[1])?.to_vec1::<u32>()?[0] as usize;
        if cursor >= capacity {
            bail!("the memory's cursor must be below its capacity, {capacity}, got {cursor}")
        }
        // A copy, since places are overwritten.
        self.features = features.copy()?.to_device(self.features.device())?;
        (self.labels, self.counts, self.cursor) = (labels, counts, cursor);
        self.waiting = None;
        Ok(())
    }
}

fn find<'a>(
    tensors: &'a HashMap<String, Tensor>,
    name: &str,
    shape: &[usize],
) -> Result<&'a Tensor> {
    let Some(tensor) = tensors.get(name) else {
        bail!("the memory lacks the tensor {name}")
    };
    if tensor.dims() != shape {
        bail!(
            "the memory's {name} must be {shape:?}, got {:?}",
            tensor.dims()
        )
    }
    Ok(tensor)
}
