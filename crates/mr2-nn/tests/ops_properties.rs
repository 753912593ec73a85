//! The fused ops on random shapes and at the edges: finite, not negative, the right gradient.
#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Result, Tensor, Var};
use mr2_nn::ops::{
    PairList, Target, cross_entropy, distance_log1p_sum_exp, weighted_distance_log1p_sum_exp,
};
use mr2_nn::rng;
use proptest::prelude::*;

fn normals(seed: u64, shape: &[usize], factor: f64) -> Tensor {
    let count: usize = shape.iter().product();
    let values: Vec<f64> = (0..count as u64)
        .map(|i| factor * rng::normal(seed, i))
        .collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor
        .to_dtype(DType::F64)
        .unwrap()
        .flatten_all()
        .unwrap()
        .to_vec1()
        .unwrap()
}

/// A sum in which every result has a weight of its own.
fn weighted(values: &Tensor) -> Tensor {
    let weights = normals(99, values.dims(), 1.0)
        .to_dtype(values.dtype())
        .unwrap();
    (values * weights).unwrap().sum_all().unwrap()
}

fn scalar(value: f64) -> Tensor {
    Tensor::new(value, &Device::Cpu).unwrap()
}

fn gradient(x: &Tensor, op: impl Fn(&Tensor) -> Result<Tensor>) -> Vec<f64> {
    let x = Var::from_tensor(x).unwrap();
    let store = weighted(&op(x.as_tensor()).unwrap()).backward().unwrap();
    numbers(store.get(&x).unwrap())
}

/// Central differences of the weighted sum in f64, in up to `limit` spread coordinates. The step goes
/// with the largest, and is so short that large exponents don't change places within it.
#[track_caller]
fn check_gradient(x: &Tensor, limit: usize, op: impl Fn(&Tensor) -> Result<Tensor>) {
    let analytic = gradient(x, &op);
    let start = numbers(x);
    let largest = analytic.iter().fold(1e-3f64, |a, g| a.max(g.abs()));
    let step = 1e-8 * start.iter().fold(100f64, |a, x| a.max(x.abs()));
    let stride = start.len().div_ceil(limit).max(1);
    for i in (0..start.len()).step_by(stride) {
        let at = |delta: f64| {
            let mut moved = start.clone();
            moved[i] += delta;
            let moved = Tensor::from_vec(moved, x.shape(), &Device::Cpu).unwrap();
            weighted(&op(&moved).unwrap()).to_scalar::<f64>().unwrap()
        };
        let numeric = (at(step) - at(-step)) / (2.0 * step);
        let error = (numeric - analytic[i]).abs();
        assert!(
            error <= 2e-6 * largest,
            "[{i}]: {} but numerically {numeric}",
            analytic[i]
        );
    }
}

fn labels(seed: u64, batch: usize, classes: usize) -> Vec<u32> {
    (0..batch as u64)
        .map(|i| (rng::hash(seed, i) % classes as u64) as u32)
        .collect()
}

/// All pairs of equal labels.
fn pairs(labels: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let count = labels.len();
    let all = (0..count).flat_map(|i| (i + 1..count).map(move |j| (i, j)));
    all.filter(|&(i, j)| labels[i] == labels[j])
        .map(|(i, j)| (i as u32, j as u32))
        .unzip()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..Default::default() })]

    #[test]
    fn cross_entropy_is_finite_not_negative_and_differentiable(
        seed in 0u64..1000,
        batch in 1usize..6,
        classes in prop_oneof![1usize..40, Just(1000)],
        epsilon in prop_oneof![Just(0.0), 0.0..1.0],
        size in prop_oneof![Just(0.1), Just(3.0), Just(50.0)],
    ) {
        let z = normals(seed, &[batch, classes], size);
        let labels = labels(seed, batch, classes);
        let scale = (normals(seed + 1, &[batch], 0.5).exp()).unwrap();
        let soft = candle_nn::ops::softmax(&normals(seed + 2, &[batch, classes], 1.0), 1).unwrap();
        for target in [
            Target::Hard(&labels),
            Target::Smoothed { labels: &labels, epsilon },
            Target::Soft(&soft),
        ] {
            let op = |z: &Tensor| cross_entropy(z, target, Some(&scale));
            for dtype in [DType::F32, DType::F64] {
                let losses = numbers(&op(&z.to_dtype(dtype).unwrap()).unwrap());
                prop_assert!(losses.iter().all(|l| l.is_finite() && *l >= -1e-6));
            }
            check_gradient(&z, 30, op);
        }
    }

    #[test]
    fn distance_log1p_sum_exp_is_finite_not_negative_and_differentiable(
        seed in 0u64..1000,
        batch in 1usize..12,
        classes in 1usize..8,
        dim in prop_oneof![Just(1usize), 2usize..70],
        size in prop_oneof![Just(0.01), Just(1.0), Just(10.0), Just(1e4), Just(1e7)],
        scale in prop_oneof![Just(1.0), Just(700.0)],
    ) {
        let x = normals(seed, &[batch, dim], size);
        let (first, second) = pairs(&labels(seed, batch, classes));
        let threshold = scalar(1.0);
        let op = |x: &Tensor| distance_log1p_sum_exp(x, &first, &second, &threshold, scale);
        for dtype in [DType::F32, DType::F64] {
            let soft = numbers(&op(&x.to_dtype(dtype).unwrap()).unwrap());
            prop_assert!(soft.iter().all(|v| v.is_finite() && *v >= 0.0));
        }
        if !first.is_empty() {
            check_gradient(&x, 30, op);
        }
    }

    #[test]
    fn sums_with_factors_over_pairs_that_count_for_one_sample_are_differentiable(
        seed in 0u64..1000,
        batch in 2usize..12,
        classes in 1usize..4,
        mutual in 0usize..6,
        size in prop_oneof![Just(0.01), Just(1.0), Just(1e4)],
    ) {
        let x = normals(seed, &[batch, 5], size);
        let (first, second) = pairs(&labels(seed, batch, classes));
        let factor: Vec<f64> = (0..batch as u64).map(|i| 10.0 * rng::uniform(seed, i) + 0.1).collect();
        let list = PairList {
            mutual: mutual.min(first.len()),
            factor: Some(&factor),
            ..PairList::mutual(&first, &second)
        };
        let op = |x: &Tensor| weighted_distance_log1p_sum_exp(x, &list, &scalar(1.0), 2.0);
        if !first.is_empty() {
            check_gradient(&x, 30, op);
        }
    }
}

#[test]
fn a_factor_counts_pairs_as_often_as_listing_them_does() {
    let x = normals(7, &[4, 3], 1.0);
    // Three times each pair of sample 0, for it alone; twice the pair of 1 and 2, for both.
    let (first, second) = ([1, 1, 0, 0, 0, 0, 0, 0], [2, 2, 1, 1, 1, 3, 3, 3]);
    let often = PairList {
        mutual: 2,
        ..PairList::mutual(&first, &second)
    };
    let once = PairList {
        first: &[1, 0, 0],
        second: &[2, 1, 3],
        mutual: 1,
        factor: Some(&[3.0, 2.0, 2.0, 1.0]),
    };
    let both = [often, once].map(|list| {
        let op = |x: &Tensor| weighted_distance_log1p_sum_exp(x, &list, &scalar(2.0), 1.5);
        let mut all = numbers(&op(&x).unwrap());
        all.extend(gradient(&x, op));
        all
    });
    assert_eq!(
        both[0][3], 0.0,
        "a pair that counts for its first sample only"
    );
    for (a, b) in both[0].iter().zip(&both[1]) {
        assert!((a - b).abs() < 1e-12, "{a} and {b}");
    }
}

#[test]
fn wrong_pair_lists_are_named() {
    let x = normals(7, &[3, 2], 1.0);
    let refused = |list: PairList, expected: &str| {
        let error = weighted_distance_log1p_sum_exp(&x, &list, &scalar(0.0), 1.0).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    let fine = PairList::mutual(&[0], &[1]);
    let more = PairList { mutual: 2, ..fine };
    refused(more, "mutual must be at most the number of pairs, 1, got 2");
    let short = PairList {
        factor: Some(&[1.0]),
        ..fine
    };
    refused(short, "one entry per sample, 3, got 1");
    let zero = PairList {
        factor: Some(&[1.0, 0.0, 1.0]),
        ..fine
    };
    refused(zero, "positive and finite, got 0 for sample 1");
}

#[test]
fn huge_logits_give_finite_losses_and_the_limit_of_the_gradient() {
    let z = Tensor::new(
        &[[1e30f32, -1e30, 0.0], [-1e30, -1e30, -1e30]],
        &Device::Cpu,
    )
    .unwrap();
    for labels in [[0, 2], [1, 0], [2, 1]] {
        let losses = numbers(&cross_entropy(&z, Target::Hard(&labels), None).unwrap());
        assert!(
            losses.iter().all(|l| l.is_finite() && *l >= 0.0),
            "{losses:?}"
        );
        assert!((losses[1] - 3f64.ln()).abs() < 1e-6);
    }
    let z = Var::from_tensor(&z).unwrap();
    let loss = cross_entropy(&z, Target::Hard(&[1, 0]), None)
        .unwrap()
        .sum_all()
        .unwrap();
    let gradient = numbers(loss.backward().unwrap().get(&z).unwrap());
    let third = 1.0 / 3.0;
    let limit = [1.0, -1.0, 0.0, third - 1.0, third, third];
    assert!(
        gradient
            .iter()
            .zip(limit)
            .all(|(g, l)| (g - l).abs() < 1e-6),
        "{gradient:?}"
    );
}

#[test]
fn a_sure_rows_loss_and_gradient_keep_their_digits_in_f32() {
    let z = Var::from_tensor(&Tensor::new(&[[20f32, 0.0, -1.0]], &Device::Cpu).unwrap()).unwrap();
    let loss = cross_entropy(&z, Target::Hard(&[0]), None).unwrap();
    let rest = (-20f64).exp() + (-21f64).exp();
    let close = |a: f64, e: f64| assert!((a - e).abs() < 1e-6 * e.abs(), "{a} instead of {e}");
    close(numbers(&loss)[0], rest.ln_1p());
    let store = loss.sum_all().unwrap().backward().unwrap();
    close(numbers(store.get(&z).unwrap())[0], -rest / (1.0 + rest));
}

/// Sample 0 in the middle of 1 and 2, and the gradient of the sum of the three losses.
fn between_two(first: f32, second: f32) -> [f64; 3] {
    let x = Tensor::new(&[[0f32], [first], [second]], &Device::Cpu).unwrap();
    let x = Var::from_tensor(&x).unwrap();
    let soft = distance_log1p_sum_exp(&x, &[0, 0], &[1, 2], &scalar(0.0), 1.0).unwrap();
    let store = soft.sum_all().unwrap().backward().unwrap();
    numbers(store.get(&x).unwrap()).try_into().unwrap()
}

#[test]
fn the_f32_gradient_of_large_equal_and_nearly_equal_exponents_is_right() {
    for exponent in [1e3f64, 1e6, 1e9, 1e12] {
        let x = exponent.sqrt() as f32;
        for other in [x, x * (1.0 + f32::EPSILON), x * (1.0 - 2e-4)] {
            let gradient = between_two(x, -other);
            let (a, b) = (f64::from(x), f64::from(other));
            // Of each pair: all of the outer sample's weight, and the share of the middle one's.
            let share = 1.0 / (1.0 + (b * b - a * a).exp());
            let expected = [
                -2.0 * a * (1.0 + share) + 2.0 * b * (2.0 - share),
                2.0 * a * (1.0 + share),
                -2.0 * b * (2.0 - share),
            ];
            for (g, e) in gradient.iter().zip(expected) {
                let error = (g - e).abs();
                assert!(
                    error <= 1e-6 * a,
                    "{exponent:e}: {gradient:?}, not {expected:?}"
                );
            }
        }
    }
}

#[test]
fn among_many_pairs_every_f32_loss_and_gradient_row_is_that_of_f64() {
    let (batch, dim) = (128, 64);
    let far = (normals(12, &[1, dim], 1000.0).broadcast_as((batch, dim))).unwrap();
    let x = (normals(13, &[batch, dim], 1.0) + far).unwrap();
    let x = x.to_dtype(DType::F32).unwrap();
    let (first, second) = pairs(&vec![0; batch]);
    for scale in [1.0, 640.0] {
        let threshold = scalar(128.0);
        let run = |dtype: DType| {
            let x = x.to_dtype(dtype).unwrap();
            let op = |x: &Tensor| distance_log1p_sum_exp(x, &first, &second, &threshold, scale);
            (numbers(&op(&x).unwrap()), gradient(&x, op))
        };
        let ((loss, rows), (loss64, rows64)) = (run(DType::F32), run(DType::F64));
        let close = |a: &[f64], b: &[f64]| {
            let norm = |row: &mut dyn Iterator<Item = f64>| row.map(|x| x * x).sum::<f64>().sqrt();
            let error = norm(&mut a.iter().zip(b).map(|(a, b)| a - b));
            let size = norm(&mut b.iter().copied());
            assert!(error <= 1e-5 * size, "off by {error:e} of {size:e}");
        };
        loss.chunks(1)
            .zip(loss64.chunks(1))
            .for_each(|(a, b)| close(a, b));
        let rows = rows.chunks(dim).zip(rows64.chunks(dim));
        rows.for_each(|(a, b)| close(a, b));
    }
}

#[test]
fn features_of_norm_1e30_give_finite_losses_and_gradients() {
    let x = Tensor::new(&[[1e30f32, 0.0], [1e30, 1.0], [-1e30, 0.0]], &Device::Cpu).unwrap();
    let x = Var::from_tensor(&x).unwrap();
    let soft = distance_log1p_sum_exp(&x, &[0, 0], &[1, 2], &scalar(0.0), 1.0).unwrap();
    let largest = f64::from(f32::MAX);
    let one = f64::from(1f32.exp().ln_1p());
    assert_eq!(numbers(&soft), [largest, one, largest]);
    let store = soft.sum_all().unwrap().backward().unwrap();
    let gradient = numbers(store.get(&x).unwrap());
    assert!(gradient.iter().all(|g| g.is_finite()), "{gradient:?}");
}

#[test]
fn nan_stays_visible() {
    let x = Tensor::new(&[[f32::NAN, 0.0], [1.0, 1.0]], &Device::Cpu).unwrap();
    assert!(numbers(&cross_entropy(&x, Target::Hard(&[1, 0]), None).unwrap())[0].is_nan());
    let x = Tensor::cat(&[&x, &x], 0).unwrap();
    let soft = distance_log1p_sum_exp(&x, &[0, 1], &[1, 3], &scalar(0.0), 1.0).unwrap();
    let is_nan = numbers(&soft).into_iter().map(f64::is_nan);
    assert_eq!(is_nan.collect::<Vec<_>>(), [true, true, false, false]);
}

#[test]
fn without_pairs_everything_is_zero() {
    let x = normals(3, &[4, 5], 1.0);
    let soft = distance_log1p_sum_exp(&x, &[], &[], &scalar(0.0), 1.0).unwrap();
    assert_eq!(numbers(&soft), [0.0; 4]);
}

#[test]
fn strided_and_offset_inputs_and_broadcast_gradients_are_read_right() {
    let wide = normals(5, &[7, 6], 1.0);
    let view = wide
        .t()
        .unwrap()
        .narrow(0, 1, 4)
        .unwrap()
        .narrow(1, 2, 5)
        .unwrap();
    let plain = Tensor::from_vec(numbers(&view), (4, 5), &Device::Cpu).unwrap();
    let labels = [0, 4, 2, 2];
    let (first, second) = pairs(&labels);
    // `mean_all` hands every op a gradient with stride 0.
    let threshold = scalar(1.0);
    type Op<'a> = &'a dyn Fn(&Tensor) -> Result<Tensor>;
    let ops: [Op; 2] = [
        &|x| cross_entropy(x, Target::Hard(&labels), None)?.mean_all(),
        &|x| distance_log1p_sum_exp(x, &first, &second, &threshold, 9.0)?.mean_all(),
    ];
    for op in ops {
        let (view_in, plain_in) = (
            Var::from_tensor(&wide).unwrap(),
            Var::from_tensor(&plain).unwrap(),
        );
        let view = view_in
            .t()
            .unwrap()
            .narrow(0, 1, 4)
            .unwrap()
            .narrow(1, 2, 5)
            .unwrap();
        let (a, b) = (op(&view).unwrap(), op(&plain_in).unwrap());
        assert_eq!(numbers(&a), numbers(&b));
        let (a, b) = (a.backward().unwrap(), b.backward().unwrap());
        let a = a.get(&view_in).unwrap().t().unwrap();
        let a = a.narrow(0, 1, 4).unwrap().narrow(1, 2, 5).unwrap();
        assert_eq!(numbers(&a), numbers(b.get(&plain_in).unwrap()));
    }
}

#[test]
fn the_bits_dont_depend_on_the_number_of_threads() {
    let x = normals(8, &[512, 100], 3.0).to_dtype(DType::F32).unwrap();
    let labels = labels(8, 512, 100);
    let (first, second) = pairs(&labels);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let mut bits = gradient(&x, |x| cross_entropy(x, Target::Hard(&labels), None));
            let threshold = scalar(1800.0);
            bits.extend(gradient(&x, |x| {
                distance_log1p_sum_exp(x, &first, &second, &threshold, 1000.0)
            }));
            bits
        })
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn errors_name_what_is_wrong() {
    let z = normals(1, &[2, 3], 1.0);
    let message = |result: Result<Tensor>| result.unwrap_err().to_string();
    let has = |text: String, part: &str| assert!(text.contains(part), "{text}");
    let hard = |labels: &[u32]| message(cross_entropy(&z, Target::Hard(labels), None));
    has(hard(&[0, 3]), "sample 1 has label 3, expected below 3");
    has(hard(&[0]), "expected 2 labels, one for each row, got 1");
    let smoothed = Target::Smoothed {
        labels: &[0, 1],
        epsilon: 1.5,
    };
    has(
        message(cross_entropy(&z, smoothed, None)),
        "epsilon must lie in [0, 1], got 1.5",
    );
    let short = normals(1, &[3], 1.0);
    let scaled = |s: &Tensor| message(cross_entropy(&z, Target::Hard(&[0, 1]), Some(s)));
    has(scaled(&short), "row_scale must be (2), got [3]");
    let negative = Tensor::new(&[1.0, -1.0], &Device::Cpu).unwrap();
    has(
        scaled(&negative),
        "row_scale must be positive and finite, got -1 in row 1",
    );
    has(
        message(cross_entropy(&short, Target::Hard(&[0]), None)),
        "logits must be (batch, classes)",
    );
    let soft = message(cross_entropy(&z, Target::Soft(&short), None));
    has(
        soft,
        "soft targets must have the logits' shape [2, 3], got [3]",
    );
    let infinite = Tensor::new(&[1.0, f64::INFINITY], &Device::Cpu).unwrap();
    has(
        scaled(&infinite),
        "row_scale must be positive and finite, got inf in row 1",
    );
    let distance = |first: &[u32], second: &[u32], threshold: &Tensor, scale: f64| {
        message(distance_log1p_sum_exp(&z, first, second, threshold, scale))
    };
    let zero = scalar(0.0);
    has(
        distance(&[0], &[2], &zero, 1.0),
        "pair 0 is samples (0, 2), expected indices below 2",
    );
    has(
        distance(&[0, 1], &[1, 1], &zero, 1.0),
        "pair 1 joins sample 1 with itself",
    );
    has(
        distance(&[0], &[], &zero, 1.0),
        "one entry per pair, got 1 and 0",
    );
    has(
        distance(&[0], &[1], &short, 1.0),
        "threshold must be a scalar, got [3]",
    );
    for scale in [0.0, -1.0, f64::INFINITY, f64::NAN] {
        has(
            distance(&[0], &[1], &zero, scale),
            "scale must be positive and finite, got",
        );
    }
    let integers = Tensor::new(&[[1u32, 2]], &Device::Cpu).unwrap();
    has(
        message(cross_entropy(&integers, Target::Hard(&[0]), None)),
        "must be f32 or f64, got U32",
    );
    has(
        message(distance_log1p_sum_exp(&integers, &[], &[], &zero, 1.0)),
        "must be f32 or f64, got U32",
    );
}
