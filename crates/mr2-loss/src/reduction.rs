//! From a loss per sample to one number.
use candle_core::{Result, Tensor, bail};
use mr2_stats::Pairs;

use crate::FeatureMemory;
use crate::config::{ClassCount, Reduction};

/// One number of the samples' losses.
///
/// # Shapes
/// `per_sample` (batch); `feature_dim` is the width of the features; the result is a scalar.
///
/// # Errors
/// Another batch than `pairs`, an empty batch, a fixed class count of 0.
pub fn reduce(
    per_sample: &Tensor,
    pairs: &Pairs,
    feature_dim: usize,
    reduction: Reduction,
) -> Result<Tensor> {
    reduce_over(per_sample, pairs, feature_dim, reduction, |_| false)
}

/// [`reduce`] for losses of [`crate::representation_margin_with_memory`]: with
/// [`Reduction::ClassMean`], a class is also there if the batch has it once and the memory has it.
///
/// # Shapes
/// As [`reduce`].
///
/// # Errors
/// As [`reduce`], and a memory of another number of classes than `pairs`.
pub fn reduce_with_memory(
    per_sample: &Tensor,
    pairs: &Pairs,
    memory: &FeatureMemory,
    feature_dim: usize,
    reduction: Reduction,
) -> Result<Tensor> {
    memory.check_classes(pairs)?;
    let remembered = |class| memory.has(class);
    reduce_over(per_sample, pairs, feature_dim, reduction, remembered)
}

/// `remembered`: whether a sample that is alone in its class has a positive elsewhere.
fn reduce_over(
    per_sample: &Tensor,
    pairs: &Pairs,
    feature_dim: usize,
    reduction: Reduction,
    remembered: impl Fn(u32) -> bool,
) -> Result<Tensor> {
    if per_sample.dims() != [pairs.batch()] || pairs.batch() == 0 {
        bail!(
            "per_sample must be ({}) and not empty, got {:?}",
            pairs.batch(),
            per_sample.dims()
        )
    }
    let classes = match reduction {
        Reduction::SampleMean => return per_sample.mean_all(),
        Reduction::ClassMean(classes) => classes,
    };
    classes.check("reduce")?;
    let classes = match classes {
        ClassCount::Data | ClassCount::All => pairs.classes(),
        ClassCount::Fixed(classes) => classes,
    };
    let per_class = feature_dim as f64 / 10.0 / classes as f64;
    let weight = |&place: &u32| match pairs.counts().get(place as usize) {
        Some(&count) if count > 1 || remembered(pairs.present()[place as usize]) => {
            per_class / f64::from(count)
        }
        _ => 0.0, // without a positive, or in no class
    };
    let weights = Tensor::from_iter(pairs.segment().iter().map(weight), per_sample.device())?;
    (per_sample * weights.to_dtype(per_sample.dtype())?)?.sum_all()
}
