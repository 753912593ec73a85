//! The moments of each class in one batch: fused slice passes on the CPU, Candle ops elsewhere.
use candle_core::{DType, Result, Tensor, bail};

use crate::moments_cpu;
use crate::norm::{Norm, Range};
use crate::segment::{Groups, NO_SEGMENT};
use crate::segment_sum::{ClassRows, Segments, wide_dtype};

/// Numbers for the classes of a [`ClassRows`], on the features' device, in the wide dtype.
pub(crate) struct Moments {
    /// `‖mean‖_p²` about the centre, of the batch's mean or of the running one after the batch.
    pub mean_norm: Tensor,
    /// Mean of `‖φ − mean‖_p²`.
    pub spread: Tensor,
    /// Mean of `‖φ − mean‖_2²`; the spread itself if p = 2.
    pub pair_spread: Tensor,
    /// The running means after the batch, (present, dim), if they were asked for.
    pub running_mean: Option<Tensor>,
}

/// The running means of the classes that the moments are of, before a batch.
pub(crate) struct Running {
    /// (present, dim), about the centre.
    pub mean: Tensor,
    /// (present): the share of it that stays; 0 for a class seen for the first time, 1 for one that the
    /// batch hasn't.
    pub keep: Tensor,
}

/// Moments about `centre` (dim), of the deviations from the batch's class means, or from the
/// running ones. [`ClassRows::Present`] is for the CPU, and refuses non-finite features; with
/// [`ClassRows::Every`] nothing looks for them, which would wait for the device: one of them makes NaN of
/// every class's numbers, whose means are products with a matrix of all samples.
pub(crate) fn moments(
    features: &Tensor,
    groups: &Groups,
    norm: Norm,
    centre: Option<&Tensor>,
    running: Option<&Running>,
    rows: ClassRows,
) -> Result<Moments> {
    match rows {
        ClassRows::Present => moments_cpu::moments(features, groups, norm, centre, running),
        ClassRows::Every => composed(features, groups, norm, centre, running),
    }
}

/// The mean of all samples that are in a class, (dim), in the wide dtype.
pub(crate) fn global_mean(features: &Tensor, groups: &Groups) -> Result<Tensor> {
    if features.device().is_cpu() {
        return moments_cpu::global_mean(features, groups);
    }
    let wide = wide_dtype(features.device());
    let segments = Segments::new(groups, wide, features.device())?;
    segments.kept(features)?.to_dtype(wide)?.mean(0)
}

pub(crate) fn check_features(features: &Tensor, batch: usize, dim: Option<usize>) -> Result<()> {
    let &[rows, columns] = features.dims() else {
        bail!("features must be (batch, dim), got {:?}", features.dims())
    };
    if rows != batch || dim.is_some_and(|dim| dim != columns) || columns == 0 {
        let dim = dim.map_or_else(|| "dim >= 1".to_string(), |dim| dim.to_string());
        bail!("features must be ({batch}, {dim}), got ({rows}, {columns})")
    }
    if !features.dtype().is_float() {
        bail!(
            "features must be of a float dtype, got {:?}",
            features.dtype()
        )
    }
    Ok(())
}

pub(crate) fn non_finite(sample: usize, class: u32, value: f64, position: usize) -> String {
    format!(
        "features must be finite: sample {sample} of class {class} has {value} at position {position}"
    )
}

/// Refuses a non-finite feature of any sample that is in a class. This waits for the features.
pub(crate) fn refuse_non_finite(features: &Tensor, groups: &Groups) -> Result<()> {
    let zero_or_nan = (features.to_dtype(DType::F32)? * 0.0)?
        .sum(1)?
        .to_vec1::<f32>()?;
    for (sample, flag) in zero_or_nan.iter().enumerate() {
        if *flag == 0.0 || groups.segment[sample] == NO_SEGMENT {
            continue;
        }
        let row = features
            .get(sample)?
            .to_dtype(wide_dtype(features.device()))?;
        let row = row.to_dtype(DType::F64)?.to_vec1::<f64>()?;
        if let Some(position) = row.iter().position(|x| !x.is_finite()) {
            bail!(
                "{}",
                non_finite(sample, groups.labels[sample], row[position], position)
            )
        }
    }
    Ok(())
}

pub(crate) fn composed(
    features: &Tensor,
    groups: &Groups,
    norm: Norm,
    centre: Option<&Tensor>,
    running: Option<&Running>,
) -> Result<Moments> {
    let wide = wide_dtype(features.device());
    let segments = Segments::new(groups, wide, features.device())?;
    let mut rows = segments.kept(features)?.to_dtype(wide)?;
    if let Some(centre) = centre {
        rows = rows.broadcast_sub(centre)?;
    }
    // Squares of f32 features stay far within f64.
    let range = match features.dtype() {
        DType::F64 => Range::Full,
        _ if wide == DType::F64 => Range::Narrow,
        _ => Range::Full,
    };
    let mean = segments.means(&rows)?;
    let reference = running.map_or(&mean, |running| &running.mean);
    let deviations = (&rows - segments.spread(reference)?)?;
    let mean_of_norms = |norm: Norm| -> Result<Tensor> {
        let norms = norm.squared_rows(&deviations, range)?.unsqueeze(1)?;
        segments.means(&norms)?.squeeze(1)
    };
    let spread = mean_of_norms(norm)?;
    let pair_spread = if norm.is_l2() {
        spread.clone()
    } else {
        mean_of_norms(Norm::L2)?
    };
    let running_mean = match running {
        None => None,
        Some(Running { mean: before, keep }) => {
            let keep = keep.unsqueeze(1)?;
            let new_share = keep.affine(-1.0, 1.0)?;
            Some((before.broadcast_mul(&keep)? + mean.broadcast_mul(&new_share)?)?)
        }
    };
    let mean_norm = norm.squared_rows(running_mean.as_ref().unwrap_or(&mean), range)?;
    Ok(Moments {
        mean_norm,
        spread,
        pair_spread,
        running_mean,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use candle_core::Device;

    use super::*;

    fn check_equal(a: &Tensor, b: &Tensor) {
        let numbers = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        assert_eq!(a.dims(), b.dims());
        for (x, y) in numbers(a).into_iter().zip(numbers(b)) {
            assert!((x - y).abs() <= 1e-12 * (1.0 + y.abs()), "{x} and {y}");
        }
    }

    #[test]
    fn the_fused_passes_and_the_composed_ops_agree() {
        let values: Vec<f64> = (0..66)
            .map(|i| f64::from((i * 37) % 23) * 0.5 - 4.0)
            .collect();
        let features = Tensor::from_vec(values, (6, 11), &Device::Cpu).unwrap();
        let keep = [true, true, true, false, true, true];
        let groups = Groups::new(&[3, 0, 3, 3, 9, 3], 10, Some(&keep)).unwrap();
        let centre = global_mean(&features, &groups).unwrap();
        let mean = Tensor::ones((3, 11), DType::F64, &Device::Cpu).unwrap();
        let keep = Tensor::new(&[0.9f64, 0.0, 0.9], &Device::Cpu).unwrap();
        let running = Running { mean, keep };
        let present = Tensor::new(groups.present.as_slice(), &Device::Cpu).unwrap();
        let of_every_class = |running: &Running| Running {
            mean: Tensor::ones((10, 11), DType::F64, &Device::Cpu).unwrap(),
            keep: Tensor::ones(10, DType::F64, &Device::Cpu)
                .unwrap()
                .scatter(&present, &running.keep, 0)
                .unwrap(),
        };
        for features in [features.clone(), features.to_dtype(DType::F32).unwrap()] {
            for p in [1.0, 2.0, 2.5, 3.0, 5.0] {
                for centre in [None, Some(&centre)] {
                    for running in [None, Some(&running)] {
                        let fused =
                            moments_cpu::moments(&features, &groups, Norm(p), centre, running)
                                .unwrap();
                        let every = running.map(of_every_class);
                        let other =
                            composed(&features, &groups, Norm(p), centre, every.as_ref()).unwrap();
                        let same = |fused: &Tensor, other: &Tensor| {
                            check_equal(fused, &other.index_select(&present, 0).unwrap());
                        };
                        same(&fused.mean_norm, &other.mean_norm);
                        same(&fused.spread, &other.spread);
                        same(&fused.pair_spread, &other.pair_spread);
                        assert_eq!(fused.running_mean.is_some(), running.is_some());
                        if let (Some(a), Some(b)) = (fused.running_mean, other.running_mean) {
                            same(&a, &b);
                        }
                    }
                }
            }
        }
    }

    type Way = fn(&Tensor, &Groups, Norm, Option<&Tensor>, Option<&Running>) -> Result<Moments>;

    fn checked(
        features: &Tensor,
        groups: &Groups,
        norm: Norm,
        centre: Option<&Tensor>,
        running: Option<&Running>,
    ) -> Result<Moments> {
        refuse_non_finite(features, groups)?;
        composed(features, groups, norm, centre, running)
    }

    #[test]
    fn both_ways_refuse_the_same_sample_and_ignore_masked_ones() {
        for (value, name) in [(f32::NAN, "NaN"), (f32::NEG_INFINITY, "-inf")] {
            let features =
                Tensor::new(&[[f32::INFINITY, 0.], [1., 2.], [3., value]], &Device::Cpu).unwrap();
            let groups = Groups::new(&[4, 1, 6], 7, Some(&[false, true, true])).unwrap();
            for way in [moments_cpu::moments as Way, checked] {
                let error = way(&features, &groups, Norm::L2, None, None).err().unwrap();
                let expected = format!("sample 2 of class 6 has {name} at position 1");
                assert!(error.to_string().contains(&expected), "{error}");
            }
            let groups = Groups::new(&[4, 1, 6], 7, Some(&[false, true, false])).unwrap();
            let of_every_class = [0.0, 5.0, 0.0, 0.0, 0.0, 0.0, 0.0];
            let ways = [
                (moments_cpu::moments as Way, &[5.0][..]),
                (checked, &of_every_class),
            ];
            for (way, expected) in ways {
                let moments = way(&features, &groups, Norm::L2, None, None).unwrap();
                assert_eq!(moments.mean_norm.to_vec1::<f64>().unwrap(), expected);
            }
        }
    }
}
