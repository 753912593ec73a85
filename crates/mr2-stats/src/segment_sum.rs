//! Sums over the samples of each class by Candle's ops, for devices without fused passes.
use candle_core::{DType, Device, Result, Tensor};

use crate::segment::{Groups, NO_SEGMENT};

/// The sum of the rows of each class present, (present, dim). Samples of no class go to a last row
/// that is dropped.
pub(crate) fn segment_sum(values: &Tensor, groups: &Groups) -> Result<Tensor> {
    let (_, dim) = values.dims2()?;
    let present = groups.present.len();
    let rows = groups
        .segment
        .iter()
        .map(|&place| place.min(present as u32));
    let rows = Tensor::from_iter(rows, values.device())?;
    let sums = Tensor::zeros((present + 1, dim), values.dtype(), values.device())?;
    sums.index_add(&rows, values, 0)?.narrow(0, 0, present)
}

/// The row of its class for every sample, (batch, dim); for samples of no class, the first row.
pub(crate) fn spread(rows: &Tensor, groups: &Groups) -> Result<Tensor> {
    let places = groups
        .segment
        .iter()
        .map(|&place| if place == NO_SEGMENT { 0 } else { place });
    rows.index_select(&Tensor::from_iter(places, rows.device())?, 0)
}

/// The dtype in which statistics are kept: f64 where the device has it.
pub(crate) fn wide_dtype(device: &Device) -> DType {
    if device.is_metal() {
        DType::F32
    } else {
        DType::F64
    }
}
