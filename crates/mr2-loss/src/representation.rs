//! The loss that draws the features of one class together.
use candle_core::{Result, Tensor, bail};
use mr2_nn::ops::{PairList, weighted_distance_log1p_sum_exp};
use mr2_stats::Pairs;

use crate::FeatureMemory;
use crate::config::ExponentScale;

/// `ln(1 + Σ exp((‖φ − φ⁺‖² − 2 s̄) / scale))` per sample, summed over the other samples `φ⁺` of
/// its class in the batch (arXiv 2602.00205); 0 for a sample without another. Stable for any
/// distance; distances are taken by differences and everything is in f64 inside, so large class
/// means and wide features don't cost accuracy. `spread_threshold` is a constant in the backward
/// pass.
///
/// # Shapes
/// `features` (batch, dim), f32 or f64; `spread_threshold` a scalar of any float dtype; the result is
/// (batch).
///
/// # Errors
/// Another shape or batch than `pairs`, a constant scale that is not positive.
///
/// ```
/// use mr2_loss::candle_core::{Device, Tensor};
/// use mr2_loss::{ExponentScale, Pairs, representation_margin};
/// let features = Tensor::new(&[[0f64, 0.], [1., 1.], [5., 5.]], &Device::Cpu)?;
/// let threshold = Tensor::new(1f64, &Device::Cpu)?; // 2 s̄ is the squared distance of the pair
/// let pairs = Pairs::new(&[7, 7, 3], 10)?;
/// let losses = representation_margin(&features, &pairs, &threshold, ExponentScale::One)?;
/// assert_eq!(losses.to_vec1::<f64>()?, [2f64.ln(), 2f64.ln(), 0.0]);
/// # Ok::<(), mr2_loss::candle_core::Error>(())
/// ```
pub fn representation_margin(
    features: &Tensor,
    pairs: &Pairs,
    spread_threshold: &Tensor,
    scale: ExponentScale,
) -> Result<Tensor> {
    let list = PairList::mutual(pairs.first(), pairs.second());
    soft_hinge(features, pairs, &list, spread_threshold, scale)
}

/// [`representation_margin`] over at most `most` positives of each sample: those next to it, as many
/// before as behind (with an odd number, one more behind), in the cyclic order in which the batch has
/// its class. Of `c` samples of a class, where `most < c - 1`, the sum over them is multiplied by
/// `(c - 1) / most` inside the logarithm. Where the order of a batch is random, as a shuffling loader
/// makes it, they are a random draw and the sum has the full one's expectation; its logarithm is on
/// average lower, by Jensen's inequality, the less so the more are drawn.
///
/// It costs about `most / 2` distances a sample instead of `(c - 1) / 2`, and is
/// [`representation_margin`] to the bit where no class has more than `most + 1` samples.
///
/// # Shapes
/// As [`representation_margin`].
///
/// # Errors
/// As [`representation_margin`], and a `most` of 0.
pub fn representation_margin_at_most(
    features: &Tensor,
    pairs: &Pairs,
    most: usize,
    spread_threshold: &Tensor,
    scale: ExponentScale,
) -> Result<Tensor> {
    if most == 0 {
        bail!("representation_margin_at_most: most must be at least 1, got 0")
    }
    let drawn = Drawn::new(pairs, most);
    let list = PairList {
        first: &drawn.first,
        second: &drawn.second,
        mutual: drawn.mutual,
        factor: drawn.factor.as_deref(),
    };
    soft_hinge(features, pairs, &list, spread_threshold, scale)
}

/// [`representation_margin`] over the other samples of the class in the batch and in `memory`, which
/// are constants in the backward pass. The memory is only read.
///
/// # Shapes
/// As [`representation_margin`].
///
/// # Errors
/// As [`representation_margin`], and a memory of other classes, another width or another device.
pub fn representation_margin_with_memory(
    features: &Tensor,
    pairs: &Pairs,
    memory: &FeatureMemory,
    spread_threshold: &Tensor,
    scale: ExponentScale,
) -> Result<Tensor> {
    check_features(features, pairs)?;
    let Some(remembered) = memory.remembered(features, pairs)? else {
        return representation_margin(features, pairs, spread_threshold, scale);
    };
    let list = PairList {
        first: &[pairs.first(), &remembered.first].concat(),
        second: &[pairs.second(), &remembered.second].concat(),
        mutual: pairs.first().len(),
        factor: None,
    };
    let rows = Tensor::cat(&[features, &remembered.rows], 0)?;
    let (threshold, scale) = constants(features, spread_threshold, scale)?;
    weighted_distance_log1p_sum_exp(&rows, &list, &threshold, scale)?.narrow(0, 0, pairs.batch())
}

fn soft_hinge(
    features: &Tensor,
    pairs: &Pairs,
    list: &PairList,
    spread_threshold: &Tensor,
    scale: ExponentScale,
) -> Result<Tensor> {
    check_features(features, pairs)?;
    let (threshold, scale) = constants(features, spread_threshold, scale)?;
    weighted_distance_log1p_sum_exp(features, list, &threshold, scale)
}

fn check_features(features: &Tensor, pairs: &Pairs) -> Result<()> {
    let &[batch, _] = features.dims() else {
        bail!("features must be (batch, dim), got {:?}", features.dims())
    };
    if batch != pairs.batch() {
        bail!(
            "features must have {} rows, as many as pairs, got {batch}",
            pairs.batch()
        )
    }
    Ok(())
}

/// `2 s̄`, and what the exponent is divided by.
fn constants(
    features: &Tensor,
    spread_threshold: &Tensor,
    scale: ExponentScale,
) -> Result<(Tensor, f64)> {
    let scale = match scale {
        ExponentScale::One => 1.0,
        ExponentScale::Constant(scale) => scale,
        ExponentScale::TenTimesDim => 10.0 * features.dim(1)? as f64,
    };
    Ok(((spread_threshold.detach() * 2.0)?, scale))
}

/// The pairs of [`representation_margin_at_most`].
struct Drawn {
    first: Vec<u32>,
    second: Vec<u32>,
    /// Pairs that count for both samples come first.
    mutual: usize,
    /// Of each sample, if any class has more samples than are drawn.
    factor: Option<Vec<f64>>,
}

impl Drawn {
    fn new(pairs: &Pairs, most: usize) -> Self {
        let (mut mutual, mut one_sided) = (Vec::new(), Vec::new());
        let mut factor = None;
        for place in 0..pairs.present().len() {
            let members = pairs.members(place);
            let others = members.len() - 1;
            if others <= most {
                let rest = |(place, &i)| members[place + 1..].iter().map(move |&j| (i, j));
                mutual.extend(members.iter().enumerate().flat_map(rest));
                continue;
            }
            // Each sample has as many before it as behind it, so the pairs with those behind count
            // for both; an odd one out is behind. None comes twice, since most < others.
            let behind = |distance: usize| {
                let pair =
                    move |place| (members[place], members[(place + distance) % (others + 1)]);
                (0..=others).map(pair)
            };
            mutual.extend((1..=most / 2).flat_map(behind));
            one_sided.extend((0..most % 2).flat_map(|_| behind(most / 2 + 1)));
            let factor = factor.get_or_insert_with(|| vec![1.0; pairs.batch()]);
            for &sample in members {
                factor[sample as usize] = others as f64 / most as f64;
            }
        }
        let count = mutual.len();
        let (first, second) = mutual.into_iter().chain(one_sided).unzip();
        Self {
            first,
            second,
            mutual: count,
            factor,
        }
    }
}
