//! The table's rules, one by one, and every refusal by its message.
#![allow(clippy::unwrap_used)]

use mr2_metrics::{
    BootstrapConfig, ClassGroup, ClassReport, Error, Interval, MethodRuns, Metric,
    PairedDifference, PerClass, Premise, ReportConfig, SeedRun, SplitSource, Verdict, arg_max,
    best_on_test, bootstrap_sums, calibration, cross_fitted, cvar, hardest_first, holm, mean_sd,
    paired_interval, phantom_gain, premise, softmax, spearman, spearman_permutation_p, thirds,
    top_k, verdict,
};

const LABELS: [u32; 6] = [0, 0, 1, 1, 2, 2];

fn method<'a>(name: &str, runs: &[(u64, &'a [u32])]) -> MethodRuns<'a> {
    let run = |&(seed, predictions)| SeedRun::new(seed, &LABELS, predictions, 3).unwrap();
    MethodRuns {
        name: name.into(),
        runs: runs.iter().map(run).collect(),
    }
}

fn quiet() -> ReportConfig {
    ReportConfig {
        bootstrap: None,
        ..ReportConfig::standard()
    }
}

fn refused(reference: &MethodRuns<'_>, others: &[MethodRuns<'_>]) -> String {
    ClassReport::new(reference, others, 3, &quiet())
        .unwrap_err()
        .to_string()
}

#[test]
fn one_seed_is_marked_same_run_optimistic_and_has_no_interval() {
    let erm = method("ERM", &[(0, &[0, 0, 1, 2, 1, 0])]);
    let ours = method("ours", &[(0, &[0, 0, 1, 1, 1, 2])]);
    let report = ClassReport::new(&erm, &[ours], 3, &quiet()).unwrap();
    assert_eq!(report.splits[0].source, SplitSource::SameRunOptimistic);
    assert_eq!(
        report.rows[1].split_source.to_string(),
        "same run, optimistic"
    );
    let comparison = report.rows[1]
        .cell(Metric::Hard)
        .unwrap()
        .against_reference
        .clone()
        .unwrap();
    assert_eq!(comparison.paired.interval, None);
    assert_eq!(comparison.paired.n, 1);
    assert_eq!(comparison.verdict.to_string(), "undecided at n = 1");
}

#[test]
fn each_seed_is_scored_on_the_classes_of_the_other_reference_seeds() {
    // Class 2 is worst for seed 0 of ERM, class 0 for seed 1.
    let erm = method("ERM", &[(0, &[0, 0, 1, 2, 1, 0]), (1, &[1, 1, 1, 0, 2, 2])]);
    let report = ClassReport::new(&erm, &[], 3, &quiet()).unwrap();
    assert_eq!(report.split(0).unwrap().worst_class, 0);
    assert_eq!(report.split(1).unwrap().worst_class, 2);
    let row = report.row("ERM").unwrap();
    assert_eq!(row.split_source, SplitSource::CrossFitted);
    assert_eq!(row.cell(Metric::WorstClass).unwrap().per_seed, [1.0, 1.0]);
    assert_eq!(row.cell(Metric::OwnMinimum).unwrap().per_seed, [0.0, 0.0]);
    assert_eq!(row.cell(Metric::Overall).unwrap().against_reference, None);
}

#[test]
fn seeds_are_paired_by_number_and_only_shared_ones_are_compared() {
    let right: &[u32] = &LABELS;
    let wrong: &[u32] = &[1, 1, 2, 2, 0, 0];
    let half: &[u32] = &[0, 1, 1, 2, 2, 0];
    let erm = method("ERM", &[(7, half), (5, wrong)]);
    let ours = method("ours", &[(5, half), (9, wrong), (7, right)]);
    let report = ClassReport::new(&erm, &[ours], 3, &quiet()).unwrap();
    let row = report.row("ours").unwrap();
    assert_eq!(row.seeds, [5, 7, 9]);
    let overall = row.cell(Metric::Overall).unwrap();
    assert_eq!(overall.per_seed, [0.5, 1.0, 0.0]);
    let paired = &overall.against_reference.as_ref().unwrap().paired;
    assert_eq!(paired.differences, [0.5, 0.5]);
    assert_eq!(report.split(9).unwrap().source, SplitSource::CrossFitted);
}

#[test]
fn methods_without_a_shared_seed_are_not_compared() {
    let (erm, ours) = (
        method("ERM", &[(0, &LABELS)]),
        method("ours", &[(1, &LABELS)]),
    );
    let report = ClassReport::new(&erm, &[ours], 3, &quiet()).unwrap();
    assert_eq!(
        report.rows[1]
            .cell(Metric::Overall)
            .unwrap()
            .against_reference,
        None
    );
}

#[test]
fn a_difference_of_exactly_0_in_every_seed_is_identical() {
    let erm = method("ERM", &[(0, &[0, 0, 1, 2, 1, 0]), (1, &[0, 1, 1, 1, 2, 1])]);
    let mut ours = erm.clone();
    ours.name = "ours".into();
    let report = ClassReport::new(&erm, &[ours], 3, &ReportConfig::standard()).unwrap();
    for cell in report.rows[1].metrics.values() {
        let comparison = cell.against_reference.as_ref().unwrap();
        assert_eq!(comparison.verdict.to_string(), "identical");
        let zero = Interval {
            low: 0.0,
            high: 0.0,
        };
        assert!(
            comparison
                .image_bootstrap
                .is_none_or(|images| images.interval == zero)
        );
    }
    let rounding = paired_interval(&[0.1 + 0.2, 0.5], &[0.3, 0.5], 0.95).unwrap();
    assert!(rounding.identical, "0.1 + 0.2 is 0.3");
}

#[test]
fn equal_differences_that_are_not_0_leave_the_verdict_undecided() {
    let paired = paired_interval(&[0.71, 0.72, 0.73], &[0.70, 0.71, 0.72], 0.95).unwrap();
    assert_eq!(paired.interval, None);
    let verdict = verdict(&paired, Metric::Overall.direction());
    assert_eq!(verdict, Verdict::Undecided { n: 3 });
}

#[test]
fn a_smaller_gap_is_better_and_a_smaller_accuracy_worse() {
    let below = PairedDifference {
        differences: vec![-0.02, -0.03],
        mean: -0.025,
        sd: Some(0.007),
        n: 2,
        level: 0.95,
        interval: Some(Interval {
            low: -0.04,
            high: -0.01,
        }),
        p: Some(0.04),
        identical: false,
    };
    assert_eq!(verdict(&below, Metric::Gap.direction()), Verdict::Better);
    assert_eq!(verdict(&below, Metric::Hard.direction()), Verdict::Worse);
    let around = PairedDifference {
        interval: Some(Interval {
            low: -0.01,
            high: 0.0,
        }),
        ..below
    };
    assert_eq!(
        verdict(&around, Metric::Gap.direction()).to_string(),
        "undecided at n = 2"
    );
}

#[test]
fn absent_classes_are_null_and_fewer_than_three_classes_have_no_thirds() {
    let labels = [0, 0, 3, 3];
    let run = MethodRuns {
        name: "ERM".into(),
        runs: vec![SeedRun::new(0, &labels, &[0, 1, 3, 3], 4).unwrap()],
    };
    let report = ClassReport::new(&run, &[], 4, &quiet()).unwrap();
    let row = &report.rows[0];
    assert_eq!(row.class_accuracy, [Some(0.5), None, None, Some(1.0)]);
    assert_eq!(report.class_counts, [2, 0, 0, 2]);
    for metric in [Metric::Easy, Metric::Medium, Metric::Hard, Metric::Gap] {
        assert!(row.cell(metric).is_none(), "{metric}");
    }
    assert_eq!(row.cell(Metric::MeanRecall).unwrap().mean, 0.75);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(
        json["rows"][0]["class_accuracy"][1],
        serde_json::Value::Null
    );
    assert_eq!(json["rows"][0]["metrics"]["overall"]["n"], 1);
}

#[test]
fn score_metrics_stand_where_every_run_has_them() {
    let mut erm = method("ERM", &[(0, &LABELS), (1, &LABELS)]);
    erm.runs[0].top5 = Some(1.0);
    erm.runs.iter_mut().for_each(|run| run.ece = Some(0.03));
    let report = ClassReport::new(&erm, &[], 3, &quiet()).unwrap();
    assert_eq!(report.rows[0].cell(Metric::Top5), None);
    assert_eq!(
        report.rows[0].cell(Metric::Ece).unwrap().per_seed,
        [0.03, 0.03]
    );
}

#[test]
fn the_premise_is_held_reversed_or_undecided() {
    let accuracy: Vec<Option<f64>> = (0..10).map(|k| Some(0.5 + 0.04 * f64::from(k))).collect();
    let rising: Vec<Option<f64>> = (0..10).map(|k| Some(f64::from(k * k))).collect();
    let falling: Vec<Option<f64>> = rising.iter().map(|v| v.map(|v| -v)).collect();
    let mut absent = falling.clone();
    absent[3] = None;
    let test = |quantity: &[Option<f64>]| premise(&accuracy, quantity, 1000, 1).unwrap();
    assert_eq!(test(&falling).verdict, Premise::Held);
    assert_eq!(test(&rising).verdict, Premise::Reversed);
    assert_eq!(
        (test(&absent).verdict, test(&absent).classes),
        (Premise::Held, 9)
    );
    assert_eq!(
        test(&[Some(1.0); 10]).verdict.to_string(),
        "undecided (K = 10)"
    );
    let three = premise(&accuracy[..3], &falling[..3], 1000, 1).unwrap();
    assert_eq!(
        (three.rho, three.verdict),
        (Some(-1.0), Premise::Undecided { classes: 3 })
    );
    assert!(
        (three.p.unwrap() - 1.0 / 3.0).abs() < 1e-12,
        "2 of 6 orders"
    );
}

#[test]
fn random_orders_give_a_p_that_is_seeded_and_never_0() {
    let x: Vec<f64> = (0..40).map(f64::from).collect();
    let p = |seed| spearman_permutation_p(&x, &x, 99, seed).unwrap().unwrap();
    assert_eq!(p(1), 0.01);
    let y: Vec<f64> = (0..40).map(|k| f64::from((k * 17) % 40)).collect();
    let p = |seed| spearman_permutation_p(&x, &y, 199, seed).unwrap();
    assert_eq!(p(3), p(3));
}

#[test]
fn means_of_the_same_fractions_in_another_order_tie() {
    let one = [0.1, 0.2, 0.3].iter().sum::<f64>() / 3.0;
    let two = [0.3, 0.2, 0.1].iter().sum::<f64>() / 3.0;
    assert!(one > two, "the example needs a rounding difference");
    assert_eq!(hardest_first(&[Some(one), Some(two)]).unwrap(), [0, 1]);
    let test = |second| {
        let accuracy = [Some(one), Some(second), Some(0.5), Some(0.9)];
        premise(&accuracy, &[1.0, 2.0, 3.0, 4.0].map(Some), 1, 0).unwrap()
    };
    assert_eq!(test(two), test(one), "a tie in the premise too");
}

#[test]
fn runs_that_cannot_be_compared_are_refused_by_name() {
    let erm = method("ERM", &[(0, &LABELS)]);
    let run = |labels, predictions| MethodRuns {
        name: "ours".into(),
        runs: vec![SeedRun::new(4, labels, predictions, 3).unwrap()],
    };
    let other_labels = [0, 0, 1, 2, 2, 2];
    assert_eq!(
        refused(&erm, &[run(&other_labels, &LABELS)]),
        "ours, seed 4: its labels differ from the first run's at image 3; only runs evaluated on \
         the same test images in the same order can be compared"
    );
    assert_eq!(
        refused(&erm, &[run(&LABELS[..5], &LABELS[..5])]),
        "ours, seed 4: labels: expected 6 values, got 5; pass slices that describe the same items"
    );
    assert_eq!(
        SeedRun::new(4, &LABELS, &[0, 0, 1, 1, 2, 3], 3)
            .unwrap_err()
            .to_string(),
        "predictions[5] is class 3, but there are 3 classes (0 to 2); check the \
         number of classes or the data"
    );
    let twice = method("ERM", &[(0, &LABELS), (0, &LABELS)]);
    assert!(refused(&twice, &[]).contains("ERM: seed 0 is listed twice"));
    assert!(refused(&erm, std::slice::from_ref(&erm)).contains("two methods are named ERM"));
    assert!(refused(&erm, &[method("ours", &[])]).contains("ours has no runs"));
    let mut nan = method("ERM", &[(0, &LABELS)]);
    nan.runs[0].ece = Some(f64::NAN);
    assert_eq!(
        refused(&nan, &[]),
        "ERM, seed 0: ece[0] is NaN; every number must be finite"
    );
}

#[test]
fn nan_is_refused_everywhere() {
    let nan = [Some(0.5), Some(f64::NAN)];
    let names = |error: Error| assert!(error.to_string().contains("[1] is NaN"), "{error}");
    names(thirds(&nan).unwrap_err());
    names(holm(&nan).unwrap_err());
    names(best_on_test(&nan).unwrap_err());
    names(phantom_gain(&[nan.to_vec()], ClassGroup::Hard, 0.95).unwrap_err());
    names(cvar(&nan, 0.1).unwrap_err());
    names(cross_fitted(&[nan.to_vec()], None).unwrap_err());
    names(premise(&nan, &[Some(0.1); 2], 10, 0).unwrap_err());
    let nan = [0.5, f64::NAN];
    names(mean_sd(&nan).unwrap_err());
    names(paired_interval(&nan, &[0.5, 0.5], 0.95).unwrap_err());
    names(spearman(&[0.5, 0.5], &nan).unwrap_err());
    names(top_k(&[0], &nan, 2, 1).unwrap_err());
    names(arg_max(&nan, 2).unwrap_err());
    names(softmax(&nan, 2).unwrap_err());
    names(calibration(&[0], &nan, 2, 15).unwrap_err());
    let config = BootstrapConfig {
        resamples: 10,
        level: 0.9,
        seed: 0,
    };
    names(bootstrap_sums(&[0, 0], &[nan.to_vec()], 1, &config).unwrap_err());
}

#[test]
fn settings_and_sizes_out_of_range_are_refused() {
    let message = |error: Error| error.to_string();
    assert_eq!(
        message(calibration(&[0], &[2.0, -1.0], 2, 15).unwrap_err()),
        "probabilities of image 0 contain -1; expected values in [0, 1] that sum to 1 (for \
         logits, take softmax first)"
    );
    assert!(message(calibration(&[0], &[2.0, 1.0], 2, 15).unwrap_err()).contains("sum to 3"));
    assert!(message(paired_interval(&[0.5], &[0.5], 1.0).unwrap_err()).contains("level is 1"));
    assert!(message(holm(&[Some(1.5)]).unwrap_err()).contains("p is 1.5, expected a probability"));
    assert!(message(cvar(&[Some(0.5)], 0.0).unwrap_err()).contains("alpha is 0"));
    assert!(message(top_k(&[0], &[0.5f32], 1, 0).unwrap_err()).contains("k is 0"));
    assert!(message(PerClass::from_predictions(&[], &[], 3).unwrap_err()).contains("empty"));
    assert!(message(top_k(&[3], &[0.5f32; 2], 2, 1).unwrap_err()).contains("labels[0] is class 3"));
    assert!(message(arg_max(&[0.5f32; 5], 2).unwrap_err()).contains("expected 4 values, got 5"));
    let own = message(cross_fitted(&[vec![None]], Some(1)).unwrap_err());
    assert!(own.contains("position of a reference run"), "{own}");
    let config = r#"{"level": 0.95, "cvar_alpha": 0.1, "bootstrap": null, "levels": 1}"#;
    assert!(
        serde_json::from_str::<ReportConfig>(config).is_err(),
        "unknown keys are refused"
    );
}
