//! The soft hinge of squared distances: a log-sum-exp over a sample's pairs with an implicit zero.
use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::float::{self, Float};

const NAME: &str = "distance_log1p_sum_exp";

/// What an exponential costs, in multiplications.
const EXPONENTIAL: usize = 8;

/// `ln(1 + sum of exp((|x_i - x_j|^2 - threshold) / scale))` for every sample `i` of the features
/// `x`, over the listed pairs that contain it; 0 for a sample in no pair. `threshold` is a constant
/// in the backward pass.
///
/// Differences are taken before squares, so nothing cancels where samples lie close together far
/// from the origin. From the differences to the weights of the gradient, numbers are f64 whatever the
/// features are: an exponent of some hundreds rounded to f32 would leave five digits of its
/// exponential. (Metal has no f64: f32 there.) A result beyond the features' dtype is its largest
/// finite number.
///
/// # Shapes
/// `features` (batch, dim), f32 or f64; `first` and `second` one index per pair; `threshold` a
/// scalar; the result is (batch), not negative.
///
/// # Errors
/// Another shape or dtype, lists of different length, an index outside the batch, a sample paired
/// with itself, a scale that is not positive and finite.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use mr2_nn::ops::distance_log1p_sum_exp;
/// let features = Tensor::new(&[[0f32, 0.], [3., 4.], [1., 1.]], &Device::Cpu)?;
/// let threshold = Tensor::new(25f32, &Device::Cpu)?;
/// let soft = distance_log1p_sum_exp(&features, &[0], &[1], &threshold, 2.0)?;
/// assert_eq!(soft.to_vec1::<f32>()?, [2f32.ln(), 2f32.ln(), 0.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn distance_log1p_sum_exp(
    features: &Tensor,
    first: &[u32],
    second: &[u32],
    threshold: &Tensor,
    scale: f64,
) -> Result<Tensor> {
    let &[batch, _] = features.dims() else {
        bail!(
            "{NAME}: features must be (batch, dim), got {:?}",
            features.dims()
        )
    };
    check_pairs(first, second, batch)?;
    if threshold.rank() != 0 {
        bail!(
            "{NAME}: threshold must be a scalar, got {:?}",
            threshold.dims()
        )
    }
    if !(scale > 0.0 && scale.is_finite()) {
        bail!("{NAME}: scale must be positive and finite, got {scale}")
    }
    let cpu = features.device().is_cpu();
    if cpu && !matches!(features.dtype(), DType::F32 | DType::F64) {
        bail!(
            "{NAME}: features must be f32 or f64, got {:?}",
            features.dtype()
        )
    }
    if first.is_empty() {
        return Tensor::zeros(batch, features.dtype(), features.device());
    }
    if !cpu {
        return composed(features, first, second, threshold, scale);
    }
    let threshold = threshold.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
    features.contiguous()?.apply_op1(DistanceLog1pSumExp {
        pairs: Listed::new(first, second, batch),
        threshold: at_most(threshold.to_scalar()?, f64::MAX),
        scale,
        forward: OnceLock::new(),
    })
}

fn check_pairs(first: &[u32], second: &[u32], batch: usize) -> Result<()> {
    if first.len() != second.len() {
        bail!(
            "{NAME}: first and second must have one entry per pair, got {} and {}",
            first.len(),
            second.len()
        )
    }
    if u32::try_from(first.len()).is_err() {
        bail!("{NAME}: pairs must be fewer than 2^32, got {}", first.len())
    }
    for (pair, (&i, &j)) in first.iter().zip(second).enumerate() {
        if i as usize >= batch || j as usize >= batch {
            bail!("{NAME}: pair {pair} is samples ({i}, {j}), expected indices below {batch}")
        }
        if i == j {
            bail!("{NAME}: pair {pair} joins sample {i} with itself")
        }
    }
    Ok(())
}

/// NaN stays.
fn at_most(x: f64, largest: f64) -> f64 {
    if x > largest { largest } else { x }
}

/// The pairs, and those of each sample.
struct Listed {
    pairs: Vec<(u32, u32)>,
    /// Where each sample's entries begin; one more for the end of the last.
    start: Vec<usize>,
    /// (pair, the other sample), sample by sample in the order of the list.
    entries: Vec<(u32, u32)>,
}

impl Listed {
    /// Counting sort by sample.
    fn new(first: &[u32], second: &[u32], batch: usize) -> Self {
        let pairs: Vec<_> = first.iter().copied().zip(second.iter().copied()).collect();
        let mut start = vec![0; batch + 1];
        for &sample in first.iter().chain(second) {
            start[sample as usize + 1] += 1;
        }
        for sample in 0..batch {
            start[sample + 1] += start[sample];
        }
        let mut next = start.clone();
        let mut entries = vec![(0, 0); 2 * pairs.len()];
        for (pair, &(i, j)) in (0u32..).zip(&pairs) {
            for (sample, partner) in [(i, j), (j, i)] {
                entries[next[sample as usize]] = (pair, partner);
                next[sample as usize] += 1;
            }
        }
        Self {
            pairs,
            start,
            entries,
        }
    }

    fn of(&self, sample: usize) -> &[(u32, u32)] {
        &self.entries[self.start[sample]..self.start[sample + 1]]
    }
}

struct DistanceLog1pSumExp {
    pairs: Listed,
    threshold: f64,
    scale: f64,
    forward: OnceLock<Forward>,
}

/// What backward needs of forward. The results themselves won't do: in f32, a result of 1e9 is so
/// coarse that the weights made of it would be wrong by a factor.
struct Forward {
    /// Of each pair.
    exponents: Vec<f64>,
    /// Of each sample.
    softmax: Vec<Softmax>,
}

/// A sample's exponents and the implicit zero: the largest, and the sum of `exp(exponent - peak)`.
#[derive(Clone, Copy)]
struct Softmax {
    peak: f64,
    total: f64,
}

impl DistanceLog1pSumExp {
    /// Whether one thread is enough for work on all entries.
    fn is_small(&self, work_per_entry: usize) -> bool {
        self.pairs.entries.len() * work_per_entry < float::PARALLEL_FROM
    }

    fn forward<T: Float>(&self, features: &[T], dim: usize) -> CpuStorage {
        let row = |sample: u32| &features[sample as usize * dim..][..dim];
        let exponent = |&(i, j): &(u32, u32)| {
            let distance = float::squared_distance(row(i), row(j));
            at_most((distance - self.threshold) / self.scale, f64::MAX)
        };
        let pairs = &self.pairs.pairs;
        let exponents: Vec<f64> = match self.is_small(dim) {
            true => pairs.iter().map(exponent).collect(),
            false => pairs.par_iter().map(exponent).collect(),
        };
        let soft = |sample: usize| {
            let entries = self.pairs.of(sample).iter();
            let own = entries.map(|&(pair, _)| exponents[pair as usize]);
            // From 0, since the implicit zero takes part: no exponential below is of more than 0.
            let peak = own.clone().fold(0.0, f64::max);
            let sum: f64 = own.map(|exponent| (exponent - peak).exp()).sum();
            // For a peak of 0 this is ln_1p(sum), which keeps the digits of a small sum.
            let result = peak + (sum + (-peak).exp_m1()).ln_1p();
            let total = sum + (-peak).exp();
            let result = T::from_f64(at_most(result, T::LARGEST.to_f64()));
            (result, Softmax { peak, total })
        };
        let samples = 0..self.pairs.start.len() - 1;
        let (results, softmax): (Vec<T>, Vec<Softmax>) = match self.is_small(EXPONENTIAL) {
            true => samples.map(soft).unzip(),
            false => samples.into_par_iter().map(soft).unzip(),
        };
        // A second forward of one op would compute the same, so the first may stay.
        let _ = self.forward.set(Forward { exponents, softmax });
        T::to_cpu_storage_owned(results)
    }

    /// Every sample's gradient from all of its pairs, in the order of the list: rows are
    /// independent, so the bits don't depend on the threads.
    fn backward<T: Float>(&self, features: &Tensor, grad: &Tensor) -> Result<Tensor> {
        let Some(Forward { exponents, softmax }) = self.forward.get() else {
            bail!("{NAME}: backward before forward")
        };
        let (batch, dim) = features.dims2()?;
        let upstream: Vec<T> = float::to_vec(grad)?;
        let pull = |(&(i, j), &exponent): (&(u32, u32), &f64)| {
            let of = |sample: u32| {
                let Softmax { peak, total } = softmax[sample as usize];
                upstream[sample as usize].to_f64() * (exponent - peak).exp() / total
            };
            T::from_f64(2.0 / self.scale * (of(i) + of(j)))
        };
        let pairs = &self.pairs.pairs;
        let pulls: Vec<T> = match self.is_small(EXPONENTIAL) {
            true => pairs.iter().zip(exponents).map(pull).collect(),
            false => pairs.par_iter().zip(exponents).map(pull).collect(),
        };
        let mut gradient = vec![T::zero(); batch * dim];
        float::with_slice(NAME, features, |values: &[T]| {
            let row = |sample: usize| &values[sample * dim..][..dim];
            let backward = |(sample, out): (usize, &mut [T])| {
                for &(pair, partner) in self.pairs.of(sample) {
                    let pull = pulls[pair as usize];
                    let both = row(sample).iter().zip(row(partner as usize));
                    for (out, (&x, &y)) in out.iter_mut().zip(both) {
                        *out += pull * (x - y);
                    }
                }
            };
            let width = dim.max(1);
            if self.is_small(dim) {
                let rows = gradient.chunks_mut(width).enumerate();
                rows.for_each(backward);
            } else {
                let rows = gradient.par_chunks_mut(width).enumerate();
                rows.for_each(backward);
            }
        })?;
        Tensor::from_vec(gradient, (batch, dim), features.device())
    }
}

impl CustomOp1 for DistanceLog1pSumExp {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, dim) = layout.shape().dims2()?;
        let soft = match storage {
            CpuStorage::F64(_) => {
                self.forward::<f64>(float::contiguous(NAME, storage, layout)?, dim)
            }
            _ => self.forward::<f32>(float::contiguous(NAME, storage, layout)?, dim),
        };
        Ok((soft, Shape::from(batch)))
    }

    fn bwd(&self, features: &Tensor, _res: &Tensor, grad_res: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(match features.dtype() {
            DType::F64 => self.backward::<f64>(features, grad_res)?,
            _ => self.backward::<f32>(features, grad_res)?,
        }))
    }
}

/// The same from Candle's ops, for devices without a fused one. Where a result is cut to the
/// dtype's largest number, its gradient is 0.
pub(super) fn composed(
    features: &Tensor,
    first: &[u32],
    second: &[u32],
    threshold: &Tensor,
    scale: f64,
) -> Result<Tensor> {
    let (batch, device) = (features.dim(0)?, features.device());
    let wide = if device.is_metal() {
        DType::F32
    } else {
        DType::F64
    };
    let rows = features.to_dtype(wide)?;
    let select = |samples: &[u32]| rows.index_select(&Tensor::new(samples, device)?, 0);
    let distances = (select(first)? - select(second)?)?.sqr()?.sum(1)?;
    let threshold = threshold.detach().to_device(device)?.to_dtype(wide)?;
    let exponents = (distances.broadcast_sub(&threshold)? / scale)?;
    let exponents = finite(&exponents, wide)?;
    // Candle has no maximum over segments: each sample's pairs stand in a row, which is filled up
    // with a pair that weighs nothing.
    let pairs = Listed::new(first, second, batch);
    let widths = (0..batch).map(|sample| pairs.of(sample).len());
    let width = widths.max().unwrap_or(0);
    let slots = (0..batch).flat_map(|sample| {
        let own = pairs.of(sample).iter().map(|&(pair, _)| pair);
        own.chain(std::iter::repeat(first.len() as u32)).take(width)
    });
    let slots = Tensor::from_iter(slots, device)?;
    let nothing = Tensor::full(f32::NEG_INFINITY, 1, device)?.to_dtype(wide)?;
    let own = Tensor::cat(&[&exponents, &nothing], 0)?.index_select(&slots, 0)?;
    let own = own.reshape((batch, width))?;
    let peak = own.max(1)?.relu()?.detach();
    let sum = own.broadcast_sub(&peak.unsqueeze(1)?)?.exp()?.sum(1)?;
    let soft = (&peak + (sum + peak.neg()?.exp()?)?.log()?)?;
    finite(&soft, features.dtype())?.to_dtype(features.dtype())
}

/// `values`, but none above the largest number of `dtype`; NaN stays.
fn finite(values: &Tensor, dtype: DType) -> Result<Tensor> {
    let largest = match dtype {
        DType::F64 => f64::MAX,
        DType::F16 => 65504.0,
        DType::BF16 => f64::from(f32::from_bits(0x7F7F_0000)),
        _ => f64::from(f32::MAX),
    };
    let cut = (values.zeros_like()? + largest)?;
    values.gt(largest)?.where_cond(&cut, values)
}
