//! The soft hinge over all pairs of a sample: a log-sum-exp with an implicit zero.
use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Result, Shape, Tensor, bail};

use super::check_pairs;
use super::float::{self, Float};

const NAME: &str = "segment_log1p_sum_exp";

/// `ln(1 + sum of exp(v_p) over the pairs p that contain sample i)` for every sample `i`; 0 for a
/// sample in no pair. Stable for values of any size.
///
/// # Shapes
/// `values` (pairs), f32 or f64; `first` and `second` one index per pair; the result is (batch),
/// not negative.
///
/// # Errors
/// Another shape or dtype, lists of another length, an index outside the batch, a sample paired
/// with itself.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let values = Tensor::new(&[0f32, 1000.], &Device::Cpu)?;
/// let soft = mr2_nn::ops::segment_log1p_sum_exp(&values, &[0, 1], &[1, 2], 4)?;
/// assert_eq!(soft.to_vec1::<f32>()?, [2f32.ln(), 1000.0, 1000.0, 0.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn segment_log1p_sum_exp(
    values: &Tensor,
    first: &[u32],
    second: &[u32],
    batch: usize,
) -> Result<Tensor> {
    check_pairs(NAME, first, second, batch)?;
    if values.dims() != [first.len()] {
        bail!(
            "{NAME}: values must be ({}), one per pair, got {:?}",
            first.len(),
            values.dims()
        )
    }
    let op = || SegmentLog1pSumExp {
        first: first.to_vec(),
        second: second.to_vec(),
        batch,
    };
    match (values.device(), values.dtype()) {
        (Device::Cpu, DType::F32 | DType::F64) => values.contiguous()?.apply_op1(op()),
        (Device::Cpu, dtype) => bail!("{NAME}: values must be f32 or f64, got {dtype:?}"),
        _ => composed(values, first, second, batch),
    }
}

struct SegmentLog1pSumExp {
    first: Vec<u32>,
    second: Vec<u32>,
    batch: usize,
}

impl SegmentLog1pSumExp {
    /// Every (pair, sample in it), in the order of the list.
    fn members(&self) -> impl Iterator<Item = (usize, usize)> {
        let both = self.first.iter().zip(&self.second).enumerate();
        both.flat_map(|(pair, (&i, &j))| [(pair, i as usize), (pair, j as usize)])
    }

    fn forward<T: Float>(&self, values: &[T]) -> CpuStorage {
        // The implicit zero takes part in the maximum, so no exponent is positive.
        let mut peak = vec![T::zero(); self.batch];
        for (pair, sample) in self.members() {
            let value = values[pair];
            peak[sample] = if value > peak[sample] {
                value
            } else {
                peak[sample]
            };
        }
        let mut sum = vec![0.0; self.batch];
        for (pair, sample) in self.members() {
            sum[sample] += (values[pair] - peak[sample]).exp_nonpositive().to_f64();
        }
        let soft = peak.iter().zip(&sum).map(|(&peak, &sum)| {
            // For a peak of 0 this is ln_1p(sum), which keeps the digits of a small sum.
            let peak = peak.to_f64();
            T::from_f64(peak + (sum + (-peak).exp_m1()).ln_1p())
        });
        T::to_cpu_storage_owned(soft.collect())
    }

    fn backward<T: Float>(&self, values: &Tensor, res: &Tensor, grad: &Tensor) -> Result<Tensor> {
        let soft: Vec<T> = float::to_vec(res)?;
        let upstream: Vec<T> = float::to_vec(grad)?;
        let mut gradient = vec![T::zero(); values.elem_count()];
        float::with_slice(NAME, values, |values: &[T]| {
            for (pair, sample) in self.members() {
                // A value never exceeds its sample's result but by rounding.
                let depth = values[pair] - soft[sample];
                let depth = if depth > T::zero() { T::zero() } else { depth };
                gradient[pair] += upstream[sample] * depth.exp_nonpositive();
            }
        })?;
        Tensor::from_vec(gradient, values.shape(), values.device())
    }
}

impl CustomOp1 for SegmentLog1pSumExp {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let soft = match storage {
            CpuStorage::F64(_) => self.forward::<f64>(float::contiguous(NAME, storage, layout)?),
            _ => self.forward::<f32>(float::contiguous(NAME, storage, layout)?),
        };
        Ok((soft, Shape::from(self.batch)))
    }

    fn bwd(&self, values: &Tensor, res: &Tensor, grad_res: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(match values.dtype() {
            DType::F64 => self.backward::<f64>(values, res, grad_res)?,
            _ => self.backward::<f32>(values, res, grad_res)?,
        }))
    }
}

/// The same from Candle's ops, for devices without a fused one: the values go into a dense (batch,
/// batch) matrix, since Candle has no maximum over segments.
pub(super) fn composed(
    values: &Tensor,
    first: &[u32],
    second: &[u32],
    batch: usize,
) -> Result<Tensor> {
    let (device, dtype) = (values.device(), values.dtype());
    let pairs = first.iter().zip(second);
    let cells: Vec<u32> = pairs.clone().map(|(&i, &j)| i * batch as u32 + j).collect();
    let mirrored: Vec<u32> = pairs.map(|(&i, &j)| j * batch as u32 + i).collect();
    let cells = Tensor::from_vec([cells, mirrored].concat(), 2 * first.len(), device)?;
    let both = Tensor::cat(&[values, values], 0)?;
    let dense = Tensor::zeros(batch * batch, dtype, device)?.index_add(&cells, &both, 0)?;
    let listed = Tensor::zeros(batch * batch, dtype, device)?
        .index_add(&cells, &both.ones_like()?.detach(), 0)?
        .reshape((batch, batch))?;
    let dense = dense.reshape((batch, batch))?;
    let peak = listed.gt(0.0)?.where_cond(&dense, &dense.zeros_like()?)?;
    let peak = peak.max(1)?.relu()?.detach();
    // Cells without a pair hold 0, which the peak isn't below: their exp is finite, then masked.
    let depth = dense.broadcast_sub(&peak.unsqueeze(1)?)?;
    let sum = (listed * depth.exp()?)?.sum(1)?;
    let zero = peak.neg()?.exp()?;
    peak + (sum + zero)?.log()?
}
