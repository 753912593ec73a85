//! The soft hinge of squared distances: a log-sum-exp over a sample's pairs with an implicit zero.
use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use self::composed::composed;
use self::listed::Listed;
use super::cross_entropy::not_half;
use super::float::{self, Float};

pub(super) mod composed;
mod listed;
#[cfg(feature = "cuda")]
mod on_device;

const NAME: &str = "distance_log1p_sum_exp";

/// What an exponential costs, in multiplications.
const EXPONENTIAL: usize = 8;

/// Pairs of samples: for whose sums they count, and how much.
#[derive(Debug, Clone, Copy)]
pub struct PairList<'a> {
    /// The first sample of each pair.
    pub first: &'a [u32],
    /// The second sample of each pair.
    pub second: &'a [u32],
    /// How many pairs, from the beginning, count for both of their samples; the rest counts for the
    /// first one only. The gradient reaches both samples of every pair.
    pub mutual: usize,
    /// What the sum of each sample is multiplied by; `None` is 1 everywhere.
    pub factor: Option<&'a [f64]>,
}

impl<'a> PairList<'a> {
    /// Pairs that count for both samples, once.
    pub fn mutual(first: &'a [u32], second: &'a [u32]) -> Self {
        Self {
            first,
            second,
            mutual: first.len(),
            factor: None,
        }
    }
}

/// [`weighted_distance_log1p_sum_exp`] over pairs that count for both samples, once.
///
/// # Shapes
/// `features` (batch, dim), f32 or f64; `first` and `second` one index per pair; `threshold` a
/// scalar; the result is (batch), not negative.
///
/// # Errors
/// As [`weighted_distance_log1p_sum_exp`].
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
    weighted_distance_log1p_sum_exp(features, &PairList::mutual(first, second), threshold, scale)
}

/// `ln(1 + c_i sum of exp((|x_i - x_j|^2 - threshold) / scale))` for every sample `i` of the features
/// `x`, over the listed pairs that count for it, with its factor `c_i`; 0 for a sample without any.
/// `threshold` is a constant in the backward pass.
///
/// Differences are taken before squares, so nothing cancels where samples lie close together far
/// from the origin. From the differences to the weights of the gradient, numbers are f64 whatever the
/// features are: an exponent of some hundreds rounded to f32 would leave five digits of its
/// exponential. (Metal has no f64: f32 there.) A result beyond the features' dtype is its largest
/// finite number.
///
/// # Shapes
/// `features` (batch, dim), f32 or f64 (on other devices than the CPU also f16 or bf16, with a result in f32); the list's `first` and `second` one index per pair, its
/// `factor` (batch); `threshold` a scalar; the result is (batch), not negative.
///
/// # Errors
/// Another shape or dtype, lists of different length, an index outside the batch, a sample paired
/// with itself, more mutual pairs than pairs, a factor or scale that is not positive and finite.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use mr2_nn::ops::{PairList, weighted_distance_log1p_sum_exp};
/// let features = Tensor::new(&[[0f32, 0.], [3., 4.], [1., 1.]], &Device::Cpu)?;
/// let threshold = Tensor::new(25f32, &Device::Cpu)?;
/// let list = PairList { first: &[0], second: &[1], mutual: 0, factor: Some(&[3.0, 1.0, 1.0]) };
/// let soft = weighted_distance_log1p_sum_exp(&features, &list, &threshold, 2.0)?;
/// let soft = soft.to_vec1::<f32>()?;
/// assert!((soft[0] - 4f32.ln()).abs() < 1e-6);
/// assert_eq!(soft[1..], [0.0, 0.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn weighted_distance_log1p_sum_exp(
    features: &Tensor,
    list: &PairList,
    threshold: &Tensor,
    scale: f64,
) -> Result<Tensor> {
    let &[batch, _] = features.dims() else {
        bail!(
            "{NAME}: features must be (batch, dim), got {:?}",
            features.dims()
        )
    };
    list.check(batch)?;
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
    let features = &not_half(features)?;
    if list.first.is_empty() {
        return Tensor::zeros(batch, features.dtype(), features.device());
    }
    #[cfg(feature = "cuda")]
    if features.device().is_cuda() {
        return on_device::fused(features, list, threshold, scale);
    }
    if !cpu {
        return composed(features, list, threshold, scale);
    }
    let threshold = threshold.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
    features.contiguous()?.apply_op1(DistanceLog1pSumExp {
        pairs: Listed::new(list, batch),
        threshold: at_most(threshold.to_scalar()?, f64::MAX),
        scale,
        forward: OnceLock::new(),
    })
}

/// NaN stays.
fn at_most(x: f64, largest: f64) -> f64 {
    if x > largest { largest } else { x }
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
        self.pairs.entries() * work_per_entry < float::PARALLEL_FROM
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
            let ln_factor = self.pairs.ln_factor(sample);
            let entries = self.pairs.counting_for(sample).iter();
            let own = entries.map(|&(pair, _)| exponents[pair as usize] + ln_factor);
            // From 0, since the implicit zero takes part: no exponential below is of more than 0.
            let peak = own.clone().fold(0.0, f64::max);
            let sum: f64 = own.map(|exponent| (exponent - peak).exp()).sum();
            // For a peak of 0 this is ln_1p(sum), which keeps the digits of a small sum.
            let result = peak + (sum + (-peak).exp_m1()).ln_1p();
            let total = sum + (-peak).exp();
            let result = T::from_f64(at_most(result, T::LARGEST.to_f64()));
            (result, Softmax { peak, total })
        };
        let samples = 0..self.pairs.batch();
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
        let pull = |(pair, (&(i, j), &exponent)): (usize, (&(u32, u32), &f64))| {
            let of = |sample: u32| {
                let Softmax { peak, total } = softmax[sample as usize];
                let exponent = exponent + self.pairs.ln_factor(sample as usize);
                upstream[sample as usize].to_f64() * (exponent - peak).exp() / total
            };
            let weight = match self.pairs.is_mutual(pair) {
                true => of(i) + of(j),
                false => of(i),
            };
            T::from_f64(2.0 / self.scale * weight)
        };
        let pairs = &self.pairs.pairs;
        let pulls: Vec<T> = match self.is_small(EXPONENTIAL) {
            true => pairs.iter().zip(exponents).enumerate().map(pull).collect(),
            false => {
                let pairs = pairs.par_iter().zip(exponents).enumerate();
                pairs.map(pull).collect()
            }
        };
        let mut gradient = vec![T::zero(); batch * dim];
        float::with_slice(NAME, features, |values: &[T]| {
            let row = |sample: usize| &values[sample * dim..][..dim];
            let backward = |(sample, out): (usize, &mut [T])| {
                for &(pair, partner) in self.pairs.joining(sample) {
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
