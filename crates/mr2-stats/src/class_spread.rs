//! How wide each class is, in features or in pixels.
use candle_core::{DType, Result, Tensor, bail};
use serde::{Deserialize, Serialize};

use crate::{Centre, exact};

/// The width of each class of a fixed set, in L2.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassSpread {
    /// `v`, per class; `None` for a class with fewer than two samples.
    pub spread: Vec<Option<f64>>,
    /// `v / m`, which doesn't depend on the rows' scale; `None` also where `m` is 0.
    pub relative_spread: Vec<Option<f64>>,
}

/// The width of each class of a fixed set: of its features, or of its images, whose width in
/// normalised pixels is their diversity. [`exact`] with the norm 2, about the origin or the global mean.
///
/// # Shapes
/// `samples` (samples, ...), of any float dtype; what follows the first dimension is flattened.
///
/// # Errors
/// As [`exact`], and a scalar.
///
/// ```
/// use mr2_stats::candle_core::{Device, Tensor};
/// use mr2_stats::{Centre, class_spread};
/// // Two 1×2 images of class 0, one of class 1.
/// let images = Tensor::new(&[[[1f32, 0.]], [[3., 0.]], [[0., 5.]]], &Device::Cpu)?;
/// let width = class_spread(&images, &[0, 0, 1], 2, Centre::None)?;
/// assert_eq!(width.spread, [Some(1.0), None]);
/// assert_eq!(width.relative_spread, [Some(0.25), None]);
/// # Ok::<(), mr2_stats::candle_core::Error>(())
/// ```
pub fn class_spread(
    samples: &Tensor,
    labels: &[u32],
    classes: usize,
    centre: Centre,
) -> Result<ClassSpread> {
    if samples.rank() == 0 {
        bail!("samples must be (samples, ...), got a scalar")
    }
    let rows = match samples.rank() {
        1 => samples.unsqueeze(1)?,
        _ => samples.flatten_from(1)?,
    };
    let snapshot = exact(&rows, labels, classes, 2.0, centre)?;
    let numbers = |tensor: &Tensor| tensor.to_dtype(DType::F64)?.to_vec1::<f64>();
    let (m, v) = (numbers(&snapshot.m)?, numbers(&snapshot.v)?);
    let has_spread = snapshot.has_spread.to_vec1::<u8>()?;
    let known = v.into_iter().zip(has_spread);
    let spread: Vec<_> = known.map(|(v, known)| (known == 1).then_some(v)).collect();
    let relative = |(spread, &m): (&Option<f64>, &f64)| spread.filter(|_| m > 0.0).map(|v| v / m);
    Ok(ClassSpread {
        relative_spread: spread.iter().zip(&m).map(relative).collect(),
        spread,
    })
}
