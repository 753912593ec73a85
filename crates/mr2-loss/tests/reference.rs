//! Margins, losses and gradients against float64 PyTorch (`tests/reference/loss.py`), and the
//! official presets against a loop over the classes (`tests/reference/official_loop.py`).
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor, Var};
use mr2_loss::{
    ClassCount, ClassStats, Estimator, ExponentScale, GammaConfig, GammaSource, Mr2Config,
    Mr2Terms, Pairs, Preset, Reduction, RepresentationConfig, Snapshot, SpreadRule, StatsConfig,
    Target, gamma, logit_margin, mixed_logit_margin, mr2, representation_margin,
};

/// The same formulas in the same precision, whatever the order of sums.
const EXACT: f64 = 1e-11;
/// What is promised in f32 against float64 on the same inputs.
const SINGLE: f64 = 1e-5;

type Fixture = HashMap<String, Tensor>;

fn fixture() -> Fixture {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/loss.safetensors"
    );
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

fn tolerance(dtype: DType) -> f64 {
    if dtype == DType::F64 { EXACT } else { SINGLE }
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

/// Each number within `tolerance` of its own size; of a tenth of the largest for those that are
/// differences of larger ones.
#[track_caller]
fn check(what: &str, actual: &Tensor, expected: &Tensor, tolerance: f64) {
    let (actual, expected) = (numbers(actual), numbers(expected));
    assert_eq!(actual.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0f64, |a, b| a.max(b.abs()));
    for (i, (a, e)) in actual.iter().zip(&expected).enumerate() {
        let allowed = tolerance * e.abs().max(0.1 * largest);
        assert!((a - e).abs() <= allowed, "{what}[{i}]: {a} instead of {e}");
    }
}

fn var(tensor: &Tensor, dtype: DType) -> Var {
    Var::from_tensor(&tensor.to_dtype(dtype).unwrap()).unwrap()
}

fn labels(fixture: &Fixture, batch: usize) -> Vec<u32> {
    fixture["labels"].get(batch).unwrap().to_vec1().unwrap()
}

/// The statistics after all batches of the fixture, then the objective on the last.
fn last_step(fixture: &Fixture, config: &Mr2Config, dtype: DType) -> (Mr2Terms, Var, Var) {
    let (batches, _, dim) = fixture["features"].dims3().unwrap();
    let classes = fixture["logits"].dims()[2];
    let mut stats =
        ClassStats::new(config.stats.clone(), classes, dim, dtype, &Device::Cpu).unwrap();
    for batch in 0..batches {
        let features = var(&fixture["features"].get(batch).unwrap(), dtype);
        stats
            .observe(
                &features,
                &Pairs::new(&labels(fixture, batch), classes).unwrap(),
            )
            .unwrap();
    }
    let features = var(&fixture["features"].get(batches - 1).unwrap(), dtype);
    let logits = var(&fixture["logits"].get(batches - 1).unwrap(), dtype);
    let pairs = Pairs::new(&labels(fixture, batches - 1), classes).unwrap();
    let terms = mr2(
        &logits,
        &features,
        &pairs,
        &stats.snapshot().unwrap(),
        config,
    )
    .unwrap();
    (terms, features, logits)
}

#[test]
fn every_preset_gives_the_reference_margins_losses_and_gradients() {
    let fixture = fixture();
    // The reference of the pooled estimator with the official scale and reduction.
    let pooled = Mr2Config {
        stats: StatsConfig {
            estimator: Estimator::Pooled,
            ..Preset::PaperLinear.config().stats
        },
        gamma: GammaConfig {
            budget: 1.0,
            ..Preset::PaperLinear.config().gamma
        },
        representation: RepresentationConfig {
            weight: 0.3,
            scale: ExponentScale::TenTimesDim,
            spread: SpreadRule::MeanSpread,
            reduction: Reduction::ClassMean(ClassCount::Data),
        },
        restart_every_epoch: false,
    };
    let published = Preset::ALL
        .into_iter()
        .filter(|preset| *preset != Preset::Recommended);
    let mut cases: Vec<_> = published
        .map(|preset| (preset.name(), preset.config()))
        .collect();
    cases.push(("pooled", pooled));
    for (name, config) in cases {
        for dtype in [DType::F64, DType::F32] {
            let (terms, features, logits) = last_step(&fixture, &config, dtype);
            let grads = terms.total.backward().unwrap();
            let parts = [
                ("gamma", &terms.gamma),
                ("spread_threshold", &terms.spread_threshold),
                ("logit_margin", &terms.logit_margin),
                ("representation", &terms.representation),
                ("total", &terms.total),
                ("features.grad", grads.get(&features).unwrap()),
                ("logits.grad", grads.get(&logits).unwrap()),
            ];
            for (part, actual) in parts {
                let key = format!("{name}.{part}");
                check(&key, actual, &fixture[&key], tolerance(dtype));
            }
        }
    }
}

#[test]
fn margins_of_every_source_and_exponent_follow_the_formula() {
    let fixture = fixture();
    for dtype in [DType::F64, DType::F32] {
        let of = |name: &str| fixture[name].to_dtype(dtype).unwrap();
        let (m, v) = (of("sources.m"), of("sources.v"));
        let snapshot = Snapshot {
            second_moment: (&m + &v).unwrap(),
            pair_spread: v.clone(),
            seen: m.ge(0.0).unwrap(),
            has_spread: v.gt(0.0).unwrap(),
            m,
            v,
        };
        for (source, name) in [
            (GammaSource::SecondMoment, "second_moment"),
            (GammaSource::Spread, "spread"),
            (GammaSource::RelativeSpread, "relative_spread"),
        ] {
            for (exponent, exponent_name) in [(1.0 / 3.0, "third"), (1.0, "one"), (-0.5, "inverse")]
            {
                let config = GammaConfig {
                    source,
                    budget: 1.5,
                    exponent,
                    classes: ClassCount::Data,
                };
                let key = format!("sources.{name}.{exponent_name}");
                let gamma = gamma(&snapshot, &config).unwrap();
                check(&key, &gamma, &fixture[&key], tolerance(dtype));
            }
        }
        let config = GammaConfig {
            source: GammaSource::SecondMoment,
            budget: 1.5,
            exponent: 1.0 / 3.0,
            classes: ClassCount::Fixed(40),
        };
        let gamma = gamma(&snapshot, &config).unwrap();
        let key = "sources.second_moment.fixed";
        check(key, &gamma, &fixture[key], tolerance(dtype));
    }
}

#[test]
fn hard_smoothed_soft_and_mixed_labels_follow_their_rules() {
    let fixture = fixture();
    let last = fixture["features"].dims()[0] - 1;
    let labels = labels(&fixture, last);
    let classes = fixture["logits"].dims()[2] as u32;
    let other: Vec<u32> = labels.iter().map(|label| (label + 1) % classes).collect();
    let share = numbers(&fixture["soft_labels.share"]);
    for dtype in [DType::F64, DType::F32] {
        let logits = var(&fixture["logits"].get(last).unwrap(), dtype);
        let gamma = fixture["soft_labels.gamma"].to_dtype(dtype).unwrap();
        let soft = fixture["soft_labels.targets"].to_dtype(dtype).unwrap();
        let margin = |target: Target| logit_margin(&logits, target, &gamma, &labels).unwrap();
        let smoothed = Target::Smoothed {
            labels: &labels,
            epsilon: 0.1,
        };
        let cases = [
            ("hard", margin(Target::Hard(&labels))),
            ("smoothed", margin(smoothed)),
            ("soft", margin(Target::Soft(&soft))),
            (
                "mixed",
                mixed_logit_margin(&logits, &labels, &other, &share, &gamma).unwrap(),
            ),
        ];
        for (name, per_sample) in cases {
            let key = format!("soft_labels.{name}");
            check(&key, &per_sample, &fixture[&key], tolerance(dtype));
            let weights = Tensor::arange(1f64, labels.len() as f64 + 1.0, &Device::Cpu).unwrap();
            let weighted = (per_sample * weights.to_dtype(dtype).unwrap()).unwrap();
            let grads = weighted.sum_all().unwrap().backward().unwrap();
            let key = format!("{key}.grad");
            check(
                &key,
                grads.get(&logits).unwrap(),
                &fixture[&key],
                tolerance(dtype),
            );
        }
    }
}

#[test]
fn mixed_samples_stay_out_of_the_representation_margin() {
    let fixture = fixture();
    let last = fixture["features"].dims()[0] - 1;
    let keep: Vec<bool> = numbers(&fixture["soft_labels.kept"])
        .into_iter()
        .map(|x| x == 1.0)
        .collect();
    let classes = fixture["logits"].dims()[2];
    let pairs = Pairs::masked(&labels(&fixture, last), classes, &keep).unwrap();
    for dtype in [DType::F64, DType::F32] {
        let features = var(&fixture["features"].get(last).unwrap(), dtype);
        let threshold = Tensor::new(0.7f64, &Device::Cpu).unwrap();
        let scale = ExponentScale::Constant(5.0);
        let loss = representation_margin(&features, &pairs, &threshold, scale).unwrap();
        let key = "soft_labels.representation";
        check(key, &loss, &fixture[key], tolerance(dtype));
        let grads = loss.sum_all().unwrap().backward().unwrap();
        let key = "soft_labels.representation.grad";
        check(
            key,
            grads.get(&features).unwrap(),
            &fixture[key],
            tolerance(dtype),
        );
    }
}

#[test]
fn class_means_a_thousand_times_the_spread_cost_no_accuracy() {
    let fixture = fixture();
    let labels = fixture["far.labels"].to_vec1::<u32>().unwrap();
    let pairs = Pairs::new(&labels, 9).unwrap();
    let scales = [
        (ExponentScale::One, "one"),
        (ExponentScale::TenTimesDim, "ten_times_dim"),
    ];
    for dtype in [DType::F64, DType::F32] {
        for (scale, name) in scales {
            let features = var(&fixture["far.features"], dtype);
            let threshold = Tensor::new(5f64, &Device::Cpu).unwrap();
            let loss = representation_margin(&features, &pairs, &threshold, scale).unwrap();
            let key = format!("far.{name}");
            check(&key, &loss, &fixture[&key], tolerance(dtype));
            let grads = loss.sum_all().unwrap().backward().unwrap();
            let key = format!("{key}.grad");
            check(
                &key,
                grads.get(&features).unwrap(),
                &fixture[&key],
                tolerance(dtype),
            );
        }
    }
}
