//! The statistics of a fixed set of features, in one call.
use candle_core::{Result, Tensor};

use crate::estimator::check_norm;
use crate::moments::{check_features, global_mean, moments, refuse_non_finite};
use crate::norm::Norm;
use crate::segment::Groups;
use crate::segment_sum::{ClassRows, wide_dtype, wide_vector};
use crate::snapshot::Wide;
use crate::{Centre, Snapshot};

/// The statistics of a fixed set: `m`, and `v` as the mean over all samples of the class, with
/// [`Centre::GlobalMean`] about the mean of the set. A class with one sample has no spread.
///
/// # Shapes
/// `features` (samples, dim), of any float dtype; the snapshot is of its dtype and device.
///
/// # Errors
/// Another shape, a label that is no class, a norm below 1, a NaN or infinite feature (the error
/// names class and sample).
///
/// ```
/// use mr2_stats::candle_core::{Device, Tensor};
/// use mr2_stats::{Centre, exact};
/// let features = Tensor::new(&[[1f32, 0.], [3., 0.], [0., 5.]], &Device::Cpu)?;
/// let snapshot = exact(&features, &[0, 0, 1], 3, 2.0, Centre::None)?;
/// assert_eq!(snapshot.m.to_vec1::<f32>()?, [4., 25., 0.]);
/// assert_eq!(snapshot.v.to_vec1::<f32>()?, [1., 0., 0.]);
/// # Ok::<(), mr2_stats::candle_core::Error>(())
/// ```
pub fn exact(
    features: &Tensor,
    labels: &[u32],
    classes: usize,
    norm: f64,
    centre: Centre,
) -> Result<Snapshot> {
    check_norm(norm)?;
    check_features(features, labels.len(), None)?;
    let features = features.detach();
    let groups = Groups::new(labels, classes, None)?;
    let device = features.device();
    let wide = wide_dtype(device);
    let none = Tensor::zeros(classes, wide, device)?;
    if labels.is_empty() {
        let unseen = none.gt(0.0)?;
        let [m, v, second_moment, pair_spread] = [(); 4].map(|()| none.clone());
        let wide = Wide {
            m,
            v,
            second_moment,
            pair_spread,
            seen: unseen.clone(),
            has_spread: unseen,
        };
        return wide.shown(features.dtype());
    }
    let centre = match centre {
        Centre::None => None,
        Centre::GlobalMean => Some(global_mean(&features, &groups)?),
    };
    let rows = ClassRows::on(device);
    if rows == ClassRows::Every {
        refuse_non_finite(&features, &groups)?;
    }
    let moments = moments(&features, &groups, Norm(norm), centre.as_ref(), None, rows)?;
    let index = Tensor::new(groups.present.as_slice(), device)?;
    let by_class = |found: &Tensor| match rows {
        ClassRows::Present => none.scatter(&index, found, 0),
        ClassRows::Every => Ok(found.clone()),
    };
    let counts = wide_vector(groups.of_every_class(f64::from), wide, device)?;
    let (m, v) = (by_class(&moments.mean_norm)?, by_class(&moments.spread)?);
    let second_moment = (&m + &v)?;
    let pair_spread = by_class(&moments.pair_spread)?;
    let (seen, has_spread) = (counts.gt(0.0)?, counts.gt(1.0)?);
    Wide {
        m,
        v,
        second_moment,
        pair_spread,
        seen,
        has_spread,
    }
    .shown(features.dtype())
}
