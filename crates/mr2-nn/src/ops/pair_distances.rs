//! Squared distances between the samples of listed pairs.
use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::check_pairs;
use super::float::{self, Float};

const NAME: &str = "pair_distances";

/// `|x_i - x_j|^2` for every pair `(i, j)`.
///
/// Differences are taken before squares, so nothing cancels where samples lie close together far
/// from the origin. On the CPU a distance beyond the dtype's range is its largest finite number.
///
/// # Shapes
/// `features` (batch, dim), f32 or f64; `first` and `second` one index per pair; the result is
/// (pairs), not negative.
///
/// # Errors
/// Another shape or dtype, lists of different length, an index outside the batch, a sample paired
/// with itself.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let features = Tensor::new(&[[0f32, 0.], [3., 4.], [1., 1.]], &Device::Cpu)?;
/// let distances = mr2_nn::ops::pair_distances(&features, &[0, 0], &[1, 2])?;
/// assert_eq!(distances.to_vec1::<f32>()?, [25.0, 2.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn pair_distances(features: &Tensor, first: &[u32], second: &[u32]) -> Result<Tensor> {
    let &[batch, _] = features.dims() else {
        bail!(
            "{NAME}: features must be (batch, dim), got {:?}",
            features.dims()
        )
    };
    check_pairs(NAME, first, second, batch)?;
    let op = || PairDistances {
        first: first.to_vec(),
        second: second.to_vec(),
    };
    match (features.device(), features.dtype()) {
        (Device::Cpu, DType::F32 | DType::F64) => features.contiguous()?.apply_op1(op()),
        (Device::Cpu, dtype) => bail!("{NAME}: features must be f32 or f64, got {dtype:?}"),
        _ => composed(features, first, second),
    }
}

struct PairDistances {
    first: Vec<u32>,
    second: Vec<u32>,
}

impl PairDistances {
    fn forward<T: Float>(&self, features: &[T], dim: usize) -> CpuStorage {
        let row = |sample: u32| &features[sample as usize * dim..][..dim];
        let distance = |(&i, &j): (&u32, &u32)| {
            let squared = T::from_f64(float::squared_distance(row(i), row(j)));
            // Written so that NaN stays.
            if squared > T::LARGEST {
                T::LARGEST
            } else {
                squared
            }
        };
        let distances: Vec<T> = if self.first.len() * dim < float::PARALLEL_FROM {
            self.first.iter().zip(&self.second).map(distance).collect()
        } else {
            self.first
                .par_iter()
                .zip(&self.second)
                .map(distance)
                .collect()
        };
        T::to_cpu_storage_owned(distances)
    }

    /// Every sample's gradient from all of its pairs, in the order of the list: rows are
    /// independent, so the bits don't depend on the threads.
    fn backward<T: Float>(&self, features: &Tensor, grad_res: &Tensor) -> Result<Tensor> {
        let (batch, dim) = features.dims2()?;
        let upstream: Vec<T> = float::to_vec(grad_res)?;
        let partners = Partners::new(&self.first, &self.second, batch);
        let mut gradient = vec![T::zero(); batch * dim];
        float::with_slice(NAME, features, |values: &[T]| {
            let row = |sample: usize| &values[sample * dim..][..dim];
            let backward = |(sample, out): (usize, &mut [T])| {
                for &(pair, partner) in partners.of(sample) {
                    let factor = upstream[pair as usize] + upstream[pair as usize];
                    let both = row(sample).iter().zip(row(partner as usize));
                    for (out, (&x, &y)) in out.iter_mut().zip(both) {
                        *out += factor * (x - y);
                    }
                }
            };
            if 2 * self.first.len() * dim < float::PARALLEL_FROM {
                gradient
                    .chunks_mut(dim.max(1))
                    .enumerate()
                    .for_each(backward);
            } else {
                gradient
                    .par_chunks_mut(dim.max(1))
                    .enumerate()
                    .for_each(backward);
            }
        })?;
        Tensor::from_vec(gradient, (batch, dim), features.device())
    }
}

impl CustomOp1 for PairDistances {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let dim = layout.dims()[1];
        let distances = match storage {
            CpuStorage::F64(_) => {
                self.forward::<f64>(float::contiguous(NAME, storage, layout)?, dim)
            }
            _ => self.forward::<f32>(float::contiguous(NAME, storage, layout)?, dim),
        };
        Ok((distances, Shape::from(self.first.len())))
    }

    fn bwd(&self, features: &Tensor, _res: &Tensor, grad_res: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(match features.dtype() {
            DType::F64 => self.backward::<f64>(features, grad_res)?,
            _ => self.backward::<f32>(features, grad_res)?,
        }))
    }
}

/// The pairs of each sample, by counting sort.
struct Partners {
    start: Vec<usize>,
    /// (pair, the other sample)
    entries: Vec<(u32, u32)>,
}

impl Partners {
    fn new(first: &[u32], second: &[u32], batch: usize) -> Self {
        let mut start = vec![0; batch + 1];
        for &sample in first.iter().chain(second) {
            start[sample as usize + 1] += 1;
        }
        for sample in 0..batch {
            start[sample + 1] += start[sample];
        }
        let mut next = start.clone();
        let mut entries = vec![(0, 0); 2 * first.len()];
        for (pair, (&i, &j)) in first.iter().zip(second).enumerate() {
            for (sample, partner) in [(i, j), (j, i)] {
                entries[next[sample as usize]] = (pair as u32, partner);
                next[sample as usize] += 1;
            }
        }
        Self { start, entries }
    }

    fn of(&self, sample: usize) -> &[(u32, u32)] {
        &self.entries[self.start[sample]..self.start[sample + 1]]
    }
}

/// The same from Candle's ops, for devices without a fused one.
pub(super) fn composed(features: &Tensor, first: &[u32], second: &[u32]) -> Result<Tensor> {
    let select = |samples: &[u32]| {
        features.index_select(
            &Tensor::from_slice(samples, samples.len(), features.device())?,
            0,
        )
    };
    (select(first)? - select(second)?)?.sqr()?.sum(1)
}
