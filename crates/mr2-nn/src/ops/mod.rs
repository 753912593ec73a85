//! Fused ops on ordinary Candle tensors, with gradients, for losses.
//!
//! Each does in one pass on the CPU (f32 and f64) what would be a chain of ten Candle ops, each
//! with a new buffer forward and two backward. On other devices they are composed from Candle's
//! ops. Targets and indices are host slices, since labels are known on the host before a batch is
//! uploaded.
mod cross_entropy;
pub(crate) mod float;
mod fused_cross_entropy;
mod pair_distances;
mod segment_log1p_sum_exp;

pub use cross_entropy::{Target, cross_entropy};
pub use pair_distances::pair_distances;
pub use segment_log1p_sum_exp::segment_log1p_sum_exp;

use candle_core::{Result, bail};

/// Checks that `first` and `second` list pairs of two different samples of a batch.
fn check_pairs(op: &str, first: &[u32], second: &[u32], batch: usize) -> Result<()> {
    if first.len() != second.len() {
        bail!(
            "{op}: first and second must have one entry per pair, got {} and {}",
            first.len(),
            second.len()
        )
    }
    for (pair, (&i, &j)) in first.iter().zip(second).enumerate() {
        if i as usize >= batch || j as usize >= batch {
            bail!("{op}: pair {pair} is samples ({i}, {j}), expected indices below {batch}")
        }
        if i == j {
            bail!("{op}: pair {pair} joins sample {i} with itself")
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::rng;
    use candle_core::{DType, Device, Tensor, Var};

    fn normals(shape: &[usize], factor: f64) -> Tensor {
        let count: usize = shape.iter().product();
        let values: Vec<f64> = (0..count as u64)
            .map(|i| factor * rng::normal(1, i))
            .collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    /// What other devices compute, run on the CPU: values and gradients.
    #[track_caller]
    fn check(
        x: &Tensor,
        fused: impl Fn(&Tensor) -> Result<Tensor>,
        composed: impl Fn(&Tensor) -> Result<Tensor>,
    ) {
        let run = |op: &dyn Fn(&Tensor) -> Result<Tensor>| {
            let x = Var::from_tensor(x).unwrap();
            let value = op(x.as_tensor()).unwrap();
            let weights = normals(value.dims(), 1.0);
            let loss = (&value * weights).unwrap().sum_all().unwrap();
            let gradient = loss
                .backward()
                .unwrap()
                .get(&x)
                .unwrap()
                .flatten_all()
                .unwrap();
            Tensor::cat(&[value, gradient], 0)
                .unwrap()
                .to_vec1::<f64>()
                .unwrap()
        };
        for (a, b) in run(&fused).into_iter().zip(run(&composed)) {
            assert!((a - b).abs() <= 1e-12 * (1.0 + a.abs()), "{a} and {b}");
        }
    }

    #[test]
    fn cross_entropy_composed_from_candles_ops_equals_the_fused_one() {
        let labels = [3, 0, 6, 6];
        let scale = Tensor::new(&[0.5, 1.0, 2.0, 3.0], &Device::Cpu).unwrap();
        let soft = normals(&[4, 7], 1.0).abs().unwrap();
        for target in [
            Target::Hard(&labels),
            Target::Smoothed {
                labels: &labels,
                epsilon: 0.2,
            },
            Target::Soft(&soft),
        ] {
            for scale in [None, Some(&scale)] {
                check(
                    &normals(&[4, 7], 5.0),
                    |z| cross_entropy(z, target, scale),
                    |z| super::cross_entropy::composed(z, target, scale),
                );
            }
        }
    }

    #[test]
    fn pair_ops_composed_from_candles_ops_equal_the_fused_ones() {
        let (first, second) = ([0, 0, 1, 3], [1, 2, 2, 4]);
        check(
            &normals(&[6, 9], 2.0),
            |x| pair_distances(x, &first, &second),
            |x| super::pair_distances::composed(x, &first, &second),
        );
        for factor in [1e-3, 1.0, 400.0] {
            check(
                &normals(&[4], factor),
                |v| segment_log1p_sum_exp(v, &first, &second, 6),
                |v| super::segment_log1p_sum_exp::composed(v, &first, &second, 6),
            );
        }
        let none = Tensor::zeros(0, DType::F64, &Device::Cpu).unwrap();
        let zeros = super::segment_log1p_sum_exp::composed(&none, &[], &[], 3).unwrap();
        assert_eq!(zeros.to_vec1::<f64>().unwrap(), [0.0; 3]);
    }
}
