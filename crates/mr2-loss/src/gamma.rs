//! The margin of each class and the threshold of the pair distances, from the statistics.
use candle_core::{DType, Result, Tensor};
use mr2_stats::{Snapshot, wide_dtype};

use crate::config::{ClassCount, GammaConfig, GammaSource, SpreadRule};

/// The smallest margin: its reciprocal times any sensible logit is finite in f32.
const SMALLEST: f64 = 1e-30;

/// The margin `γ` of each class: `budget · K · s_k^exponent / Σ_k s_k^exponent` (arXiv
/// 2602.00205, corollary 1, for the exponent 1/3). A constant in the backward pass.
///
/// A class without the statistic `s` (not seen yet, without a spread, or with a statistic of 0)
/// has `γ = budget` and is left out of the sum and, with [`ClassCount::Data`], of `K`: so the
/// margins of all classes always average to the budget. With another [`ClassCount`] they do not.
///
/// # Shapes
/// The result is (classes), finite and positive, in the snapshot's dtype.
///
/// # Errors
/// A budget that is not positive, an exponent that is not finite, a fixed class count of 0.
///
/// ```
/// use mr2_loss::candle_core::{Device, Tensor};
/// use mr2_loss::{Centre, ClassCount, GammaConfig, GammaSource, exact, gamma};
/// let features = Tensor::new(&[[1f64], [8.]], &Device::Cpu)?;
/// let snapshot = exact(&features, &[0, 2], 3, 2.0, Centre::None)?;
/// let config = GammaConfig {
///     source: GammaSource::SecondMoment,
///     budget: 2.0,
///     exponent: 0.5, // of 1 and 64
///     classes: ClassCount::Data,
/// };
/// let margins = gamma(&snapshot, &config)?.to_vec1::<f64>()?;
/// for (margin, expected) in margins.iter().zip([4.0 / 9.0, 2.0, 32.0 / 9.0]) {
///     assert!((margin - expected).abs() < 1e-12);
/// }
/// # Ok::<(), mr2_loss::candle_core::Error>(())
/// ```
pub fn gamma(snapshot: &Snapshot, config: &GammaConfig) -> Result<Tensor> {
    config.check()?;
    let (ln_statistic, usable) = match config.source {
        GammaSource::Uniform => return budget_everywhere(snapshot, config.budget),
        GammaSource::SecondMoment => ln_where_positive(&snapshot.second_moment)?,
        GammaSource::Spread => ln_where_positive(&snapshot.v)?,
        GammaSource::RelativeSpread => {
            let (ln_v, has_v) = ln_where_positive(&snapshot.v)?;
            let (ln_m, has_m) = ln_where_positive(&snapshot.m)?;
            ((ln_v - ln_m)?, (has_v * has_m)?)
        }
    };
    let dtype = ln_statistic.dtype();
    // Powers as exponentials of differences to the largest: no statistic is too large for them.
    let ln_power = (ln_statistic * config.exponent)?;
    let lowest = (ln_power.ones_like()? * f64::from(f32::MIN))?;
    let largest = usable.where_cond(&ln_power, &lowest)?.max_keepdim(0)?;
    let mask = usable.to_dtype(dtype)?;
    let power = (ln_power
        .broadcast_sub(&largest)?
        .minimum(&ln_power.zeros_like()?)?
        .exp()?
        * &mask)?;
    let share = power.broadcast_div(&power.sum_keepdim(0)?)?;
    let share = (share * config.budget)?;
    let scaled = match config.classes {
        ClassCount::Data => share.broadcast_mul(&mask.sum_keepdim(0)?)?,
        ClassCount::All => (&share * share.dim(0)? as f64)?,
        ClassCount::Fixed(classes) => (share * classes as f64)?,
    };
    let scaled = scaled.maximum(&filled(&scaled, SMALLEST)?)?;
    usable.where_cond(&scaled, &budget_everywhere(snapshot, config.budget)?)
}

/// The threshold `s̄` of [`crate::representation_margin`], 0 while no class has a spread. A
/// constant in the backward pass.
///
/// # Shapes
/// The result is a scalar in f64 (f32 on Metal, which has no f64): where distances are large, `2 s̄`
/// rounded to f32 would show in the exponential of their difference.
///
/// # Errors
/// A mean over 0 classes.
pub fn spread_threshold(snapshot: &Snapshot, rule: SpreadRule) -> Result<Tensor> {
    rule.check()?;
    let device = snapshot.v.device();
    let wide = wide_dtype(device);
    let constant = |tensor: &Tensor| tensor.detach().to_dtype(wide);
    match rule {
        SpreadRule::Zero => Tensor::zeros((), wide, device),
        SpreadRule::MeanSpread => {
            let mask = constant(&snapshot.has_spread)?;
            let total = mask.sum_keepdim(0)?;
            let share = mask.broadcast_div(&total.maximum(&total.ones_like()?)?)?;
            (constant(&snapshot.pair_spread)? * share)?.sum_all()
        }
        SpreadRule::MeanSpreadOver(classes) => {
            (constant(&snapshot.v)? * (1.0 / classes as f64))?.sum_all()
        }
    }
}

fn budget_everywhere(snapshot: &Snapshot, budget: f64) -> Result<Tensor> {
    filled(&snapshot.v, budget)
}

/// One number everywhere, as `like`. Made on the device: a plain number beside a tensor is uploaded twice.
fn filled(like: &Tensor, number: f64) -> Result<Tensor> {
    let (shape, device) = (like.shape(), like.device());
    match like.dtype() {
        DType::F64 => Tensor::full(number, shape, device),
        DType::F32 => Tensor::full(number as f32, shape, device),
        dtype => Tensor::full(number, shape, device)?.to_dtype(dtype),
    }
}

/// The logarithm where the statistic is positive (u8 mask), 0 elsewhere.
fn ln_where_positive(statistic: &Tensor) -> Result<(Tensor, Tensor)> {
    let statistic = statistic.detach();
    let positive = statistic.gt(&statistic.zeros_like()?)?;
    let ln = positive
        .where_cond(&statistic, &statistic.ones_like()?)?
        .log()?;
    Ok((ln, positive))
}
