//! The fused passes over the features on the CPU: class by class, sums and deviations in f64.
use candle_core::{CpuStorage, DType, Device, Result, Storage, Tensor, bail};

use crate::moments::{Moments, Running, non_finite};
use crate::norm::Norm;
use crate::segment::{Groups, NO_SEGMENT};

/// A running mean as host lists.
struct HostRunning {
    mean: Vec<f64>,
    keep: Vec<f64>,
}

pub(crate) fn moments(
    features: &Tensor,
    groups: &Groups,
    norm: Norm,
    centre: Option<&Tensor>,
    running: Option<&Running>,
) -> Result<Moments> {
    let features = readable(features)?;
    let (_, dim) = features.dims2()?;
    let centre = centre.map(|centre| centre.to_vec1::<f64>()).transpose()?;
    let mut running = match running {
        None => None,
        Some(Running { mean, keep }) => Some(HostRunning {
            mean: mean.flatten_all()?.to_vec1()?,
            keep: keep.to_vec1()?,
        }),
    };
    let pass = Pass {
        groups,
        dim,
        norm,
        centre: centre.as_deref(),
    };
    let (storage, layout) = features.storage_and_layout();
    let start = layout.start_offset();
    let sums = match &*storage {
        Storage::Cpu(CpuStorage::F32(values)) => pass.run(&values[start..], running.as_mut())?,
        Storage::Cpu(CpuStorage::F64(values)) => pass.run(&values[start..], running.as_mut())?,
        _ => bail!("features must be f32 or f64 on the CPU"),
    };
    let present = groups.present.len();
    let tensor = |values: Vec<f64>| Tensor::from_vec(values, present, &Device::Cpu);
    let spread = tensor(sums.spread)?;
    let pair_spread = if norm.is_l2() {
        spread.clone()
    } else {
        tensor(sums.pair_spread)?
    };
    let running_mean = running
        .map(|running| Tensor::from_vec(running.mean, (present, dim), &Device::Cpu))
        .transpose()?;
    Ok(Moments {
        mean_norm: tensor(sums.mean_norm)?,
        spread,
        pair_spread,
        running_mean,
    })
}

/// The mean of all samples that are in a class, (dim), in f64.
pub(crate) fn global_mean(features: &Tensor, groups: &Groups) -> Result<Tensor> {
    let features = readable(features)?;
    let (_, dim) = features.dims2()?;
    let (storage, layout) = features.storage_and_layout();
    let start = layout.start_offset();
    let sum = match &*storage {
        Storage::Cpu(CpuStorage::F32(values)) => sum_of_kept(&values[start..], dim, groups),
        Storage::Cpu(CpuStorage::F64(values)) => sum_of_kept(&values[start..], dim, groups),
        _ => bail!("features must be f32 or f64 on the CPU"),
    };
    let kept: u32 = groups.counts.iter().sum();
    let mean = sum.into_iter().map(|sum| sum / f64::from(kept)).collect();
    Tensor::from_vec(mean, dim, &Device::Cpu)
}

fn sum_of_kept<T: Copy + Into<f64>>(features: &[T], dim: usize, groups: &Groups) -> Vec<f64> {
    let mut sum = vec![0f64; dim];
    for (row, _) in features
        .chunks_exact(dim)
        .zip(&groups.segment)
        .filter(|&(_, &place)| place != NO_SEGMENT)
    {
        for (sum, &x) in sum.iter_mut().zip(row) {
            *sum += x.into();
        }
    }
    sum
}

/// The features as contiguous f32 or f64.
fn readable(features: &Tensor) -> Result<Tensor> {
    match features.dtype() {
        DType::F32 | DType::F64 => features.contiguous(),
        _ => features.to_dtype(DType::F32)?.contiguous(),
    }
}

#[derive(Default)]
struct HostMoments {
    mean_norm: Vec<f64>,
    spread: Vec<f64>,
    pair_spread: Vec<f64>,
}

struct Pass<'a> {
    groups: &'a Groups,
    dim: usize,
    norm: Norm,
    centre: Option<&'a [f64]>,
}

impl Pass<'_> {
    fn run<T: Copy + Into<f64>>(
        &self,
        features: &[T],
        mut running: Option<&mut HostRunning>,
    ) -> Result<HostMoments> {
        let mut moments = HostMoments::default();
        let mut mean = vec![0f64; self.dim];
        let mut scratch = vec![0f64; self.dim];
        for (place, group) in self.groups.iter().enumerate() {
            self.mean_of(features, group, &mut mean)?;
            if let Some(running) = running.as_deref_mut() {
                let keep = running.keep[place];
                let row = &mut running.mean[place * self.dim..][..self.dim];
                let about = self.uncentred(row);
                self.push_spreads(features, group, &about, &mut scratch, &mut moments);
                self.subtract_centre(&mut mean);
                for (row, mean) in row.iter_mut().zip(&mean) {
                    *row = keep * *row + (1.0 - keep) * mean;
                }
                moments.mean_norm.push(self.norm.squared(row));
            } else {
                if group.len() == 1 {
                    moments.spread.push(0.0);
                    moments.pair_spread.push(0.0);
                } else {
                    self.push_spreads(features, group, &mean, &mut scratch, &mut moments);
                }
                self.subtract_centre(&mut mean);
                moments.mean_norm.push(self.norm.squared(&mean));
            }
        }
        Ok(moments)
    }

    /// The group's mean, not centred; refuses non-finite features, which would show in it.
    fn mean_of<T: Copy + Into<f64>>(
        &self,
        features: &[T],
        group: &[u32],
        mean: &mut [f64],
    ) -> Result<()> {
        mean.fill(0.0);
        for row in group.iter().map(|&sample| self.row(features, sample)) {
            for (mean, &x) in mean.iter_mut().zip(row) {
                *mean += x.into();
            }
        }
        let share = 1.0 / group.len() as f64;
        let mut finite = true;
        for mean in mean.iter_mut() {
            *mean *= share;
            finite &= mean.is_finite();
        }
        if finite {
            return Ok(());
        }
        for &sample in group {
            let row = self.row(features, sample);
            if let Some(position) = row.iter().position(|&x| !x.into().is_finite()) {
                let class = self.groups.labels[sample as usize];
                bail!(
                    "{}",
                    non_finite(sample as usize, class, row[position].into(), position)
                )
            }
        }
        // Finite f64 features whose sum overflows: their mean is as far as f64 reaches.
        mean.iter_mut()
            .for_each(|mean| *mean = mean.clamp(f64::MIN, f64::MAX));
        Ok(())
    }

    fn push_spreads<T: Copy + Into<f64>>(
        &self,
        features: &[T],
        group: &[u32],
        about: &[f64],
        scratch: &mut [f64],
        moments: &mut HostMoments,
    ) {
        let (mut spread, mut pair_spread) = (0.0, 0.0);
        for &sample in group {
            for ((deviation, &x), about) in scratch
                .iter_mut()
                .zip(self.row(features, sample))
                .zip(about)
            {
                *deviation = x.into() - about;
            }
            spread += self.norm.squared(scratch);
            if !self.norm.is_l2() {
                pair_spread += Norm::L2.squared(scratch);
            }
        }
        moments
            .spread
            .push((spread / group.len() as f64).min(f64::MAX));
        moments
            .pair_spread
            .push((pair_spread / group.len() as f64).min(f64::MAX));
    }

    fn row<'f, T>(&self, features: &'f [T], sample: u32) -> &'f [T] {
        &features[sample as usize * self.dim..][..self.dim]
    }

    fn subtract_centre(&self, mean: &mut [f64]) {
        for (mean, centre) in mean.iter_mut().zip(self.centre.unwrap_or_default()) {
            *mean -= centre;
        }
    }

    fn uncentred(&self, row: &[f64]) -> Vec<f64> {
        match self.centre {
            None => row.to_vec(),
            Some(centre) => row
                .iter()
                .zip(centre)
                .map(|(row, centre)| row + centre)
                .collect(),
        }
    }
}
