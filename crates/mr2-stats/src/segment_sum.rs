//! Means over the samples of each class by Candle's ops, for devices without fused passes.
use candle_core::{DType, Device, Result, Tensor};

use crate::segment::{Groups, NO_SEGMENT};

/// Numbers in a matrix of samples by class; above, sets are taken part by part.
const LARGEST_MATRIX: usize = 1 << 25;

/// Which classes have a row in tensors of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClassRows {
    /// Those that the batch has, ascending.
    Present,
    /// All: then the rows of a batch are those of the state. A scatter of rows, which Candle's CUDA
    /// backend does one after the other, isn't needed.
    Every,
}

impl ClassRows {
    /// What suits a device.
    pub fn on(device: &Device) -> Self {
        match device.is_cpu() {
            true => Self::Present,
            false => Self::Every,
        }
    }
}

/// The samples that are in a class, on a device.
pub(crate) struct Segments {
    /// (kept): the samples, or `None` if all are kept.
    kept: Option<Tensor>,
    /// (kept): the class of each.
    labels: Tensor,
    /// (classes, 1)
    classes: Tensor,
    /// (classes, 1): one over the samples of each class, 0 for those without.
    share: Tensor,
    /// (classes, kept): the share of each sample in the mean of its class, if that's not too large.
    matrix: Option<Tensor>,
}

impl Segments {
    /// Groups with at least one sample.
    pub fn new(groups: &Groups, wide: DType, device: &Device) -> Result<Self> {
        let samples = (0u32..).zip(&groups.segment);
        let kept: Vec<u32> = samples
            .filter(|&(_, &place)| place != NO_SEGMENT)
            .map(|(sample, _)| sample)
            .collect();
        let labels = kept.iter().map(|&sample| groups.labels[sample as usize]);
        let labels = Tensor::from_iter(labels, device)?;
        let share = groups.of_every_class(|count| match count {
            0 => 0.0,
            count => 1.0 / f64::from(count),
        });
        let mut segments = Self {
            labels,
            classes: Tensor::arange(0, groups.classes as u32, device)?.unsqueeze(1)?,
            share: wide_vector(share, wide, device)?.unsqueeze(1)?,
            matrix: None,
            kept: match kept.len() == groups.labels.len() {
                true => None,
                false => Some(Tensor::new(kept, device)?),
            },
        };
        let samples = segments.labels.dim(0)?;
        if samples <= segments.part() {
            segments.matrix = Some(segments.matrix_of(0, samples)?);
        }
        Ok(segments)
    }

    /// The rows of the samples in a class.
    pub fn kept(&self, rows: &Tensor) -> Result<Tensor> {
        match &self.kept {
            None => Ok(rows.clone()),
            Some(kept) => rows.index_select(kept, 0),
        }
    }

    /// The mean of each class's rows, (classes, dim), of kept rows (kept, dim); 0 for classes without.
    pub fn means(&self, rows: &Tensor) -> Result<Tensor> {
        if let Some(matrix) = &self.matrix {
            return matrix.matmul(rows);
        }
        let samples = rows.dim(0)?;
        let mut sums: Option<Tensor> = None;
        for start in (0..samples).step_by(self.part()) {
            let length = self.part().min(samples - start);
            let part = rows.narrow(0, start, length)?.contiguous()?;
            let part = self.matrix_of(start, length)?.matmul(&part)?;
            sums = Some(match sums {
                None => part,
                Some(sums) => (sums + part)?,
            });
        }
        match sums {
            Some(sums) => Ok(sums),
            None => Tensor::zeros(
                (self.share.dim(0)?, rows.dim(1)?),
                rows.dtype(),
                rows.device(),
            ),
        }
    }

    /// The row of its class for each kept sample, (kept, dim).
    pub fn spread(&self, rows: &Tensor) -> Result<Tensor> {
        rows.index_select(&self.labels, 0)
    }

    /// How many samples a matrix may have.
    fn part(&self) -> usize {
        (LARGEST_MATRIX / self.share.elem_count()).max(1)
    }

    fn matrix_of(&self, start: usize, length: usize) -> Result<Tensor> {
        let labels = self.labels.narrow(0, start, length)?.unsqueeze(0)?;
        let own = self.classes.broadcast_eq(&labels)?;
        own.to_dtype(self.share.dtype())?.broadcast_mul(&self.share)
    }
}

/// A vector in the wide dtype, converted on the host: not every device has f64.
pub(crate) fn wide_vector(values: Vec<f64>, wide: DType, device: &Device) -> Result<Tensor> {
    let length = values.len();
    let host = Tensor::from_vec(values, length, &Device::Cpu)?.to_dtype(wide)?;
    host.to_device(device)
}

/// One number everywhere, as `like`. Made on the device: a plain number beside a tensor is uploaded twice.
pub(crate) fn filled(like: &Tensor, number: f64) -> Result<Tensor> {
    let (shape, device) = (like.shape(), like.device());
    match like.dtype() {
        DType::F64 => Tensor::full(number, shape, device),
        DType::F32 => Tensor::full(number as f32, shape, device),
        dtype => Tensor::full(number, shape, device)?.to_dtype(dtype),
    }
}

/// Where a tensor is above a number.
pub(crate) fn above(tensor: &Tensor, number: f64) -> Result<Tensor> {
    tensor.gt(&filled(tensor, number)?)
}

/// The dtype in which statistics are kept: f64 where the device has it; f32 on Metal, which doesn't.
pub fn wide_dtype(device: &Device) -> DType {
    if device.is_metal() {
        DType::F32
    } else {
        DType::F64
    }
}
