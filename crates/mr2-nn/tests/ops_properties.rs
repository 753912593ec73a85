//! The fused ops on random shapes and at the edges: finite, not negative, the right gradient.
#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Result, Tensor, Var};
use mr2_nn::ops::{Target, cross_entropy, pair_distances, segment_log1p_sum_exp};
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

fn gradient(x: &Tensor, op: impl Fn(&Tensor) -> Result<Tensor>) -> Vec<f64> {
    let x = Var::from_tensor(x).unwrap();
    let store = weighted(&op(x.as_tensor()).unwrap()).backward().unwrap();
    numbers(store.get(&x).unwrap())
}

/// Central differences of the weighted sum in f64, in up to `limit` spread coordinates.
#[track_caller]
fn check_gradient(x: &Tensor, limit: usize, op: impl Fn(&Tensor) -> Result<Tensor>) {
    let analytic = gradient(x, &op);
    let start = numbers(x);
    let largest = analytic.iter().fold(1e-3f64, |a, g| a.max(g.abs()));
    let stride = start.len().div_ceil(limit).max(1);
    for i in (0..start.len()).step_by(stride) {
        let step = 1e-6 * (1.0 + start[i].abs());
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
    fn the_pair_ops_are_finite_not_negative_and_differentiable(
        seed in 0u64..1000,
        batch in 1usize..12,
        classes in 1usize..8,
        dim in prop_oneof![Just(1usize), 2usize..70],
        size in prop_oneof![Just(0.01), Just(1.0), Just(10.0)],
    ) {
        let x = normals(seed, &[batch, dim], size);
        let (first, second) = pairs(&labels(seed, batch, classes));
        let distances = |x: &Tensor| pair_distances(x, &first, &second);
        let hinge = |x: &Tensor| {
            let values = (distances(x)? - 1.0)?;
            segment_log1p_sum_exp(&values, &first, &second, batch)
        };
        for dtype in [DType::F32, DType::F64] {
            let x = x.to_dtype(dtype).unwrap();
            for result in [distances(&x).unwrap(), hinge(&x).unwrap()] {
                prop_assert!(numbers(&result).iter().all(|v| v.is_finite() && *v >= 0.0));
            }
        }
        check_gradient(&x, 30, distances);
        check_gradient(&x, 30, hinge);
    }
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

#[test]
fn features_of_norm_1e30_give_finite_distances_and_gradients() {
    let x = Tensor::new(&[[1e30f32, 0.0], [1e30, 1.0], [-1e30, 0.0]], &Device::Cpu).unwrap();
    let x = Var::from_tensor(&x).unwrap();
    let distances = pair_distances(&x, &[0, 0], &[1, 2]).unwrap();
    assert_eq!(numbers(&distances), [1.0, f64::from(f32::MAX)]);
    let hinge = segment_log1p_sum_exp(&distances, &[0, 0], &[1, 2], 3).unwrap();
    assert!(numbers(&hinge).iter().all(|v| v.is_finite() && *v >= 0.0));
    let gradient = numbers(
        distances
            .sum_all()
            .unwrap()
            .backward()
            .unwrap()
            .get(&x)
            .unwrap(),
    );
    assert!(gradient.iter().all(|g| g.is_finite()), "{gradient:?}");
}

#[test]
fn nan_stays_visible() {
    let x = Tensor::new(&[[f32::NAN, 0.0], [1.0, 1.0]], &Device::Cpu).unwrap();
    assert!(numbers(&cross_entropy(&x, Target::Hard(&[1, 0]), None).unwrap())[0].is_nan());
    let distances = pair_distances(&x, &[0], &[1]).unwrap();
    assert!(numbers(&distances)[0].is_nan());
    let hinge = segment_log1p_sum_exp(&distances, &[0], &[1], 3).unwrap();
    let hinge = numbers(&hinge);
    assert!(hinge[0].is_nan() && hinge[1].is_nan() && hinge[2] == 0.0);
}

#[test]
fn without_pairs_everything_is_zero() {
    let x = Var::from_tensor(&normals(3, &[4, 5], 1.0)).unwrap();
    let distances = pair_distances(&x, &[], &[]).unwrap();
    assert_eq!(distances.dims(), [0]);
    let hinge = segment_log1p_sum_exp(&distances, &[], &[], 4).unwrap();
    assert_eq!(numbers(&hinge), [0.0; 4]);
    let store = hinge.sum_all().unwrap().backward().unwrap();
    assert_eq!(numbers(store.get(&x).unwrap()), [0.0; 20]);
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
    type Op<'a> = &'a dyn Fn(&Tensor) -> Result<Tensor>;
    let ops: [Op; 3] = [
        &|x| cross_entropy(x, Target::Hard(&labels), None)?.mean_all(),
        &|x| pair_distances(x, &first, &second)?.mean_all(),
        &|x| {
            segment_log1p_sum_exp(
                &x.narrow(0, 1, 1)?.narrow(1, 3, 1)?.flatten_all()?,
                &[0],
                &[2],
                3,
            )?
            .mean_all()
        },
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
            bits.extend(gradient(&x, |x| pair_distances(x, &first, &second)));
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
        "row_scale must be positive, got -1 in row 1",
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
    has(
        message(pair_distances(&z, &[0], &[2])),
        "pair 0 is samples (0, 2), expected indices below 2",
    );
    has(
        message(pair_distances(&z, &[0, 1], &[1, 1])),
        "pair 1 joins sample 1 with itself",
    );
    has(
        message(pair_distances(&z, &[0], &[])),
        "one entry per pair, got 1 and 0",
    );
    has(
        message(segment_log1p_sum_exp(&short, &[0], &[1], 2)),
        "values must be (1), one per pair",
    );
    let integers = Tensor::new(&[[1u32, 2]], &Device::Cpu).unwrap();
    has(
        message(cross_entropy(&integers, Target::Hard(&[0]), None)),
        "must be f32 or f64, got U32",
    );
}
