//! Sums over the samples of each class: one CPU op, `index_add` elsewhere.
use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, WithDType, bail};

use crate::Pairs;
use crate::segment::{Groups, NO_SEGMENT};

/// The sum of the rows of each class present, differentiable.
///
/// # Shapes
/// `values` (batch, dim); the result is (present, dim), in the order of [`Pairs::present`].
///
/// # Errors
/// Another rank or batch than `pairs`, no sample in any class, on the CPU a dtype other than f32
/// and f64.
///
/// ```
/// use mr2_stats::candle_core::{Device, Tensor};
/// use mr2_stats::{Pairs, segment_sum};
/// let values = Tensor::new(&[[1f32], [10.], [100.]], &Device::Cpu)?;
/// let sums = segment_sum(&values, &Pairs::new(&[5, 2, 5], 6)?)?;
/// assert_eq!(sums.to_vec2::<f32>()?, [[10.], [101.]]);
/// # Ok::<(), mr2_stats::candle_core::Error>(())
/// ```
pub fn segment_sum(values: &Tensor, pairs: &Pairs) -> Result<Tensor> {
    group_sum(values, pairs.groups())
}

pub(crate) fn group_sum(values: &Tensor, groups: &Groups) -> Result<Tensor> {
    let &[batch, _] = values.dims() else {
        bail!(
            "segment_sum: values must be (batch, dim), got {:?}",
            values.dims()
        )
    };
    if batch != groups.labels.len() {
        bail!(
            "segment_sum: values must have {} rows, got {batch}",
            groups.labels.len()
        )
    }
    if groups.present.is_empty() {
        bail!("segment_sum: no sample of the batch is in a class")
    }
    if values.device().is_cpu() {
        return values.apply_op1(GroupSum {
            groups: groups.clone(),
        });
    }
    composed(values, groups)
}

/// The same by `index_add`: samples of no class go to a last row that is dropped.
fn composed(values: &Tensor, groups: &Groups) -> Result<Tensor> {
    let (batch, dim) = values.dims2()?;
    let present = groups.present.len();
    let rows: Vec<u32> = groups
        .segment
        .iter()
        .map(|&place| place.min(present as u32))
        .collect();
    let rows = Tensor::from_vec(rows, batch, values.device())?;
    let sums = Tensor::zeros((present + 1, dim), values.dtype(), values.device())?;
    sums.index_add(&rows, values, 0)?.narrow(0, 0, present)
}

struct GroupSum {
    groups: Groups,
}

impl GroupSum {
    fn sum<T: WithDType>(&self, values: &[T], layout: &Layout) -> Result<Vec<T>> {
        let (_, dim) = layout.shape().dims2()?;
        let (row_stride, column_stride) = (layout.stride()[0], layout.stride()[1]);
        let mut sums = Vec::with_capacity(self.groups.present.len() * dim);
        let mut total = vec![0f64; dim];
        for group in self.groups.iter() {
            total.fill(0.0);
            for &sample in group {
                let start = layout.start_offset() + sample as usize * row_stride;
                for (column, sum) in total.iter_mut().enumerate() {
                    *sum += values[start + column * column_stride].to_f64();
                }
            }
            sums.extend(total.iter().map(|&sum| T::from_f64(sum)));
        }
        Ok(sums)
    }
}

impl CustomOp1 for GroupSum {
    fn name(&self) -> &'static str {
        "segment-sum"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let shape = Shape::from((self.groups.present.len(), layout.dims()[1]));
        let sums = match storage {
            CpuStorage::F32(values) => CpuStorage::F32(self.sum(values, layout)?),
            CpuStorage::F64(values) => CpuStorage::F64(self.sum(values, layout)?),
            _ => bail!("segment_sum: values must be f32 or f64 on the CPU"),
        };
        Ok((sums, shape))
    }

    fn bwd(&self, values: &Tensor, _sums: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let spread = spread(&grad.contiguous()?, &self.groups)?;
        if !self.groups.segment.contains(&NO_SEGMENT) {
            return Ok(Some(spread));
        }
        let kept = self
            .groups
            .segment
            .iter()
            .map(|&place| u8::from(place != NO_SEGMENT));
        let kept = Tensor::from_iter(kept, values.device())?.unsqueeze(1)?;
        let kept = kept.broadcast_as(values.shape())?;
        Ok(Some(kept.where_cond(&spread, &spread.zeros_like()?)?))
    }
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
pub(crate) fn wide_dtype(device: &candle_core::Device) -> DType {
    if device.is_metal() {
        DType::F32
    } else {
        DType::F64
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use candle_core::{Device, Var};

    use super::*;

    #[test]
    fn the_cpu_op_and_index_add_agree_forward_and_backward() {
        let values: Vec<f64> = (0..15).map(|i| (i * i) as f64 * 0.25 - 3.0).collect();
        let values = Var::from_vec(values, (5, 3), &Device::Cpu).unwrap();
        for keep in [[true; 5], [true, false, true, true, false]] {
            let groups = Groups::new(&[2, 0, 2, 7, 0], 9, Some(&keep)).unwrap();
            let weight = Tensor::arange(0f64, groups.present.len() as f64 * 3.0, &Device::Cpu);
            let weight = weight.unwrap().reshape((groups.present.len(), 3)).unwrap();
            let both = [group_sum(&values, &groups), composed(&values, &groups)].map(|sums| {
                let sums = sums.unwrap();
                let loss = (&sums * &weight).unwrap().sum_all().unwrap();
                let grads = loss.backward().unwrap();
                let grad = grads.get(&values).unwrap().to_vec2::<f64>().unwrap();
                (sums.to_vec2::<f64>().unwrap(), grad)
            });
            assert_eq!(both[0], both[1]);
        }
    }

    #[test]
    fn strided_values_are_summed_as_they_read() {
        let values = Tensor::new(&[[1f32, 2., 3.], [10., 20., 30.]], &Device::Cpu).unwrap();
        let pairs = Pairs::new(&[1, 0, 1], 2).unwrap();
        let sums = segment_sum(&values.t().unwrap(), &pairs).unwrap();
        assert_eq!(sums.to_vec2::<f32>().unwrap(), [[2., 20.], [4., 40.]]);
    }
}
