//! What losses and logs read of the statistics.
use candle_core::{DType, Result, Tensor};

use crate::segment_sum::filled;

/// The statistics of every class at one moment, as constants: later batches don't change it.
///
/// A number that the class doesn't have is 0, and every number is finite: values beyond the dtype
/// are shown as its largest. On CUDA that holds of statistics too that a NaN or infinite feature has
/// spoilt: Candle's clamp, which is `fmax` there, makes 0 of NaN, in `m` and `v` of seen classes as well.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// `‖mean‖_p²`, (classes). With the pooled estimator and p = 2, `second_moment − v`, cut at 0.
    pub m: Tensor,
    /// Mean of `‖φ − mean‖_p²`, (classes).
    pub v: Tensor,
    /// `m + v`, (classes). Classes without a spread have `m` of [`crate::exact`] and, with the pooled
    /// estimator and p = 2, the average of `‖φ‖²` (which is `m + v` of the others too); otherwise 0.
    pub second_moment: Tensor,
    /// Mean of `‖φ − mean‖_2²`, (classes), in units of the pairs' squared distances: `v` if p = 2.
    pub pair_spread: Tensor,
    /// 1 for classes that a batch has had, (classes), u8.
    pub seen: Tensor,
    /// 1 for classes whose `v` is known, (classes), u8.
    pub has_spread: Tensor,
}

/// Numbers in the state's dtype, before they are shown.
pub(crate) struct Wide {
    pub m: Tensor,
    pub v: Tensor,
    pub second_moment: Tensor,
    pub pair_spread: Tensor,
    pub seen: Tensor,
    pub has_spread: Tensor,
}

impl Wide {
    pub fn shown(self, dtype: DType) -> Result<Snapshot> {
        let largest = match dtype {
            DType::F16 => 65504.0,
            DType::BF16 => f64::from(f32::from_bits(0x7F7F_0000)),
            DType::F64 if self.m.dtype() == DType::F64 => f64::MAX,
            _ => f64::from(f32::MAX),
        };
        let (zeros, largest) = (self.m.zeros_like()?, filled(&self.m, largest)?);
        let shown = |wide: Tensor| wide.clamp(&zeros, &largest)?.to_dtype(dtype);
        Ok(Snapshot {
            m: shown(self.m)?,
            v: shown(self.v)?,
            second_moment: shown(self.second_moment)?,
            pair_spread: shown(self.pair_spread)?,
            seen: self.seen,
            has_spread: self.has_spread,
        })
    }
}
