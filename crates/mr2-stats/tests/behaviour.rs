//! What statistics do at the edges: rare classes, bad input, huge numbers, files.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor, Var};
use mr2_stats::{Centre, ClassStats, Estimator, Pairs, Snapshot, StatsConfig, exact};
use proptest::prelude::*;

const CPU: &Device = &Device::Cpu;

fn config(norm: f64, estimator: Estimator, centre: Centre) -> StatsConfig {
    StatsConfig {
        norm,
        decay: 0.9,
        estimator,
        centre,
    }
}

fn stats(config: StatsConfig, classes: usize, dim: usize) -> ClassStats {
    ClassStats::new(config, classes, dim, DType::F32, CPU).unwrap()
}

fn every_config() -> Vec<StatsConfig> {
    let mut configs = Vec::new();
    for norm in [1.0, 2.0, 2.5, 5.0, 9.0] {
        for estimator in Estimator::ALL {
            configs.extend(Centre::ALL.map(|centre| config(norm, estimator, centre)));
        }
    }
    configs
}

fn fields(snapshot: &Snapshot) -> [Vec<f64>; 6] {
    let Snapshot {
        m,
        v,
        second_moment,
        pair_spread,
        seen,
        has_spread,
    } = snapshot;
    [m, v, second_moment, pair_spread, seen, has_spread]
        .map(|field| field.to_dtype(DType::F64).unwrap().to_vec1().unwrap())
}

fn bytes(stats: &ClassStats) -> Vec<(String, Vec<u64>)> {
    let bits = |tensor: &Tensor| {
        let values = tensor.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        values.into_iter().map(f64::to_bits).collect()
    };
    stats
        .tensors()
        .unwrap()
        .iter()
        .map(|(name, tensor)| (name.clone(), bits(tensor)))
        .collect()
}

/// A few batches of pseudo-random features around distant class means.
fn feed(stats: &mut ClassStats, batches: std::ops::Range<u32>) {
    let (classes, dim) = (stats.classes() as u32, stats.feature_dim());
    for batch in batches {
        let labels: Vec<u32> = (0..12).map(|i| (i * i + batch * 5) % classes).collect();
        let values: Vec<f32> = (0..12 * dim as u32)
            .map(|i| ((i * 7919 + batch * 104_729) % 1000) as f32 * 0.01)
            .collect();
        let features = Tensor::from_vec(values, (12, dim), CPU).unwrap();
        stats
            .observe(&features, &Pairs::new(&labels, classes as usize).unwrap())
            .unwrap();
    }
}

#[test]
fn m_plus_v_is_the_mean_squared_norm_for_the_l2_norm() {
    let values: Vec<f64> = (0..40).map(|i| f64::from((i * 29) % 17) - 5.0).collect();
    let features = Tensor::from_vec(values, (8, 5), CPU).unwrap();
    let labels = [0, 0, 1, 0, 2, 1, 0, 0];
    let squared = features
        .sqr()
        .unwrap()
        .sum(1)
        .unwrap()
        .to_vec1::<f64>()
        .unwrap();
    let mut expected = vec![0.0; 3];
    for class in 0..3 {
        let own: Vec<f64> = (0..8)
            .filter(|&i| labels[i] == class)
            .map(|i| squared[i])
            .collect();
        expected[class as usize] = own.iter().sum::<f64>() / own.len() as f64;
    }
    let mut all = vec![exact(&features, &labels, 3, 2.0, Centre::None).unwrap()];
    for estimator in [Estimator::BatchLocal, Estimator::Pooled] {
        let config = config(2.0, estimator, Centre::None);
        let mut stats = ClassStats::new(config, 3, 5, DType::F64, CPU).unwrap();
        stats
            .observe(&features, &Pairs::new(&labels, 3).unwrap())
            .unwrap();
        all.push(stats.snapshot().unwrap());
    }
    for snapshot in all {
        let got = snapshot.second_moment.to_vec1::<f64>().unwrap();
        for (got, expected) in got.iter().zip(&expected) {
            assert!((got - expected).abs() < 1e-12 * expected);
        }
    }
}

#[test]
fn a_single_sample_leaves_the_pooled_sums_to_the_bit() {
    let mut stats = stats(config(3.0, Estimator::Pooled, Centre::None), 2, 2);
    let pair = Tensor::new(&[[1f32, 0.1], [2., 0.7]], CPU).unwrap();
    stats
        .observe(&pair, &Pairs::new(&[1, 1], 2).unwrap())
        .unwrap();
    let before = fields(&stats.snapshot().unwrap());
    let single = Tensor::new(&[[9f32, 9.]], CPU).unwrap();
    stats
        .observe(&single, &Pairs::new(&[1], 2).unwrap())
        .unwrap();
    let after = fields(&stats.snapshot().unwrap());
    assert_eq!(
        (&before[1], &before[3], &before[5]),
        (&after[1], &after[3], &after[5])
    );
    assert!(after[0][1] > before[0][1], "m is averaged over every batch");
}

#[test]
fn classes_unseen_once_and_often_have_what_their_estimator_defines() {
    let one = Tensor::new(&[[3f32, 4.]], CPU).unwrap();
    let pairs = Pairs::new(&[1], 2).unwrap();
    // (m, v, m + v, has a spread) after one batch, after two
    let cases = [
        (
            Estimator::BatchLocal,
            2.0,
            [(25., 0., 25., 1.), (25., 0., 25., 1.)],
        ),
        (
            Estimator::Pooled,
            2.0,
            [(25., 0., 25., 0.), (25., 0., 25., 0.)],
        ),
        (
            Estimator::Pooled,
            1.0,
            [(49., 0., 0., 0.), (49., 0., 0., 0.)],
        ),
        (
            Estimator::RunningMean,
            2.0,
            [(25., 0., 0., 0.), (25., 0., 25., 1.)],
        ),
    ];
    for (estimator, norm, expected) in cases {
        let mut stats = stats(config(norm, estimator, Centre::None), 2, 2);
        assert_eq!(
            fields(&stats.snapshot().unwrap()),
            [(); 6].map(|()| vec![0.0; 2])
        );
        for expected in expected {
            stats.observe(&one, &pairs).unwrap();
            let [m, v, second_moment, _, seen, has_spread] = fields(&stats.snapshot().unwrap());
            assert_eq!(
                (m[1], v[1], second_moment[1], has_spread[1]),
                expected,
                "{estimator:?}"
            );
            assert_eq!(seen, [0.0, 1.0]);
            assert_eq!((m[0], v[0], has_spread[0]), (0.0, 0.0, 0.0));
        }
    }
}

#[test]
fn bad_features_are_refused_by_class_and_sample_and_change_nothing() {
    for config in every_config() {
        let mut stats = stats(config, 4, 3);
        feed(&mut stats, 0..2);
        let before = bytes(&stats);
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let features =
                Tensor::new(&[[1f32, 2., 3.], [4., 5., value], [7., 8., 9.]], CPU).unwrap();
            let pairs = Pairs::new(&[3, 2, 3], 4).unwrap();
            let error = stats.observe(&features, &pairs).unwrap_err().to_string();
            let expected = format!("sample 1 of class 2 has {value} at position 2");
            assert!(error.contains(&expected), "{error}");
            let features = features.narrow(0, 1, 1).unwrap();
            let error = exact(&features, &[2], 4, 2.0, Centre::None)
                .unwrap_err()
                .to_string();
            assert!(error.contains("sample 0 of class 2"), "{error}");
        }
        assert_eq!(bytes(&stats), before);
    }
}

#[test]
fn wrong_arguments_are_named() {
    let new = |norm, decay| {
        let config = StatsConfig {
            norm,
            decay,
            estimator: Estimator::Pooled,
            centre: Centre::None,
        };
        ClassStats::new(config, 2, 2, DType::F32, CPU)
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    assert!(new(0.5, 0.9).contains("norm must be finite and at least 1, got 0.5"));
    assert!(new(2.0, 1.0).contains("decay must be in [0, 1), got 1"));
    let error = Pairs::new(&[0, 5], 5).unwrap_err().to_string();
    assert!(
        error.contains("sample 1 has label 5, expected below 5"),
        "{error}"
    );
    let mut stats = stats(config(2.0, Estimator::Pooled, Centre::None), 5, 2);
    let features = Tensor::zeros((2, 3), DType::F32, CPU).unwrap();
    let error = stats
        .observe(&features, &Pairs::new(&[0, 1], 5).unwrap())
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("features must be (2, 2), got (2, 3)"),
        "{error}"
    );
    let features = Tensor::zeros((2, 2), DType::F32, CPU).unwrap();
    let error = stats
        .observe(&features, &Pairs::new(&[0, 1], 4).unwrap())
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("pairs must be of 5 classes, got 4"),
        "{error}"
    );
}

#[test]
fn masked_samples_count_for_nothing() {
    for config in every_config() {
        let (mut with, mut without) = (stats(config.clone(), 4, 2), stats(config, 4, 2));
        let rows = [[1f32, 2.], [100., f32::NAN], [3., 5.], [9., -9.]];
        let all = Tensor::new(&rows, CPU).unwrap();
        let kept = Tensor::new(&[rows[0], rows[2]], CPU).unwrap();
        let masked = Pairs::masked(&[1, 1, 1, 0], 4, &[true, false, true, false]).unwrap();
        assert_eq!(
            (masked.first(), masked.second(), masked.present()),
            (&[0][..], &[2][..], &[1][..])
        );
        with.observe(&all, &masked).unwrap();
        without
            .observe(&kept, &Pairs::new(&[1, 1], 4).unwrap())
            .unwrap();
        assert_eq!(bytes(&with), bytes(&without));
        with.observe(&all, &Pairs::masked(&[1, 1, 1, 0], 4, &[false; 4]).unwrap())
            .unwrap();
        assert_eq!(bytes(&with), bytes(&without));
    }
}

#[test]
fn files_and_tensors_give_back_the_state_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stats.safetensors");
    for config in every_config() {
        let mut original = stats(config.clone(), 5, 3);
        feed(&mut original, 0..3);
        original.save(&path).unwrap();
        let mut opened = ClassStats::open(&path, DType::F32, CPU).unwrap();
        assert_eq!(opened.config(), &config);
        let mut loaded = stats(config, 5, 3);
        loaded
            .load(&original.tensors().unwrap().into_iter().collect())
            .unwrap();
        let saved = bytes(&original);
        for stats in [&mut original, &mut opened, &mut loaded] {
            feed(stats, 3..5);
        }
        assert_ne!(bytes(&original), saved);
        assert_eq!(bytes(&opened), bytes(&original));
        assert_eq!(bytes(&loaded), bytes(&original));
    }
}

#[test]
fn a_state_of_another_config_or_with_wrong_tensors_is_refused() {
    let mut pooled = stats(config(2.0, Estimator::Pooled, Centre::None), 5, 3);
    feed(&mut pooled, 0..2);
    let before = bytes(&pooled);
    let good: HashMap<String, Tensor> = pooled.tensors().unwrap().into_iter().collect();
    let other = |norm, estimator, centre, classes| -> HashMap<String, Tensor> {
        let stats = stats(config(norm, estimator, centre), classes, 3);
        stats.tensors().unwrap().into_iter().collect()
    };
    let changed = |name: &str, tensor: Option<Tensor>| {
        let mut tensors = good.clone();
        tensors.remove(name);
        tensors.extend(tensor.map(|tensor| (name.to_string(), tensor)));
        tensors
    };
    let vector = |values: &[f64]| Some(Tensor::new(values, CPU).unwrap());
    let cases = [
        (
            other(3.0, Estimator::Pooled, Centre::None, 5),
            "saved with norm = 3, expected 2",
        ),
        (
            other(2.0, Estimator::RunningMean, Centre::None, 5),
            "estimator = 2, expected 1",
        ),
        (
            other(2.0, Estimator::Pooled, Centre::GlobalMean, 5),
            "centre = 1, expected 0",
        ),
        (
            other(2.0, Estimator::Pooled, Centre::None, 6),
            "classes = 6, expected 5",
        ),
        (changed("config", None), "lack the tensor config"),
        (changed("degrees", None), "lack the tensor degrees"),
        (
            changed("extra", vector(&[1.0])),
            "unexpected tensors: extra",
        ),
        (
            changed("degrees", vector(&[1.0])),
            "degrees must be [5], got [1]",
        ),
        (
            changed("degrees", vector(&[1., 2., f64::NAN, 0., 0.])),
            "degrees holds NaN",
        ),
        (
            changed("level", vector(&[1., 2., -3., 0., 0.])),
            "level holds -3",
        ),
        (
            changed("config", vector(&[1.0])),
            "config must have 7 numbers, got 1",
        ),
    ];
    for (tensors, expected) in cases {
        let error = pooled.load(&tensors).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(bytes(&pooled), before);
}

#[test]
fn a_file_that_names_more_than_it_holds_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stats.safetensors");
    let stats = stats(config(2.0, Estimator::RunningMean, Centre::None), 3, 2);
    let mut tensors: HashMap<String, Tensor> = stats.tensors().unwrap().into_iter().collect();
    let cases = [
        ([2.0, 2.0, 0.9, 2.0, 0.0, 3.0, 2.0], "format 2, expected 1"),
        (
            [1.0, 2.0, 0.9, 2.0, 0.0, 1e15, 2.0],
            "classes = 1000000000000000, expected 1 to 4294967295",
        ),
        ([1.0, 2.0, 0.9, 2.0, 0.0, 4e9, 2.0], "must be [4000000000"),
        (
            [1.0, 2.0, 0.9, 2.0, 0.0, 3.5, 2.0],
            "classes = 3.5, expected 1 to",
        ),
        (
            [1.0, 2.0, 0.9, 2.0, 0.0, 3.0, 1e15],
            "feature_dim = 1000000000000000, expected 1 to",
        ),
        ([1.0, 2.0, 0.9, 7.0, 0.0, 3.0, 2.0], "unknown estimator 7"),
        (
            [1.0, 2.0, f64::NAN, 2.0, 0.0, 3.0, 2.0],
            "decay must be in [0, 1), got NaN",
        ),
    ];
    for (numbers, expected) in cases {
        tensors.insert("config".to_string(), Tensor::new(&numbers, CPU).unwrap());
        candle_core::safetensors::save(&tensors, &path).unwrap();
        let error = ClassStats::open(&path, DType::F32, CPU)
            .map(|_| ())
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.contains("stats.safetensors"), "{error}");
    }
    std::fs::write(&path, b"no tensors").unwrap();
    assert!(ClassStats::open(&path, DType::F32, CPU).is_err());
}

#[test]
fn a_restart_is_a_new_beginning() {
    for config in every_config() {
        let (mut restarted, mut new) = (stats(config.clone(), 4, 3), stats(config, 4, 3));
        feed(&mut restarted, 0..3);
        restarted.restart().unwrap();
        assert_eq!(bytes(&restarted), bytes(&new));
        feed(&mut restarted, 3..5);
        feed(&mut new, 3..5);
        assert_eq!(bytes(&restarted), bytes(&new));
    }
}

#[test]
fn a_snapshot_does_not_change_with_later_batches_and_no_gradient_passes() {
    for config in every_config() {
        let mut stats = stats(config, 2, 1);
        let features = Var::new(&[[1f32], [2.], [4.]], CPU).unwrap();
        let pairs = Pairs::new(&[0, 0, 1], 2).unwrap();
        stats.observe(&features, &pairs).unwrap();
        stats.observe(&features, &pairs).unwrap();
        let snapshot = stats.snapshot().unwrap();
        let before = fields(&snapshot);
        let doubled = features.affine(2.0, 1.0).unwrap();
        stats.observe(&doubled, &pairs).unwrap();
        assert_eq!(fields(&snapshot), before);
        assert_ne!(fields(&stats.snapshot().unwrap()), before);
        let loss = (&snapshot.m + &snapshot.v).unwrap().sum_all().unwrap();
        assert!(loss.backward().unwrap().get(&features).is_none());
    }
}

#[test]
fn configs_are_strict_and_keep_their_numbers() {
    let config = config(3.0, Estimator::RunningMean, Centre::GlobalMean);
    let text = serde_json::to_string(&config).unwrap();
    assert!(
        text.contains(r#""estimator":"running_mean","centre":"global_mean""#),
        "{text}"
    );
    assert_eq!(serde_json::from_str::<StatsConfig>(&text).unwrap(), config);
    let unknown = text.replace("decay", "decoy");
    assert!(serde_json::from_str::<StatsConfig>(&unknown).is_err());
    assert!(serde_json::from_str::<StatsConfig>(r#"{"norm":2.0}"#).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn statistics_of_any_shape_and_size_are_finite_and_not_negative(
        seed in 0u32..1000,
        batch in 1usize..40,
        classes in prop_oneof![Just(1usize), 2usize..12, Just(1000)],
        dim in prop_oneof![Just(1usize), 2usize..20],
        size in prop_oneof![Just(0f32), Just(1e-30), Just(1.0), Just(1e15), Just(1e30)],
        norm in prop_oneof![Just(1.0f64), Just(2.0), Just(3.0), 1.0f64..20.0],
    ) {
        let number = |i: u32| ((i.wrapping_mul(2_654_435_761) ^ seed) % 2001) as f32 / 1000.0 - 1.0;
        for estimator in Estimator::ALL {
            for centre in Centre::ALL {
                let mut stats = stats(config(norm, estimator, centre), classes, dim);
                for step in 0..3u32 {
                    let values = (0..(batch * dim) as u32)
                        .map(|i| number(i + step * 7919) * size)
                        .collect::<Vec<_>>();
                    let features = Tensor::from_vec(values, (batch, dim), CPU).unwrap();
                    let labels: Vec<u32> = (0..batch as u32)
                        .map(|i| (i.wrapping_mul(seed + step)) % classes as u32)
                        .collect();
                    stats.observe(&features, &Pairs::new(&labels, classes).unwrap()).unwrap();
                }
                for field in fields(&stats.snapshot().unwrap()) {
                    prop_assert!(field.iter().all(|x| x.is_finite() && *x >= 0.0));
                }
            }
        }
    }

    #[test]
    fn pairs_list_every_two_samples_of_one_class_once(
        labels in proptest::collection::vec(0u32..6, 0..40),
        flags in proptest::collection::vec(any::<bool>(), 40),
    ) {
        let keep = &flags[..labels.len()];
        let pairs = Pairs::masked(&labels, 6, keep).unwrap();
        let listed: Vec<_> = pairs.first().iter().zip(pairs.second()).map(|(&i, &j)| (i, j)).collect();
        let mut expected = Vec::new();
        for class in 0..6 {
            for i in 0..labels.len() {
                for j in i + 1..labels.len() {
                    if labels[i] == class && labels[j] == class && keep[i] && keep[j] {
                        expected.push((i as u32, j as u32));
                    }
                }
            }
        }
        let positive = (0..labels.len() as u32)
            .filter(|&i| expected.iter().any(|&(a, b)| a == i || b == i))
            .count();
        prop_assert_eq!(pairs.with_positive(), positive);
        prop_assert_eq!(listed, expected);
    }
}
