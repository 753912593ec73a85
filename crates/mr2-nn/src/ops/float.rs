//! The two element types that the CPU paths of the fused ops take, and their vector loops.
//!
//! The loops are plain safe Rust in the shape that LLVM turns into vector code for the baseline
//! target: no branches, no calls, fixed-size groups of independent sums. Floating-point addition
//! isn't associative, so a sum written the obvious way stays scalar.
use candle_core::{Result, Tensor, WithDType, bail};

/// Independent partial sums: two AVX-512 or eight SSE registers of f32, which hides the latency
/// of an addition on all of them.
const LANES: usize = 16;

/// Elements added in `T` before the total moves to f64, so that the error doesn't grow with the
/// length. A multiple of `LANES`.
pub(crate) const BLOCK: usize = 512;

/// Work below this many elements is done on the calling thread: waking another costs more.
pub(crate) const PARALLEL_FROM: usize = 1 << 15;

/// f32 or f64.
pub(crate) trait Float: WithDType + Copy + Send + Sync + 'static {
    const LARGEST: Self;
    const LOWEST: Self;

    /// `exp(x)` for `x <= 0`; NaN stays NaN. Results below the smallest normal number are 0.
    fn exp_nonpositive(self) -> Self;

    fn square_root(self) -> Self;
}

impl Float for f32 {
    const LARGEST: Self = f32::MAX;
    const LOWEST: Self = f32::NEG_INFINITY;

    /// Cody and Waite's reduction to `|r| <= ln(2) / 2` and the polynomial of Cephes' `expf`, in
    /// straight-line code (the C library's function is a call that no loop is vectorised over).
    /// At most 2 units in the last place from the true value.
    #[inline(always)]
    fn exp_nonpositive(self) -> Self {
        /// 1.5 * 2^23: adding it leaves the nearest integer in the low bits of the mantissa.
        const ROUND: f32 = 12_582_912.0;
        /// ln(2) in two parts, the first so short that its product with an exponent is exact.
        const LN2_HIGH: f32 = 355.0 / 512.0;
        const LN2_LOW: f32 = -2.121_944_4e-4;
        /// ln of the smallest normal number.
        const SMALLEST: f32 = -87.336_54;

        let shifted = self * std::f32::consts::LOG2_E + ROUND;
        let n = shifted - ROUND;
        let r = (self - n * LN2_HIGH) - n * LN2_LOW;
        let mut p = 1.987_569_1e-4_f32;
        p = p * r + 1.398_199_9e-3;
        p = p * r + 8.333_452e-3;
        p = p * r + 4.166_579_6e-2;
        p = p * r + 1.666_666_5e-1;
        p = p * r + 0.5;
        let fraction = (p * r) * r + r + 1.0;
        let power_of_two = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
        // Written so that NaN takes the second branch.
        if self < SMALLEST {
            0.0
        } else {
            fraction * power_of_two
        }
    }

    #[inline(always)]
    fn square_root(self) -> Self {
        self.sqrt()
    }
}

impl Float for f64 {
    const LARGEST: Self = f64::MAX;
    const LOWEST: Self = f64::NEG_INFINITY;

    /// f64 serves tests and small problems, so accuracy comes before speed.
    fn exp_nonpositive(self) -> Self {
        self.exp()
    }

    #[inline(always)]
    fn square_root(self) -> Self {
        self.sqrt()
    }
}

/// The sum of `values`: in lanes within blocks, in f64 across them.
pub(crate) fn sum<T: Float>(values: &[T]) -> f64 {
    let mut total = 0.0;
    for block in values.chunks(BLOCK) {
        let groups = block.chunks_exact(LANES);
        let tail: f64 = groups.remainder().iter().map(|v| v.to_f64()).sum();
        let mut lanes = [T::zero(); LANES];
        for group in groups {
            for (lane, &value) in lanes.iter_mut().zip(group) {
                *lane += value;
            }
        }
        total += tail + fold_lanes(&lanes);
    }
    total
}

/// The largest of `values`; NaN is passed over.
pub(crate) fn max<T: Float>(values: &[T]) -> T {
    let groups = values.chunks_exact(LANES);
    let mut largest = T::LOWEST;
    for &value in groups.remainder() {
        largest = if value > largest { value } else { largest };
    }
    let mut lanes = [T::LOWEST; LANES];
    for group in groups {
        for (lane, &value) in lanes.iter_mut().zip(group) {
            *lane = if value > *lane { value } else { *lane };
        }
    }
    lanes
        .into_iter()
        .fold(largest, |a, b| if b > a { b } else { a })
}

/// The squared L2 distance by differences, which doesn't cancel when both are far from the
/// origin, as `|a|^2 - 2ab + |b|^2` does. In f64, differences too.
pub(crate) fn squared_distance<T: Float>(a: &[T], b: &[T]) -> f64 {
    let squared = |x: &T, y: &T| {
        let difference = x.to_f64() - y.to_f64();
        difference * difference
    };
    let (a_groups, b_groups) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let tails = a_groups.remainder().iter().zip(b_groups.remainder());
    let tail: f64 = tails.map(|(x, y)| squared(x, y)).sum();
    let mut lanes = [0.0; LANES];
    for (a, b) in a_groups.zip(b_groups) {
        for ((lane, x), y) in lanes.iter_mut().zip(a).zip(b) {
            *lane += squared(x, y);
        }
    }
    tail + lanes.iter().sum::<f64>()
}

fn fold_lanes<T: Float>(lanes: &[T; LANES]) -> f64 {
    lanes.iter().map(|lane| lane.to_f64()).sum()
}

/// The elements of a CPU tensor in order, copied.
pub(crate) fn to_vec<T: Float>(tensor: &Tensor) -> Result<Vec<T>> {
    tensor.flatten_all()?.to_vec1::<T>()
}

/// The part of `storage` that a contiguous layout covers.
pub(crate) fn contiguous<'a, T: Float>(
    op: &'static str,
    storage: &'a candle_core::CpuStorage,
    layout: &candle_core::Layout,
) -> Result<&'a [T]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&T::cpu_storage_as_slice(storage)?[start..end]),
        None => bail!(
            "{op}: expected a contiguous tensor, got strides {:?}",
            layout.stride()
        ),
    }
}

/// Calls `read` with the elements of a contiguous CPU tensor.
pub(crate) fn with_slice<T: Float, R>(
    op: &'static str,
    tensor: &Tensor,
    read: impl FnOnce(&[T]) -> R,
) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        candle_core::Storage::Cpu(storage) => Ok(read(contiguous(op, storage, layout)?)),
        _ => bail!(
            "{op}: expected a tensor on the CPU, got {:?}",
            tensor.device()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        let mut worst = 0.0f64;
        for i in 0..2_000_000 {
            let x = -(i as f32) * 4.366e-5;
            let truth = f64::from(x).exp();
            let unit = f64::from(f32::EPSILON) * 2f64.powf(truth.log2().floor());
            worst = worst.max((f64::from(x.exp_nonpositive()) - truth).abs() / unit);
        }
        assert!(worst <= 2.0, "{worst} units");
    }

    #[test]
    fn exp_knows_its_edges() {
        assert_eq!(0f32.exp_nonpositive(), 1.0);
        assert_eq!((-0f32).exp_nonpositive(), 1.0);
        assert_eq!(f32::NEG_INFINITY.exp_nonpositive(), 0.0);
        assert_eq!((-1e30f32).exp_nonpositive(), 0.0);
        assert!(f32::NAN.exp_nonpositive().is_nan());
    }

    #[test]
    fn sums_and_maxima_agree_with_the_plain_loops_at_every_length() {
        for length in 0..70 {
            let values: Vec<f32> = (0..length).map(|i| ((i * 37) % 19) as f32 - 9.0).collect();
            let plain: f32 = values.iter().sum();
            assert_eq!(sum(&values), f64::from(plain));
            assert_eq!(
                max(&values),
                values.iter().copied().fold(f32::NEG_INFINITY, f32::max)
            );
            let other: Vec<f32> = values.iter().rev().copied().collect();
            let plain: f32 = values
                .iter()
                .zip(&other)
                .map(|(a, b)| (a - b).powi(2))
                .sum();
            assert_eq!(squared_distance(&values, &other), f64::from(plain));
        }
    }
}
