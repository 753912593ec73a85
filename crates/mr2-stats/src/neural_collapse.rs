//! How far features and head have collapsed onto the class means.
use candle_core::{DType, Device, Result, Tensor, bail};
use serde::{Deserialize, Serialize};

use self::between::whitening;
use self::geometry::{angles, norm_variation, self_duality};
use crate::moments::check_features;
use crate::segment::Groups;

mod between;
mod geometry;

/// Rows that are taken to f64 at a time.
const ROWS: usize = 1024;

/// The four signs of neural collapse (Papyan, Han and Donoho, PNAS 2020, <https://doi.org/10.1073/pnas.2015509117>),
/// all of which go to 0 in it. `None` where a measure isn't defined: class means that coincide, or a
/// mean or head row of length 0.
///
/// `K` classes are those that the set has; `μ_k` are their means, `μ_G` is the mean of those (that of the
/// samples, where classes are equally large), `Σ_B` the covariance of the `μ_k` about `μ_G`, and `Σ_W` the
/// mean over the classes of the covariance of their samples, so that classes count equally.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NeuralCollapse {
    /// `tr(Σ_W Σ_B†) / K`: how far samples lie from their means, in each direction by how far apart
    /// these are in it. Directions in which the means lie less than 1e-7 of the largest `‖μ_k − μ_G‖`
    /// apart are none of theirs.
    pub nc1: Option<f64>,
    /// `tr Σ_W / tr Σ_B`: the same without regard to directions.
    pub nc1_ratio: Option<f64>,
    /// The standard deviation (over K) of `‖μ_k − μ_G‖` by their mean.
    pub nc2_norms: Option<f64>,
    /// The mean of `|cos + 1 / (K − 1)|` over pairs of `μ_k − μ_G`: how far their angles are from those of
    /// a simplex.
    pub nc2_angles: Option<f64>,
    /// As `nc2_norms`, of the head's rows.
    pub nc2_head_norms: Option<f64>,
    /// As `nc2_angles`, of the head's rows.
    pub nc2_head_angles: Option<f64>,
    /// `‖W / ‖W‖ − M / ‖M‖‖`, Frobenius norms, for the head's rows `W` and the `μ_k − μ_G` as rows `M`.
    pub nc3: Option<f64>,
    /// The share of samples that are predicted to be of another class than that with the nearest mean.
    pub nc4: f64,
}

/// The measures of a fixed set of features.
///
/// `predictions` are the head's, whatever makes them of its logits (bias, cosine, temperature). All of it
/// is computed on the CPU in f64, a slice of the features at a time.
///
/// # Shapes
/// `features` (samples, dim) and `head_weight` (classes, dim), of any float dtype; `labels` and
/// `predictions` one class per sample.
///
/// # Errors
/// Other shapes, a label or prediction that is no class, fewer than two classes in the set, a feature
/// or weight that is not finite.
///
/// ```
/// use mr2_stats::candle_core::{Device, Tensor};
/// use mr2_stats::neural_collapse;
/// // Two classes, collapsed onto opposite means, and a head that points at them.
/// let features = Tensor::new(&[[3f32, 0.], [3., 0.], [1., 0.], [1., 0.]], &Device::Cpu)?;
/// let head = Tensor::new(&[[5f32, 0.], [-5., 0.]], &Device::Cpu)?;
/// let collapse = neural_collapse(&features, &[0, 0, 1, 1], &head, &[0, 0, 1, 0])?;
/// assert_eq!(collapse.nc1, Some(0.0));
/// assert_eq!((collapse.nc2_norms, collapse.nc2_angles), (Some(0.0), Some(0.0)));
/// assert!(collapse.nc3 < Some(1e-15));
/// assert_eq!(collapse.nc4, 0.25); // the last sample
/// # Ok::<(), mr2_stats::candle_core::Error>(())
/// ```
pub fn neural_collapse(
    features: &Tensor,
    labels: &[u32],
    head_weight: &Tensor,
    predictions: &[u32],
) -> Result<NeuralCollapse> {
    check_features(features, labels.len(), None)?;
    let dim = features.dim(1)?;
    let classes = match head_weight.dims() {
        &[classes, width] if width == dim => classes,
        dims => bail!("head_weight must be (classes, {dim}), as wide as features, got {dims:?}"),
    };
    check_predictions(predictions, labels.len(), classes)?;
    let groups = Groups::new(labels, classes, None)?;
    let means = Means::new(features, &groups)?;
    let head = head_weight
        .detach()
        .to_device(&Device::Cpu)?
        .to_dtype(DType::F64)?;
    let head = head.index_select(&Tensor::new(groups.present.as_slice(), &Device::Cpu)?, 0)?;
    refuse_non_finite("head_weight", &head)?;
    let between = sum_of_squares(&means.centred)? / groups.present.len() as f64;
    let within = Within::new(features, &groups, &means, predictions)?;
    Ok(NeuralCollapse {
        nc1: within.whitened,
        nc1_ratio: (between > 0.0).then(|| within.trace / between),
        nc2_norms: norm_variation(&means.centred)?,
        nc2_angles: angles(&means.centred)?,
        nc2_head_norms: norm_variation(&head)?,
        nc2_head_angles: angles(&head)?,
        nc3: self_duality(&head, &means.centred)?,
        nc4: within.disagreeing as f64 / labels.len() as f64,
    })
}

fn check_predictions(predictions: &[u32], samples: usize, classes: usize) -> Result<()> {
    if predictions.len() != samples {
        bail!(
            "predictions must have one entry per sample, {samples}, got {}",
            predictions.len()
        )
    }
    if let Some(sample) = predictions.iter().position(|&p| p as usize >= classes) {
        bail!(
            "sample {sample} has prediction {}, expected below {classes} classes",
            predictions[sample]
        )
    }
    Ok(())
}

fn refuse_non_finite(what: &str, values: &Tensor) -> Result<()> {
    let zero_or_nan = (values * 0.0)?.sum_all()?.to_scalar::<f64>()?;
    match zero_or_nan == 0.0 {
        true => Ok(()),
        false => bail!("{what} must be finite"),
    }
}

fn sum_of_squares(values: &Tensor) -> Result<f64> {
    values.sqr()?.sum_all()?.to_scalar()
}

/// Slices of the features in f64 on the CPU, (rows, dim), each with the place of its first row.
fn slices(features: &Tensor) -> Result<impl Iterator<Item = Result<(usize, Tensor)>>> {
    let (features, samples) = (features.detach(), features.dim(0)?);
    Ok((0..samples).step_by(ROWS).map(move |start| {
        let rows = features.narrow(0, start, ROWS.min(samples - start))?;
        Ok((start, rows.to_device(&Device::Cpu)?.to_dtype(DType::F64)?))
    }))
}

/// The class means of the classes present, in f64.
struct Means {
    /// (present, dim)
    mean: Tensor,
    /// The same about their mean, (present, dim).
    centred: Tensor,
}

impl Means {
    fn new(features: &Tensor, groups: &Groups) -> Result<Self> {
        let (classes, dim) = (groups.present.len(), features.dim(1)?);
        if classes < 2 {
            bail!("neural collapse is of at least 2 classes, the samples have {classes}")
        }
        let mut sums = vec![0.0; classes * dim];
        for slice in slices(features)? {
            let (start, rows) = slice?;
            refuse_non_finite("features", &rows)?;
            for (row, place) in rows.to_vec2::<f64>()?.iter().zip(&groups.segment[start..]) {
                let sum = &mut sums[*place as usize * dim..][..dim];
                sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
            }
        }
        for (sum, &count) in sums.chunks_mut(dim).zip(&groups.counts) {
            sum.iter_mut().for_each(|sum| *sum /= f64::from(count));
        }
        let mean = Tensor::from_vec(sums, (classes, dim), &Device::Cpu)?;
        let centred = mean.broadcast_sub(&mean.mean_keepdim(0)?)?;
        Ok(Self { mean, centred })
    }
}

/// What the samples say about their means.
struct Within {
    /// `tr Σ_W`
    trace: f64,
    /// `tr(Σ_W Σ_B†) / K`
    whitened: Option<f64>,
    /// Samples whose prediction is not the class with the nearest mean.
    disagreeing: usize,
}

impl Within {
    fn new(features: &Tensor, groups: &Groups, means: &Means, predictions: &[u32]) -> Result<Self> {
        let classes = groups.present.len() as f64;
        let whitening = whitening(&means.centred)?;
        // ‖x − μ‖² without ‖x‖², which is the same for every class.
        let half_norms = (means.centred.sqr()?.sum_keepdim(1)?.t()? * 0.5)?;
        let (mut trace, mut whitened, mut disagreeing) = (0.0, 0.0, 0);
        for slice in slices(features)? {
            let (start, rows) = slice?;
            let places = &groups.segment[start..start + rows.dim(0)?];
            let index = Tensor::new(places, &Device::Cpu)?;
            let deviations = (rows - means.mean.index_select(&index, 0)?)?;
            let weight = |&place: &u32| 1.0 / (classes * f64::from(groups.counts[place as usize]));
            let weights = Tensor::from_iter(places.iter().map(weight), &Device::Cpu)?;
            let weighted = |rows: &Tensor| -> Result<f64> {
                (rows.sqr()?.sum(1)? * &weights)?.sum_all()?.to_scalar()
            };
            trace += weighted(&deviations)?;
            if let Some(whitening) = &whitening {
                whitened += weighted(&deviations.matmul(&whitening.t()?)?)?;
            }
            let about_centre = (deviations + means.centred.index_select(&index, 0)?)?;
            let nearness = about_centre.matmul(&means.centred.t()?)?;
            let nearest = nearness.broadcast_sub(&half_norms)?.argmax(1)?;
            let nearest = nearest
                .to_vec1::<u32>()?
                .into_iter()
                .zip(&predictions[start..]);
            disagreeing += nearest
                .filter(|&(place, &predicted)| groups.present[place as usize] != predicted)
                .count();
        }
        Ok(Self {
            trace,
            whitened: whitening.is_some().then_some(whitened),
            disagreeing,
        })
    }
}
