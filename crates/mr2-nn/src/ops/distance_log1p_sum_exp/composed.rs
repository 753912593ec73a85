//! The soft hinge from Candle's ops, for devices without a fused one.
use candle_core::{DType, Result, Tensor};

use super::PairList;
use super::listed::Listed;

/// The same from Candle's ops, for devices without a fused one. Where a result is cut to the
/// dtype's largest number, its gradient is 0.
pub(in crate::ops) fn composed(
    features: &Tensor,
    list: &PairList,
    threshold: &Tensor,
    scale: f64,
) -> Result<Tensor> {
    let (batch, device) = (features.dim(0)?, features.device());
    let wide = if device.is_metal() {
        DType::F32
    } else {
        DType::F64
    };
    let rows = features.to_dtype(wide)?;
    let select = |samples: &[u32]| rows.index_select(&Tensor::new(samples, device)?, 0);
    let distances = (select(list.first)? - select(list.second)?)?
        .sqr()?
        .sum(1)?;
    let threshold = threshold.detach().to_device(device)?.to_dtype(wide)?;
    let exponents = (distances.broadcast_sub(&threshold)? / scale)?;
    let exponents = finite(&exponents, wide)?;
    // Candle has no maximum over segments: each sample's pairs stand in a row, which is filled up
    // with a pair that weighs nothing.
    let pairs = Listed::new(list, batch);
    let widths = (0..batch).map(|sample| pairs.counting_for(sample).len());
    let width = widths.max().unwrap_or(0);
    let slots = (0..batch).flat_map(|sample| {
        let own = pairs.counting_for(sample).iter().map(|&(pair, _)| pair);
        let nothing = list.first.len() as u32;
        own.chain(std::iter::repeat(nothing)).take(width)
    });
    let slots = Tensor::from_iter(slots, device)?;
    let nothing = Tensor::full(f32::NEG_INFINITY, 1, device)?.to_dtype(wide)?;
    let own = Tensor::cat(&[&exponents, &nothing], 0)?.index_select(&slots, 0)?;
    let mut own = own.reshape((batch, width))?;
    if list.factor.is_some() {
        let ln_factor = Tensor::from_iter((0..batch).map(|i| pairs.ln_factor(i)), device)?;
        own = own.broadcast_add(&ln_factor.to_dtype(wide)?.unsqueeze(1)?)?;
    }
    let peak = own.max(1)?.relu()?.detach();
    let sum = own.broadcast_sub(&peak.unsqueeze(1)?)?.exp()?.sum(1)?;
    let soft = (&peak + (sum + peak.neg()?.exp()?)?.log()?)?;
    finite(&soft, features.dtype())?.to_dtype(features.dtype())
}

/// `values`, but none above the largest number of `dtype`; NaN stays.
fn finite(values: &Tensor, dtype: DType) -> Result<Tensor> {
    let largest = match dtype {
        DType::F64 => f64::MAX,
        DType::F16 => 65504.0,
        DType::BF16 => f64::from(f32::from_bits(0x7F7F_0000)),
        _ => f64::from(f32::MAX),
    };
    let cut = (values.zeros_like()? + largest)?;
    values.gt(largest)?.where_cond(&cut, values)
}
