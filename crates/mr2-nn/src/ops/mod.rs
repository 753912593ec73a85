//! Fused ops on ordinary Candle tensors: losses, with gradients; and [`image_windows`], which augments images on the device.
//!
//! Each loss does in one pass on the CPU and on CUDA (f32 and f64) what would be a chain of ten Candle ops,
//! each with a new buffer forward and two backward. Elsewhere they are composed from Candle's
//! ops. Half precision, on other devices than the CPU, counts and gives f32. Targets and indices are host slices, since labels are known on the host before a batch is
//! uploaded.
mod cross_entropy;
mod distance_log1p_sum_exp;
pub(crate) mod float;
mod fused_cross_entropy;
#[cfg(feature = "cuda")]
mod on_device;
pub(crate) mod windows;

pub use cross_entropy::{Target, cross_entropy};
pub use distance_log1p_sum_exp::{
    PairList, distance_log1p_sum_exp, weighted_distance_log1p_sum_exp,
};
pub use windows::{ImageWindow, image_windows};

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::distance_log1p_sum_exp::composed::composed;
    use super::*;
    use crate::rng;
    use candle_core::{DType, Device, Result, Tensor, Var};

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

    fn scalar(value: f64) -> Tensor {
        Tensor::new(value, &Device::Cpu).unwrap()
    }

    #[test]
    fn the_distance_op_composed_from_candles_ops_equals_the_fused_one() {
        // A pair listed twice counts twice; sample 5 is in none.
        let (first, second) = ([0, 0, 1, 3, 3], [1, 2, 2, 4, 4]);
        for (factor, threshold, scale) in [(2.0, 1.0, 90.0), (0.1, 20.0, 1.0), (200.0, 0.0, 1.0)] {
            let threshold = scalar(threshold);
            check(
                &normals(&[6, 9], factor),
                |x| distance_log1p_sum_exp(x, &first, &second, &threshold, scale),
                |x| composed(x, &PairList::mutual(&first, &second), &threshold, scale),
            );
            // One pair counts for both samples, the rest for the first; sample 2 has none.
            let list = PairList {
                mutual: 1,
                factor: Some(&[0.5, 3.0, 1.0, 40.0, 2.0, 1.0]),
                ..PairList::mutual(&first, &second)
            };
            check(
                &normals(&[6, 9], factor),
                |x| weighted_distance_log1p_sum_exp(x, &list, &threshold, scale),
                |x| composed(x, &list, &threshold, scale),
            );
        }
    }

    #[test]
    fn the_composed_distance_op_keeps_digits_and_stays_finite_in_f32() {
        let run = |x: [[f32; 2]; 2], threshold: f64| {
            let x = Var::new(&x, &Device::Cpu).unwrap();
            let soft =
                composed(&x, &PairList::mutual(&[0], &[1]), &scalar(threshold), 1.0).unwrap();
            let store = soft.sum_all().unwrap().backward().unwrap();
            let gradient = store.get(&x).unwrap().flatten_all().unwrap();
            let soft = soft.to_vec1::<f32>().unwrap();
            (f64::from(soft[0]), gradient.to_vec1::<f32>().unwrap())
        };
        let (soft, _) = run([[1.0, 0.0], [0.0, 0.0]], 11.0);
        let expected = (-10f64).exp().ln_1p();
        assert!((soft - expected).abs() < 1e-6 * expected, "{soft}");
        for size in [1e15, 1e20, 1e30] {
            let (soft, gradient) = run([[size, 0.0], [-size, size]], 0.0);
            assert!(soft.is_finite() && soft > 0.0, "{soft}");
            assert!(gradient.iter().all(|g| g.is_finite()), "{gradient:?}");
        }
    }

    #[test]
    fn the_composed_distance_op_takes_batches_beyond_the_square_root_of_u32() {
        let x = Tensor::zeros((70_000, 1), DType::F32, &Device::Cpu).unwrap();
        let list = PairList::mutual(&[65_536, 69_999], &[0, 65_537]);
        let soft = composed(&x, &list, &scalar(0.0), 1.0).unwrap();
        let paired = soft.to_vec1::<f32>().unwrap().into_iter().enumerate();
        let paired = paired.filter(|&(_, soft)| soft > 0.5).map(|(i, _)| i);
        assert_eq!(paired.collect::<Vec<_>>(), [0, 65_536, 65_537, 69_999]);
    }
}
