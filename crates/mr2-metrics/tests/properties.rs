//! What holds for every input, by random ones.
#![allow(clippy::unwrap_used)]

use mr2_metrics::{
    BootstrapConfig, ClassReport, Confusion, MethodRuns, Metric, PerClass, ReportConfig, SeedRun,
    arg_max, bootstrap_sums, calibration, cross_fitted, cvar, hardest_first, holm, own_minimum,
    paired_interval, softmax, spearman, spearman_permutation_p, thirds, top_k, worst_class,
    worst_decile,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// A number of classes with labels and predictions below it.
fn classified() -> impl Strategy<Value = (usize, Vec<u32>, Vec<u32>)> {
    (1usize..12, 1usize..60).prop_flat_map(|(classes, images)| {
        let class = 0..classes as u32;
        let classes = Just(classes);
        (
            classes,
            prop::collection::vec(class.clone(), images),
            prop::collection::vec(class, images),
        )
    })
}

/// Labels with one score per image and class, on a coarse grid so that scores tie.
fn scored() -> impl Strategy<Value = (usize, Vec<u32>, Vec<f32>)> {
    (1usize..9, 1usize..30).prop_flat_map(|(classes, images)| {
        let labels = prop::collection::vec(0..classes as u32, images);
        let scores = prop::collection::vec((-4i8..4).prop_map(f32::from), images * classes);
        (Just(classes), labels, scores)
    })
}

/// Per-class accuracies with absent classes and ties.
fn accuracies(classes: usize) -> impl Strategy<Value = Vec<Option<f64>>> {
    prop::collection::vec(
        prop::option::of((0u8..=8).prop_map(|x| f64::from(x) / 8.0)),
        classes,
    )
}

fn pairs() -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> {
    (1usize..9).prop_flat_map(|n| {
        let values = prop::collection::vec((-5i8..5).prop_map(f64::from), n);
        (values.clone(), values)
    })
}

/// `runs` lists of predictions for the same labels.
fn several_runs(runs: usize) -> impl Strategy<Value = (usize, Vec<u32>, Vec<Vec<u32>>)> {
    (1usize..8, 1usize..40).prop_flat_map(move |(classes, images)| {
        let class = prop::collection::vec(0..classes as u32, images);
        (
            Just(classes),
            class.clone(),
            prop::collection::vec(class, runs),
        )
    })
}

fn method<'a>(
    name: &str,
    labels: &'a [u32],
    predictions: &'a [Vec<u32>],
    classes: usize,
) -> MethodRuns<'a> {
    let run = |(seed, predictions): (usize, &'a Vec<u32>)| {
        SeedRun::new(seed as u64, labels, predictions, classes).unwrap()
    };
    MethodRuns {
        name: name.into(),
        runs: predictions.iter().enumerate().map(run).collect(),
    }
}

/// The same inputs on every run, and nothing written to the tree.
fn seeded() -> ProptestConfig {
    ProptestConfig {
        rng_seed: RngSeed::Fixed(20260205),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(seeded())]

    #[test]
    fn thirds_part_the_present_classes_and_nest_the_worst_ones(reference in (0usize..40)
        .prop_flat_map(accuracies))
    {
        let classes = 0..reference.len();
        let present: Vec<usize> = classes.filter(|&k| reference[k].is_some()).collect();
        let order = hardest_first(&reference).unwrap();
        prop_assert_eq!(order.len(), present.len());
        let decile = worst_decile(&reference).unwrap();
        prop_assert_eq!(decile.len(), present.len().div_ceil(10));
        match thirds(&reference).unwrap() {
            None => prop_assert!(present.len() < 3),
            Some(thirds) => {
                prop_assert_eq!(thirds.easy.len(), present.len() / 3);
                prop_assert_eq!(thirds.hard.len(), present.len() / 3);
                let groups = [&thirds.easy, &thirds.medium, &thirds.hard];
                let mut all: Vec<usize> = groups.into_iter().flatten().copied().collect();
                all.sort_unstable();
                prop_assert_eq!(&all, &present);
                let worst = worst_class(&reference).unwrap().unwrap();
                prop_assert!(thirds.hard.contains(&worst) && decile.contains(&worst));
                let of = |group: &[usize], pick: fn(f64, f64) -> f64| {
                    group.iter().map(|&k| reference[k].unwrap()).reduce(pick).unwrap()
                };
                let (least, most) = (|g: &[usize]| of(g, f64::min), |g: &[usize]| of(g, f64::max));
                prop_assert!(most(&thirds.hard) <= least(&thirds.medium));
                prop_assert!(most(&thirds.medium) <= least(&thirds.easy));
            }
        }
    }

    #[test]
    fn counts_f1_and_confusion_agree((classes, labels, predictions) in classified()) {
        let per_class = PerClass::from_predictions(&labels, &predictions, classes).unwrap();
        let confusion = Confusion::from_predictions(&labels, &predictions, classes).unwrap();
        let cells: u64 = confusion.cells().iter().map(|cell| cell.count).sum();
        prop_assert_eq!(cells, labels.len() as u64);
        for class in 0..classes {
            prop_assert_eq!(per_class.correct[class], confusion.count(class as u32, class as u32));
            prop_assert_eq!(per_class.accuracy(class).is_some(), labels.contains(&(class as u32)));
            prop_assert_eq!(confusion.f1()[class].is_some(), per_class.count[class] > 0);
        }
        let f1 = confusion.macro_f1().unwrap();
        prop_assert!((0.0..=1.0).contains(&f1));
        let right = Confusion::from_predictions(&labels, &labels, classes).unwrap();
        prop_assert_eq!(right.macro_f1(), Some(1.0));
        prop_assert!(right.top_confusions(3).is_empty());
    }

    #[test]
    fn top_k_rises_from_accuracy_to_1((classes, labels, scores) in scored()) {
        let predictions = arg_max(&scores, classes).unwrap();
        let accuracy = PerClass::from_predictions(&labels, &predictions, classes).unwrap();
        prop_assert_eq!(&top_k(&labels, &scores, classes, 1).unwrap(), &accuracy);
        let mut last = 0.0;
        for k in 1..=classes {
            let overall = top_k(&labels, &scores, classes, k).unwrap().overall().unwrap();
            prop_assert!(overall >= last);
            last = overall;
        }
        prop_assert_eq!(last, 1.0);
    }

    #[test]
    fn ece_lies_between_0_and_1_and_bins_hold_every_image((classes, labels, scores) in scored()) {
        let probabilities = softmax(&scores, classes).unwrap();
        let result = calibration(&labels, &probabilities, classes, 10).unwrap();
        prop_assert!((0.0..=1.0).contains(&result.ece));
        prop_assert_eq!(result.bins.iter().map(|bin| bin.count).sum::<u64>(), labels.len() as u64);
    }

    #[test]
    fn cvar_rises_from_own_minimum_to_mean(values in (1usize..30).prop_flat_map(accuracies),
        low in 0.01f64..1.0, high in 0.01f64..1.0)
    {
        let (low, high) = (low.min(high), low.max(high));
        let present: Vec<f64> = values.iter().copied().flatten().collect();
        let minimum = own_minimum(&values).unwrap();
        if present.is_empty() {
            prop_assert_eq!((cvar(&values, low).unwrap(), minimum), (None, None));
        } else {
            let at = |alpha| cvar(&values, alpha).unwrap().unwrap();
            let mean = present.iter().sum::<f64>() / present.len() as f64;
            prop_assert!(at(low) <= at(high) + 1e-12);
            prop_assert!((at(1.0) - mean).abs() < 1e-12);
            prop_assert!((at(1e-6) - minimum.unwrap()).abs() < 1e-12);
        }
    }

    #[test]
    fn spearman_is_bounded_symmetric_and_blind_to_monotone_maps((x, y) in pairs()) {
        let rho = spearman(&x, &y).unwrap();
        prop_assert_eq!(rho, spearman(&y, &x).unwrap());
        let curved: Vec<f64> = x.iter().map(|x| x.exp()).collect();
        prop_assert_eq!(rho, spearman(&curved, &y).unwrap());
        let p = spearman_permutation_p(&x, &y, 10, 0).unwrap();
        prop_assert_eq!(p.is_some(), rho.is_some());
        prop_assert!(rho.is_none_or(|rho| rho.abs() <= 1.0 + 1e-12));
        prop_assert!(p.is_none_or(|p| p > 0.0 && p <= 1.0));
    }

    #[test]
    fn paired_intervals_change_sign_with_the_order((a, b) in pairs(), level in 0.5f64..0.999) {
        let forth = paired_interval(&a, &b, level).unwrap();
        let back = paired_interval(&b, &a, level).unwrap();
        prop_assert_eq!(forth.mean, -back.mean);
        prop_assert_eq!(forth.identical, a == b);
        prop_assert_eq!(forth.interval.is_some(), back.interval.is_some());
        prop_assert_eq!(forth.p.is_some(), forth.interval.is_some());
        prop_assert_eq!(forth.p, back.p);
        if let (Some(p), Some(interval)) = (forth.p, forth.interval) {
            let excludes = interval.low > 0.0 || interval.high < 0.0;
            prop_assert!((0.0..=1.0).contains(&p));
            // At the edge, quantile and p round differently.
            prop_assert!(excludes == (p < 1.0 - level) || (p - 1.0 + level).abs() < 1e-9);
        }
        if let (Some(forth), Some(back)) = (forth.interval, back.interval) {
            prop_assert!((forth.low + back.high).abs() < 1e-9);
            prop_assert!(forth.low < forth.high);
        }
    }

    #[test]
    fn holm_raises_p_keeps_its_order_and_looks_at_values_only(values in prop::collection::vec(
        prop::option::of((0u16..=40).prop_map(|p| f64::from(p) / 40.0)), 0..20), turn in 0usize..20)
    {
        let adjusted = holm(&values).unwrap();
        let tests = values.iter().flatten().count() as f64;
        for (a, (raw_a, adjusted_a)) in values.iter().zip(&adjusted).enumerate() {
            prop_assert_eq!(raw_a.is_some(), adjusted_a.is_some());
            let (Some(raw_a), Some(adjusted_a)) = (raw_a, adjusted_a) else { continue };
            prop_assert!(raw_a <= adjusted_a && *adjusted_a <= (tests * raw_a).min(1.0));
            for (raw_b, adjusted_b) in values.iter().zip(&adjusted).skip(a + 1) {
                let (Some(raw_b), Some(adjusted_b)) = (raw_b, adjusted_b) else { continue };
                prop_assert!(raw_a > raw_b || adjusted_a <= adjusted_b);
                prop_assert!(raw_a < raw_b || adjusted_a >= adjusted_b);
            }
        }
        let turned = |list: &[Option<f64>]| {
            let mut list = list.to_vec();
            list.reverse();
            let by = turn % list.len().max(1);
            list.rotate_left(by);
            list
        };
        prop_assert_eq!(holm(&turned(&values)).unwrap(), turned(&adjusted));
        let without: Vec<Option<f64>> = values.iter().copied().filter(Option::is_some).collect();
        let kept: Vec<Option<f64>> = adjusted.into_iter().filter(Option::is_some).collect();
        prop_assert_eq!(holm(&without).unwrap(), kept);
    }

    #[test]
    fn the_reference_of_a_seed_never_reads_its_own_run(runs in (2usize..5, 1usize..12)
        .prop_flat_map(|(seeds, classes)| prop::collection::vec(accuracies(classes), seeds)),
        own in 0usize..5)
    {
        let own = own % runs.len();
        let mut changed = runs.clone();
        changed[own].iter_mut().for_each(|accuracy| *accuracy = Some(0.123));
        let reference = cross_fitted(&runs, Some(own)).unwrap();
        prop_assert_eq!(reference, cross_fitted(&changed, Some(own)).unwrap());
    }

    #[test]
    fn a_bootstrap_of_equal_images_has_no_width(labels in prop::collection::vec(0u32..4, 1..50),
        seed: u64)
    {
        let equal = vec![1.0 / labels.len() as f64; labels.len()];
        let config = BootstrapConfig { resamples: 20, level: 0.9, seed };
        let interval = bootstrap_sums(&labels, &[equal], 4, &config).unwrap()[0].interval;
        prop_assert!((interval.low - 1.0).abs() < 1e-12 && (interval.high - 1.0).abs() < 1e-12);
    }

    #[test]
    fn reports_survive_json_and_stay_in_range((classes, labels, runs) in several_runs(5)) {
        let reference = method("a", &labels, &runs[..3], classes);
        let other = method("b", &labels, &runs[3..], classes);
        let config = ReportConfig {
            bootstrap: Some(BootstrapConfig { resamples: 20, level: 0.95, seed: 1 }),
            ..ReportConfig::standard()
        };
        let report = ClassReport::new(&reference, &[other], classes, &config).unwrap();
        let json = serde_json::to_string(&report).unwrap();
        prop_assert_eq!(&serde_json::from_str::<ClassReport>(&json).unwrap(), &report);
        for row in &report.rows {
            for (metric, cell) in &row.metrics {
                let range = if *metric == Metric::Gap { -1.0..=1.0 } else { 0.0..=1.0 };
                prop_assert!(cell.per_seed.iter().all(|value| range.contains(value)), "{metric}");
                prop_assert_eq!(cell.n, row.seeds.len());
            }
        }
    }
}
