//! Squared p-norms of rows, on slices and on tensors, for any p >= 1 and any finite values.
use candle_core::{D, Result, Tensor};

/// Independent sums, so that the compiler can use vector registers; their order is fixed.
const LANES: usize = 8;

/// Powers up to this one of numbers in the range of f32 stay normal numbers of f64.
const LARGEST_NARROW_POWER: f64 = 5.0;

/// Which numbers rows hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Range {
    /// Sums and differences of f32, as f64.
    Narrow,
    /// Any of the dtype, whose powers may over- or underflow.
    Full,
}

/// A p-norm. Small whole powers are products; any other is a call of `powf` per element.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Norm(pub f64);

impl Norm {
    pub const L2: Norm = Norm(2.0);

    pub fn is_l2(self) -> bool {
        self.0 == 2.0
    }

    /// `‖row‖_p²`, at most `f64::MAX`.
    pub fn squared(self, row: &[f64]) -> f64 {
        let p = self.0;
        let sum = if p == 1.0 {
            lane_sum(row, f64::abs)
        } else if p == 2.0 {
            lane_sum(row, |x| x * x)
        } else if p == 3.0 {
            lane_sum(row, |x| x.abs() * x * x)
        } else if p == 4.0 {
            lane_sum(row, |x| (x * x) * (x * x))
        } else if p == 5.0 {
            lane_sum(row, |x| (x * x) * (x * x) * x.abs())
        } else {
            return scaled(row, p);
        };
        match (sum.is_normal(), p == 2.0) {
            (true, true) => sum,
            (true, false) => sum.powf(2.0 / p).min(f64::MAX),
            // Over- or underflow of the powers (or a row of zeros): take the largest out first.
            (false, _) => scaled(row, p),
        }
    }

    /// `‖row‖_p²` of every row.
    ///
    /// # Shapes
    /// `rows` (rows, dim); the result is (rows).
    pub fn squared_rows(self, rows: &Tensor, range: Range) -> Result<Tensor> {
        if range == Range::Narrow && self.0 <= LARGEST_NARROW_POWER {
            return match self.is_l2() {
                true => rows.sqr()?.sum(D::Minus1),
                false => {
                    let powers = rows.abs()?.powf(self.0)?;
                    powers.sum(D::Minus1)?.powf(2.0 / self.0)
                }
            };
        }
        let sizes = rows.abs()?;
        let largest = sizes.max_keepdim(D::Minus1)?;
        // A row of zeros is divided by one.
        let divisor = (&largest + largest.eq(0.0)?.to_dtype(largest.dtype())?)?;
        let ratios = sizes.broadcast_div(&divisor)?;
        let sums = match self.is_l2() {
            true => ratios.sqr()?.sum(D::Minus1)?,
            false => ratios.powf(self.0)?.sum(D::Minus1)?.powf(2.0 / self.0)?,
        };
        sums * largest.squeeze(1)?.sqr()?
    }
}

fn lane_sum(row: &[f64], term: impl Fn(f64) -> f64) -> f64 {
    let mut lanes = [0f64; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += term(x);
        }
    }
    lanes.iter().sum::<f64>() + rest.iter().map(|&x| term(x)).sum::<f64>()
}

fn scaled(row: &[f64], p: f64) -> f64 {
    let largest = row.iter().fold(0f64, |largest, x| largest.max(x.abs()));
    if largest == 0.0 {
        return 0.0;
    }
    let sum = lane_sum(row, |x| (x.abs() / largest).powf(p));
    (sum.powf(2.0 / p) * largest * largest).min(f64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use candle_core::Device;

    use super::*;

    #[test]
    fn every_norm_is_the_same_on_slices_and_tensors_for_tiny_and_huge_values() {
        let row: Vec<f64> = (0..21).map(|i| f64::from(i % 7) - 2.5).collect();
        for p in [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.25, 40.0] {
            let expected: f64 = row
                .iter()
                .map(|x| x.abs().powf(p))
                .sum::<f64>()
                .powf(2.0 / p);
            for scale in [1e-120, 1e-38, 1.0, 1e38, 1e120] {
                let row: Vec<f64> = row.iter().map(|x| x * scale).collect();
                let rows = Tensor::from_slice(&row, (1, 21), &Device::Cpu).unwrap();
                let tensor = |range| {
                    let squared = Norm(p).squared_rows(&rows, range).unwrap();
                    squared.to_vec1::<f64>().unwrap()[0]
                };
                let narrow = match (1e-38..=1e38).contains(&scale) {
                    true => tensor(Range::Narrow),
                    false => tensor(Range::Full),
                };
                for got in [Norm(p).squared(&row), tensor(Range::Full), narrow] {
                    let ratio = got / scale / scale / expected;
                    assert!((ratio - 1.0).abs() < 1e-12, "p {p}, scale {scale}: {ratio}");
                }
            }
        }
        assert_eq!(Norm(3.0).squared(&[0.0; 5]), 0.0);
        assert_eq!(Norm(2.0).squared(&[1e300; 3]), f64::MAX);
    }
}
