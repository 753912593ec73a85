//! Margins, losses and gradients against float64 PyTorch (`tests/reference/loss.py`), and the
//! official presets against a loop over the classes (`tests/reference/official_loop.py`).
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor, Var};
use mr2_loss::{
    ClassCount, ClassStats, ExponentScale, GammaConfig, GammaSource, Mr2Config, Mr2Terms, Pairs,
    Preset, Snapshot, Target, gamma, logit_margin, mixed_logit_margin, mr2, representation_margin,
    soft_logit_margin,
};
use mr2_nn::rng;

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

/// Each number within `tolerance` of its own size; of a thousandth of the largest for those that
/// are differences of larger ones.
#[track_caller]
fn check(what: &str, actual: &Tensor, expected: &Tensor, tolerance: f64) {
    let (actual, expected) = (numbers(actual), numbers(expected));
    assert_eq!(actual.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0f64, |a, b| a.max(b.abs()));
    for (i, (a, e)) in actual.iter().zip(&expected).enumerate() {
        let allowed = tolerance * e.abs().max(1e-3 * largest);
        assert!((a - e).abs() <= allowed, "{what}[{i}]: {a} instead of {e}");
    }
}

fn var(tensor: &Tensor, dtype: DType) -> Var {
    Var::from_tensor(&tensor.to_dtype(dtype).unwrap()).unwrap()
}

fn labels(fixture: &Fixture, batch: usize) -> Vec<u32> {
    fixture["labels"].get(batch).unwrap().to_vec1().unwrap()
}

/// The statistics after all batches of the fixture, of which the first is an epoch of its own; then
/// the objective on the last.
fn last_step(fixture: &Fixture, config: &Mr2Config, dtype: DType) -> (Mr2Terms, Var, Var) {
    let (batches, _, dim) = fixture["features"].dims3().unwrap();
    let classes = fixture["logits"].dims()[2];
    let mut stats =
        ClassStats::new(config.stats.clone(), classes, dim, dtype, &Device::Cpu).unwrap();
    for batch in 0..batches {
        if batch == 1 && config.restart_every_epoch {
            stats.restart().unwrap();
        }
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
    let labels = labels(fixture, batches - 1);
    let pairs = Pairs::new(&labels, classes).unwrap();
    let terms = mr2(
        &logits,
        Target::Hard(&labels),
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
    for preset in Preset::ALL {
        let (name, config) = (preset.name(), preset.config());
        for dtype in [DType::F64, DType::F32] {
            let (terms, features, logits) = last_step(&fixture, &config, dtype);
            let grads = terms.total.backward().unwrap();
            let parts = [
                ("gamma", &terms.gamma),
                ("spread_threshold", &terms.spread_threshold),
                ("logit_margin", &terms.logit_margin),
                ("representation", terms.representation.as_ref().unwrap()),
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
        for (classes, name) in [(ClassCount::All, "all"), (ClassCount::Fixed(40), "fixed")] {
            let config = GammaConfig {
                source: GammaSource::SecondMoment,
                budget: 1.5,
                exponent: 1.0 / 3.0,
                classes,
            };
            let gamma = gamma(&snapshot, &config).unwrap();
            let key = format!("sources.second_moment.{name}");
            check(&key, &gamma, &fixture[&key], tolerance(dtype));
        }
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
        let margin = |target: Target| logit_margin(&logits, target, &gamma).unwrap();
        let smoothed = Target::Smoothed {
            labels: &labels,
            epsilon: 0.1,
        };
        let cases = [
            ("hard", margin(Target::Hard(&labels))),
            ("smoothed", margin(smoothed)),
            (
                "soft",
                soft_logit_margin(&logits, &soft, &labels, &gamma).unwrap(),
            ),
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

const FAR_SEED: u64 = 20601;
const FAR_LABELS: [u32; 8] = [0, 1, 0, 1, 2, 0, 1, 0];

/// Class means at about 1000 times the spread from the origin, as `tests/reference/loss.py` has them.
fn far_features(dim: usize, spread: f64) -> Vec<f32> {
    let [means, features] = ["far.means", "far.features"].map(|name| rng::stream(FAR_SEED, name));
    let normal = |stream, row: usize, column| rng::normal(stream, (row * dim + column) as u64);
    let all = (0..FAR_LABELS.len()).flat_map(|row| (0..dim).map(move |column| (row, column)));
    all.map(|(row, column)| {
        let mean = 1000.0 * spread * normal(means, FAR_LABELS[row] as usize, column);
        (mean + spread * normal(features, row, column)) as f32
    })
    .collect()
}

/// Every sample's row as near to its expected one as promised, by the norm of the difference: no row
/// leans on a larger one. Below f32's normal numbers, digits go.
#[track_caller]
fn check_rows(what: &str, actual: &Tensor, expected: &Tensor) {
    let width = expected.elem_count() / FAR_LABELS.len();
    let norm = |row: &[f64]| row.iter().map(|x| x * x).sum::<f64>().sqrt();
    let (actual, expected) = (numbers(actual), numbers(expected));
    let rows = actual.chunks(width).zip(expected.chunks(width));
    for (sample, (a, e)) in rows.enumerate() {
        let difference: Vec<f64> = a.iter().zip(e).map(|(a, e)| a - e).collect();
        let allowed = SINGLE * norm(e) + width as f64 * f64::from(f32::MIN_POSITIVE);
        let error = norm(&difference);
        assert!(
            error <= allowed,
            "{what}, sample {sample}: off by {error:e} of {:e}",
            norm(e)
        );
    }
}

#[test]
fn class_means_a_thousand_times_the_spread_and_wide_features_cost_no_accuracy() {
    let fixture = fixture();
    let pairs = Pairs::new(&FAR_LABELS, 3).unwrap();
    for (dim, spread, scale, name) in [
        (64, 1.0, ExponentScale::One, "one"),
        (64, 1.0, ExponentScale::TenTimesDim, "ten_times_dim"),
        (64, 3.0, ExponentScale::One, "one"),
        (768, 1.0, ExponentScale::One, "one"),
        (768, 1.0, ExponentScale::TenTimesDim, "ten_times_dim"),
        (768, 3.0, ExponentScale::One, "one"),
    ] {
        let features = far_features(dim, spread);
        let features = Tensor::from_vec(features, (FAR_LABELS.len(), dim), &Device::Cpu).unwrap();
        let features = Var::from_tensor(&features).unwrap();
        let threshold = Tensor::new((dim as f64 * spread * spread) as f32, &Device::Cpu).unwrap();
        let loss = representation_margin(&features, &pairs, &threshold, scale).unwrap();
        let key = format!("far.{dim}.{spread}.{name}");
        check_rows(&key, &loss, &fixture[&key]);
        let grads = loss.sum_all().unwrap().backward().unwrap();
        let key = format!("{key}.grad");
        check_rows(&key, grads.get(&features).unwrap(), &fixture[&key]);
    }
}
