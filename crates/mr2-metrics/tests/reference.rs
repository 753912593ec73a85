//! Against scikit-learn, SciPy and NumPy; `tests/reference/metrics.py` writes the fixture.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use mr2_metrics::{
    BootstrapConfig, ClassGroup, ClassReport, Confusion, ECE_BINS, Interval, MethodRuns, Metric,
    PerClass, ReportConfig, SeedRun, SplitSource, arg_max, calibration, cvar, hardest_first, holm,
    paired_interval, phantom_gain, softmax, spearman, spearman_permutation_p, thirds, top_k,
    worst_class, worst_decile,
};
use serde::Deserialize;

/// Sums of some hundred float64 terms in another order.
const SUMS: f64 = 1e-12;
/// The t quantile is found by iteration.
const QUANTILE: f64 = 1e-9;
/// Four standard errors of a p near 0.05 from 100,000 random orders.
const SAMPLED_P: f64 = 0.003;
/// Sampling error of the 2.5 % quantile of 20,000 resamples, as a share of the interval.
const RESAMPLED: f64 = 0.04;

#[derive(Deserialize)]
struct Fixture {
    classification: Classification,
    intervals: Vec<IntervalCase>,
    correlations: Vec<CorrelationCase>,
    splits: Vec<SplitCase>,
    tails: Vec<TailCase>,
    report: ReportCase,
    holm: Vec<HolmCase>,
    phantom: Vec<PhantomCase>,
}

#[derive(Deserialize)]
struct Classification {
    classes: usize,
    labels: Vec<u32>,
    logits: Vec<f64>,
    predictions: Vec<u32>,
    confusion: Vec<Vec<u64>>,
    accuracies: Vec<Option<f64>>,
    overall: f64,
    mean_recall: f64,
    macro_f1: f64,
    top_k: BTreeMap<String, f64>,
    ece: f64,
}

#[derive(Deserialize)]
struct IntervalCase {
    method: Vec<f64>,
    reference: Vec<f64>,
    level: f64,
    mean: f64,
    sd: f64,
    low: f64,
    high: f64,
    p: f64,
}

#[derive(Deserialize)]
struct HolmCase {
    p: Vec<Option<f64>>,
    adjusted: Vec<Option<f64>>,
}

#[derive(Deserialize)]
struct PhantomCase {
    runs: Vec<Vec<Option<f64>>>,
    level: f64,
    gains: BTreeMap<ClassGroup, GainCase>,
}

#[derive(Deserialize)]
struct GainCase {
    per_run: Vec<f64>,
    mean: f64,
    sd: f64,
    low: f64,
    high: f64,
}

#[derive(Deserialize)]
struct CorrelationCase {
    x: Vec<f64>,
    y: Vec<f64>,
    rho: f64,
    p: f64,
    exact: bool,
}

#[derive(Deserialize)]
struct Chosen {
    easy: Vec<usize>,
    medium: Vec<usize>,
    hard: Vec<usize>,
    worst_class: usize,
    worst_decile: Vec<usize>,
}

#[derive(Deserialize)]
struct SplitCase {
    accuracy: Vec<Option<f64>>,
    #[serde(flatten)]
    chosen: Chosen,
}

#[derive(Deserialize)]
struct TailCase {
    accuracy: Vec<f64>,
    alpha: f64,
    cvar: f64,
}

#[derive(Deserialize)]
struct Difference {
    mean: f64,
    low: f64,
    high: f64,
    p: f64,
}

#[derive(Deserialize)]
struct ReportCase {
    classes: usize,
    seeds: Vec<u64>,
    labels: Vec<u32>,
    reference: Vec<Vec<u32>>,
    method: Vec<Vec<u32>>,
    splits: Vec<Chosen>,
    rows: BTreeMap<String, Vec<BTreeMap<Metric, f64>>>,
    differences: BTreeMap<Metric, Difference>,
    image_bootstrap: BTreeMap<Metric, [f64; 2]>,
}

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("fixtures/metrics.json")).unwrap()
}

#[track_caller]
fn close(got: f64, expected: f64, tolerance: f64) {
    assert!(
        (got - expected).abs() <= tolerance,
        "got {got}, expected {expected}"
    );
}

#[test]
fn counts_confusion_and_scores_of_one_run_equal_scikit_learn() {
    let case = fixture().classification;
    let (labels, classes) = (&case.labels, case.classes);
    assert_eq!(arg_max(&case.logits, classes).unwrap(), case.predictions);
    let per_class = PerClass::from_predictions(labels, &case.predictions, classes).unwrap();
    for (got, expected) in per_class.accuracies().into_iter().zip(case.accuracies) {
        assert_eq!(got.is_some(), expected.is_some());
        close(got.unwrap_or(0.0), expected.unwrap_or(0.0), SUMS);
    }
    close(per_class.overall().unwrap(), case.overall, SUMS);
    close(per_class.mean_recall().unwrap(), case.mean_recall, SUMS);
    let confusion = Confusion::from_predictions(labels, &case.predictions, classes).unwrap();
    close(confusion.macro_f1().unwrap(), case.macro_f1, SUMS);
    for (label, row) in case.confusion.iter().enumerate() {
        for (prediction, &count) in row.iter().enumerate() {
            assert_eq!(confusion.count(label as u32, prediction as u32), count);
        }
    }
    for (k, expected) in case.top_k {
        let hits = top_k(labels, &case.logits, classes, k.parse().unwrap()).unwrap();
        close(hits.overall().unwrap(), expected, SUMS);
    }
    let probabilities = softmax(&case.logits, classes).unwrap();
    let calibration = calibration(labels, &probabilities, classes, ECE_BINS).unwrap();
    close(calibration.ece, case.ece, SUMS);
}

#[test]
fn paired_intervals_equal_scipy() {
    for case in fixture().intervals {
        let paired = paired_interval(&case.method, &case.reference, case.level).unwrap();
        let interval = paired.interval.unwrap();
        close(paired.mean, case.mean, SUMS);
        close(paired.sd.unwrap(), case.sd, SUMS);
        close(interval.low, case.low, QUANTILE);
        close(interval.high, case.high, QUANTILE);
        close(paired.p.unwrap(), case.p, SUMS);
    }
}

#[test]
fn adjusted_p_equal_holm_as_bonferroni_on_what_is_left() {
    for case in fixture().holm {
        let adjusted = holm(&case.p).unwrap();
        for (got, expected) in adjusted.iter().zip(&case.adjusted) {
            assert_eq!(got.is_some(), expected.is_some());
            close(got.unwrap_or(0.0), expected.unwrap_or(0.0), SUMS);
        }
    }
}

#[test]
fn phantom_gains_equal_numpy() {
    for case in fixture().phantom {
        assert_eq!(case.gains.len(), ClassGroup::ALL.len());
        for (group, expected) in case.gains {
            let gain = phantom_gain(&case.runs, group, case.level)
                .unwrap()
                .unwrap();
            assert_eq!(gain.n, case.runs.len());
            for (&got, expected) in gain.per_run.iter().zip(expected.per_run) {
                close(got, expected, SUMS);
            }
            let interval = gain.interval.unwrap();
            close(gain.mean, expected.mean, SUMS);
            close(gain.sd, expected.sd, SUMS);
            close(interval.low, expected.low, QUANTILE);
            close(interval.high, expected.high, QUANTILE);
        }
    }
}

#[test]
fn spearman_and_its_permutation_p_equal_scipy_and_enumeration() {
    for case in fixture().correlations {
        close(spearman(&case.x, &case.y).unwrap().unwrap(), case.rho, SUMS);
        let p = spearman_permutation_p(&case.x, &case.y, 100_000, 1)
            .unwrap()
            .unwrap();
        close(p, case.p, if case.exact { SUMS } else { SAMPLED_P });
    }
}

#[test]
fn thirds_and_worst_classes_equal_a_stable_sort() {
    for SplitCase { accuracy, chosen } in fixture().splits {
        let thirds = thirds(&accuracy).unwrap().unwrap();
        assert_eq!(thirds.easy, chosen.easy);
        assert_eq!(thirds.medium, chosen.medium);
        assert_eq!(thirds.hard, chosen.hard);
        assert_eq!(worst_class(&accuracy).unwrap(), Some(chosen.worst_class));
        assert_eq!(worst_decile(&accuracy).unwrap(), chosen.worst_decile);
        assert_eq!(hardest_first(&accuracy).unwrap()[0], chosen.worst_class);
    }
}

#[test]
fn cvar_equals_its_variational_form() {
    for case in fixture().tails {
        let accuracy: Vec<Option<f64>> = case.accuracy.into_iter().map(Some).collect();
        close(
            cvar(&accuracy, case.alpha).unwrap().unwrap(),
            case.cvar,
            SUMS,
        );
    }
}

fn method<'a>(name: &str, case: &'a ReportCase, predictions: &'a [Vec<u32>]) -> MethodRuns<'a> {
    let run =
        |(&seed, predictions)| SeedRun::new(seed, &case.labels, predictions, case.classes).unwrap();
    let runs = case
        .seeds
        .iter()
        .zip(predictions)
        .map(|(s, p)| run((s, p.as_slice())))
        .collect();
    MethodRuns {
        name: name.into(),
        runs,
    }
}

fn report(case: &ReportCase) -> ClassReport {
    let reference = method("reference", case, &case.reference);
    let other = method("method", case, &case.method);
    let bootstrap = BootstrapConfig {
        resamples: 20_000,
        level: 0.95,
        seed: 5,
    };
    let config = ReportConfig {
        level: 0.95,
        cvar_alpha: 0.1,
        bootstrap: Some(bootstrap),
    };
    ClassReport::new(&reference, &[other], case.classes, &config).unwrap()
}

#[test]
fn the_class_report_equals_an_independent_table() {
    let case = fixture().report;
    let report = report(&case);
    for (split, chosen) in report.splits.iter().zip(&case.splits) {
        let thirds = split.thirds.as_ref().unwrap();
        assert_eq!(split.source, SplitSource::CrossFitted);
        assert_eq!(
            (&thirds.easy, &thirds.medium),
            (&chosen.easy, &chosen.medium)
        );
        assert_eq!(
            (&thirds.hard, split.worst_class),
            (&chosen.hard, chosen.worst_class)
        );
        assert_eq!(split.worst_decile, chosen.worst_decile);
    }
    for (name, runs) in &case.rows {
        let row = report.row(name).unwrap();
        assert_eq!(row.seeds, case.seeds);
        for (position, expected) in runs.iter().enumerate() {
            for (&metric, &value) in expected {
                close(row.cell(metric).unwrap().per_seed[position], value, SUMS);
            }
        }
    }
    for (metric, expected) in case.differences {
        let cell = report.row("method").unwrap().cell(metric).unwrap();
        let paired = &cell.against_reference.as_ref().unwrap().paired;
        let interval = paired.interval.unwrap();
        close(paired.mean, expected.mean, SUMS);
        close(paired.p.unwrap(), expected.p, SUMS);
        close(interval.low, expected.low, QUANTILE);
        close(interval.high, expected.high, QUANTILE);
    }
}

#[track_caller]
fn resampled_close(got: Interval, expected: [f64; 2]) {
    let tolerance = RESAMPLED * (expected[1] - expected[0]);
    close(got.low, expected[0], tolerance);
    close(got.high, expected[1], tolerance);
}

#[test]
fn bootstrap_intervals_over_images_equal_numpy() {
    let case = fixture().report;
    let report = report(&case);
    for (&metric, &expected) in &case.image_bootstrap {
        let cell = report.row("method").unwrap().cell(metric).unwrap();
        let comparison = cell.against_reference.as_ref().unwrap();
        resampled_close(comparison.image_bootstrap.unwrap().interval, expected);
    }
    assert_eq!(report, self::report(&case), "the same seed, the same draws");
}
