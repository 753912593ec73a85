//! What the losses promise: limits, gradients, edges, configs and errors.
#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor, Var};
use mr2_loss::{
    Centre, ClassCount, ClassStats, Estimator, ExponentScale, GammaConfig, GammaSource, Mr2Config,
    Mr2Terms, Pairs, Preset, Reduction, Snapshot, SpreadRule, Target, cross_entropy, exact, gamma,
    labels_from_tensor, logit_margin, mixed_logit_margin, mr2, reduce, representation_margin,
    soft_logit_margin, spread_threshold,
};
use proptest::prelude::*;

const CPU: &Device = &Device::Cpu;

fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor
        .to_dtype(DType::F64)
        .unwrap()
        .flatten_all()
        .unwrap()
        .to_vec1()
        .unwrap()
}

fn values(count: usize, seed: u32, size: f64) -> Vec<f64> {
    let number = |i: u32| (i.wrapping_mul(2_654_435_761) ^ (seed * 7919)) % 2003;
    (0..count as u32)
        .map(|i| (f64::from(number(i + seed)) / 1001.0 - 1.0) * size)
        .collect()
}

/// One batch, its statistics and what a preset makes of both.
struct Case {
    features: Var,
    logits: Var,
    pairs: Pairs,
    stats: ClassStats,
    config: Mr2Config,
}

impl Case {
    fn new(config: Mr2Config, classes: usize, labels: &[u32], dim: usize, size: f64) -> Self {
        let batch = labels.len();
        let tensor = |seed, width, size| {
            let tensor = Tensor::from_vec(values(batch * width, seed, size), (batch, width), CPU);
            Var::from_tensor(&tensor.unwrap()).unwrap()
        };
        let (features, logits) = (tensor(1, dim, size), tensor(2, classes, 3.0));
        let pairs = Pairs::new(labels, classes).unwrap();
        let mut stats =
            ClassStats::new(config.stats.clone(), classes, dim, DType::F64, CPU).unwrap();
        stats.observe(&features, &pairs).unwrap();
        stats
            .observe(&(features.as_tensor() * 1.1).unwrap(), &pairs)
            .unwrap();
        Self {
            features,
            logits,
            pairs,
            stats,
            config,
        }
    }

    fn terms(&self) -> Mr2Terms {
        self.terms_with(&self.stats.snapshot().unwrap())
    }

    fn terms_with(&self, snapshot: &Snapshot) -> Mr2Terms {
        mr2(
            &self.logits,
            Target::Hard(self.pairs.labels()),
            &self.features,
            &self.pairs,
            snapshot,
            &self.config,
        )
        .unwrap()
    }
}

fn uniform(budget: f64, weight: f64) -> Mr2Config {
    let mut config = Preset::Recommended.config();
    config.gamma.source = GammaSource::Uniform;
    config.gamma.budget = budget;
    config.representation.weight = weight;
    config
}

/// Central differences of `loss` against the gradient of `input` in f64, in about `limit` of its
/// elements. The step goes with the largest of them, so it isn't lost in a huge loss, and is so short
/// that large exponents don't change places within it.
fn check_gradient(input: &Var, limit: usize, loss: impl Fn() -> Tensor) {
    let gradient = numbers(loss().backward().unwrap().get(input).unwrap());
    let start = input.as_tensor().copy().unwrap();
    let values = numbers(&start);
    let step = 1e-7 * values.iter().fold(100f64, |a, b| a.max(b.abs()));
    let largest = gradient.iter().fold(1e-3f64, |a, b| a.max(b.abs()));
    for i in (0..values.len()).step_by(values.len().div_ceil(limit)) {
        let at = |step: f64| {
            let mut moved = values.clone();
            moved[i] += step;
            input
                .set(&Tensor::from_vec(moved, start.shape(), CPU).unwrap())
                .unwrap();
            loss().to_scalar::<f64>().unwrap()
        };
        let difference = (at(step) - at(-step)) / (2.0 * step);
        let g = gradient[i];
        assert!(
            (g - difference).abs() < 1e-6 * largest,
            "{i}: {g}, by differences {difference}"
        );
    }
    input.set(&start).unwrap();
}

#[test]
fn gamma_of_one_everywhere_is_plain_cross_entropy_to_the_bit() {
    let labels = [0, 2, 2, 1, 0];
    let case = Case::new(uniform(1.0, 0.0), 3, &labels, 4, 1.0);
    let terms = case.terms();
    assert_eq!(numbers(&terms.gamma), [1.0; 3]);
    let plain = cross_entropy(&case.logits, Target::Hard(&labels), None).unwrap();
    let plain = plain.mean_all().unwrap();
    assert_eq!(numbers(&terms.total), numbers(&plain));
    let (ours, theirs) = (terms.total.backward().unwrap(), plain.backward().unwrap());
    assert_eq!(ours.of(&case.logits), theirs.of(&case.logits));
    assert!(ours.get(&case.features).is_none());
}

trait Gradient {
    fn of(&self, var: &Var) -> Vec<f64>;
}

impl Gradient for candle_core::backprop::GradStore {
    fn of(&self, var: &Var) -> Vec<f64> {
        numbers(self.get(var).unwrap())
    }
}

#[test]
fn a_uniform_gamma_is_cross_entropy_at_that_temperature() {
    let labels = [0, 2, 2, 1, 0];
    let case = Case::new(uniform(2.0, 0.0), 3, &labels, 4, 1.0);
    let halved = (case.logits.as_tensor() * 0.5).unwrap();
    let expected = cross_entropy(&halved, Target::Hard(&labels), None).unwrap();
    let expected = expected.mean_all().unwrap().to_scalar::<f64>().unwrap();
    assert!((case.terms().total.to_scalar::<f64>().unwrap() - expected).abs() < 1e-15);
}

#[test]
fn margins_average_to_the_budget_whatever_the_source() {
    let labels = [0, 0, 0, 5, 5, 1, 1, 3];
    for estimator in Estimator::ALL {
        for centre in Centre::ALL {
            for source in [
                GammaSource::SecondMoment,
                GammaSource::Spread,
                GammaSource::RelativeSpread,
                GammaSource::Uniform,
            ] {
                for (norm, exponent) in [(2.0, 1.0 / 3.0), (5.0, 1.0), (3.0, -0.5)] {
                    let mut config = Preset::Recommended.config();
                    config.stats.estimator = estimator;
                    config.stats.centre = centre;
                    config.stats.norm = norm;
                    config.gamma = GammaConfig {
                        source,
                        budget: 1.7,
                        exponent,
                        classes: ClassCount::Data,
                    };
                    let gamma = numbers(&Case::new(config, 7, &labels, 3, 1.0).terms().gamma);
                    let mean = gamma.iter().sum::<f64>() / 7.0;
                    assert!(
                        (mean - 1.7).abs() < 1e-12,
                        "{source:?} {estimator:?}: {gamma:?}"
                    );
                    assert!(
                        (gamma[2] - 1.7).abs() < 1e-15,
                        "an unseen class has the budget"
                    );
                }
            }
        }
    }
}

#[test]
fn degenerate_statistics_give_finite_positive_margins() {
    let tensor = |values: &[f32]| Tensor::new(values, CPU).unwrap();
    let cases: [[f32; 3]; 5] = [
        [0.0; 3],
        [f32::MAX; 3],
        [f32::MIN_POSITIVE, f32::MAX, 0.0],
        [1e-45, 1e-45, 1e-45],
        [1e30, 0.0, 1e-30],
    ];
    for m in cases {
        for v in cases {
            let sum: Vec<f32> = m
                .iter()
                .zip(v)
                .map(|(m, v)| (m + v).min(f32::MAX))
                .collect();
            let snapshot = Snapshot {
                m: tensor(&m),
                v: tensor(&v),
                second_moment: tensor(&sum),
                pair_spread: tensor(&v),
                seen: tensor(&sum).gt(0.0).unwrap(),
                has_spread: tensor(&v).gt(0.0).unwrap(),
            };
            for source in [
                GammaSource::SecondMoment,
                GammaSource::Spread,
                GammaSource::RelativeSpread,
            ] {
                for exponent in [1.0 / 3.0, 1.0, -2.0] {
                    for classes in [ClassCount::Data, ClassCount::All, ClassCount::Fixed(1000)] {
                        let config = GammaConfig {
                            source,
                            budget: 2.0,
                            exponent,
                            classes,
                        };
                        let gamma = numbers(&gamma(&snapshot, &config).unwrap());
                        assert!(gamma.iter().all(|g| g.is_finite() && *g > 0.0), "{gamma:?}");
                        assert!(
                            gamma.iter().all(|g| (1.0 / *g as f32).is_finite()),
                            "{gamma:?}"
                        );
                    }
                }
            }
            for rule in [
                SpreadRule::Zero,
                SpreadRule::MeanSpread,
                SpreadRule::MeanSpreadOver(1000),
            ] {
                let s = numbers(&spread_threshold(&snapshot, rule).unwrap());
                assert!(s[0].is_finite() && s[0] >= 0.0, "{s:?}");
            }
        }
    }
}

#[test]
fn gradients_are_those_of_finite_differences_for_every_preset() {
    for preset in Preset::ALL {
        let case = Case::new(preset.config(), 4, &[0, 2, 2, 1, 0, 2], 3, 1.0);
        check_gradient(&case.logits, usize::MAX, || case.terms().total);
        check_gradient(&case.features, usize::MAX, || case.terms().total);
    }
}

#[test]
fn margins_and_threshold_are_constants_in_the_backward_pass() {
    let labels = [0, 1, 1];
    let statistic = Var::new(&[1f64, 2.0], CPU).unwrap();
    let tracked = || statistic.as_tensor().affine(1.0, 0.0).unwrap();
    let snapshot = Snapshot {
        m: tracked(),
        v: tracked(),
        second_moment: tracked(),
        pair_spread: tracked(),
        seen: statistic.gt(0.0).unwrap(),
        has_spread: statistic.gt(0.0).unwrap(),
    };
    let case = Case::new(Preset::PaperLinear.config(), 2, &labels, 3, 1.0);
    let terms = case.terms_with(&snapshot);
    assert!(terms.total.backward().unwrap().get(&statistic).is_none());
    let gamma = Var::new(&[1f64, 2.0], CPU).unwrap();
    let loss = logit_margin(&case.logits, Target::Hard(&labels), &gamma).unwrap();
    assert!(
        loss.sum_all()
            .unwrap()
            .backward()
            .unwrap()
            .get(&gamma)
            .is_none()
    );
    let s = Var::new(1f64, CPU).unwrap();
    let loss = representation_margin(&case.features, &case.pairs, &s, ExponentScale::One).unwrap();
    assert!(
        loss.sum_all()
            .unwrap()
            .backward()
            .unwrap()
            .get(&s)
            .is_none()
    );
}

#[test]
fn the_loss_called_twice_is_the_same_and_leaves_the_statistics_bytes() {
    for preset in Preset::ALL {
        let case = Case::new(preset.config(), 4, &[0, 2, 2, 1, 0, 2], 3, 1.0);
        let bytes = || -> Vec<Vec<u64>> {
            let tensors = case.stats.tensors().unwrap();
            let bits = |tensor: &Tensor| numbers(tensor).into_iter().map(f64::to_bits).collect();
            tensors.iter().map(|(_, tensor)| bits(tensor)).collect()
        };
        let before = bytes();
        let run = || {
            let terms = case.terms();
            let grads = terms.total.backward().unwrap();
            (
                numbers(&terms.total),
                grads.of(&case.features),
                grads.of(&case.logits),
            )
        };
        assert_eq!(run(), run());
        assert_eq!(bytes(), before);
    }
}

#[test]
fn a_sample_without_a_positive_has_no_representation_loss() {
    let features = Var::from_tensor(&Tensor::from_vec(values(6, 1, 1.0), (3, 2), CPU).unwrap());
    let features = features.unwrap();
    let s = Tensor::new(0.5f64, CPU).unwrap();
    let none = Pairs::new(&[0, 1, 2], 3).unwrap();
    let loss = representation_margin(&features, &none, &s, ExponentScale::One).unwrap();
    assert_eq!(numbers(&loss), [0.0; 3]);
    let some = Pairs::new(&[0, 1, 1], 3).unwrap();
    let loss = representation_margin(&features, &some, &s, ExponentScale::One).unwrap();
    assert_eq!(numbers(&loss)[0], 0.0);
    let gradient = loss.sum_all().unwrap().backward().unwrap().of(&features);
    assert_eq!(gradient[..2], [0.0; 2]);
    assert!(gradient[2] != 0.0);
}

#[test]
fn the_representation_loss_is_stable_for_any_distance() {
    let s = Tensor::new(0f32, CPU).unwrap();
    let pairs = Pairs::new(&[0, 0], 1).unwrap();
    for (distance, scale) in [
        (0f32, 1.0),
        (1e-20, 1.0),
        (1e3, 1.0),
        (1e15, 1.0),
        (1e15, 1e-6),
    ] {
        let features = Var::new(&[[distance], [0f32]], CPU).unwrap();
        let scale = ExponentScale::Constant(scale);
        let loss = representation_margin(&features, &pairs, &s, scale).unwrap();
        let grads = loss.sum_all().unwrap().backward().unwrap();
        assert!(
            numbers(&loss)
                .iter()
                .all(|x| x.is_finite() && *x >= 2f64.ln() * 0.999_999)
        );
        assert!(grads.of(&features).iter().all(|x| x.is_finite()));
    }
    // A threshold far above the distance: the exponential vanishes, and with it the loss.
    let far = Tensor::new(1e15f32, CPU).unwrap();
    let features = Tensor::new(&[[1f32], [0f32]], CPU).unwrap();
    let loss = representation_margin(&features, &pairs, &far, ExponentScale::One).unwrap();
    assert_eq!(numbers(&loss), [0.0; 2]);
}

#[test]
fn a_weight_of_zero_leaves_the_representation_margin_out() {
    // It would be infinite, and 0 · ∞ is NaN.
    let mut config = Preset::PaperLinear.config();
    config.representation.weight = 0.0;
    config.representation.spread = SpreadRule::Zero;
    let case = Case::new(config, 2, &[0, 0, 1], 3, 1e160);
    let terms = case.terms();
    assert!(terms.representation.is_none());
    assert_eq!(numbers(&terms.total), numbers(&terms.logit_margin));
    let grads = terms.total.backward().unwrap();
    assert!(grads.get(&case.features).is_none());
}

#[test]
fn smoothed_and_soft_targets_are_on_the_logits_at_the_margin_of_the_hard_label() {
    let labels = [0, 2, 2, 1, 0];
    let case = Case::new(Preset::Recommended.config(), 3, &labels, 4, 1.0);
    let snapshot = case.stats.snapshot().unwrap();
    let terms = |target: Target| {
        let (pairs, config) = (&case.pairs, &case.config);
        mr2(
            &case.logits,
            target,
            &case.features,
            pairs,
            &snapshot,
            config,
        )
        .unwrap()
    };
    let hard = terms(Target::Hard(&labels));
    let gamma = numbers(&hard.gamma);
    let weight = |sample: usize, class: usize| match class == labels[sample] as usize {
        true => 0.9 + 0.1 / 3.0,
        false => 0.1 / 3.0,
    };
    let mut expected = 0.0;
    for (sample, z) in case.logits.to_vec2::<f64>().unwrap().iter().enumerate() {
        let scaled = z.iter().map(|z| z / gamma[labels[sample] as usize]);
        let scaled: Vec<f64> = scaled.collect();
        let log_sum = scaled.iter().map(|z| z.exp()).sum::<f64>().ln();
        let own = scaled.iter().enumerate();
        expected += own
            .map(|(k, z)| weight(sample, k) * (log_sum - z))
            .sum::<f64>()
            / 5.0;
    }
    let weights: Vec<f64> = (0..15).map(|i| weight(i / 3, i % 3)).collect();
    let weights = Tensor::from_vec(weights, (5, 3), CPU).unwrap();
    let epsilon = 0.1;
    let smoothed = Target::Smoothed {
        labels: &labels,
        epsilon,
    };
    for target in [smoothed, Target::Soft(&weights)] {
        let terms = terms(target);
        let margin = terms.logit_margin.to_scalar::<f64>().unwrap();
        assert!(
            (margin - expected).abs() < 1e-14,
            "{margin}, not {expected}"
        );
        let [ours, of_hard] = [&terms, &hard].map(|terms| terms.representation.as_ref().unwrap());
        assert_eq!(numbers(ours), numbers(of_hard));
    }
}

#[test]
fn multi_label_targets_are_refused_by_the_sample() {
    let logits = Tensor::zeros((2, 3), DType::F32, CPU).unwrap();
    let gamma = Tensor::ones(3, DType::F32, CPU).unwrap();
    let refused = |weights: [[f32; 3]; 2], expected: &str| {
        let weights = Tensor::new(&weights, CPU).unwrap();
        let error = soft_logit_margin(&logits, &weights, &[0, 1], &gamma).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    refused(
        [[0.5, 0.5, 0.0], [0.0, 1.0, 1.0]],
        "those of sample 1 sum to 2: multi-label targets are not supported",
    );
    refused([[0.0; 3], [1.0, 0.0, 0.0]], "those of sample 0 sum to 0");
    refused([[f32::NAN, 0.0, 1.0], [1.0, 0.0, 0.0]], "sum to NaN");
    refused(
        [[1.0, 0.0, 0.0], [1.5, -0.5, 0.0]],
        "must not be negative: sample 1 has -0.5",
    );
    let multi_hot = Tensor::new(&[[1f32, 1.0, 0.0], [0.0, 1.0, 0.0]], CPU).unwrap();
    let error = logit_margin(&logits, Target::Soft(&multi_hot), &gamma).unwrap_err();
    assert!(
        error.to_string().contains("pass it to soft_logit_margin"),
        "{error}"
    );
}

#[test]
fn a_margin_that_is_not_positive_and_finite_is_refused_by_its_class() {
    let logits = Tensor::zeros((1, 3), DType::F32, CPU).unwrap();
    for (bad, name) in [
        (0f32, "0"),
        (-2.0, "-2"),
        (f32::NAN, "NaN"),
        (f32::INFINITY, "inf"),
    ] {
        let gamma = Tensor::new(&[1.0, 1.0, bad], CPU).unwrap();
        let error = logit_margin(&logits, Target::Hard(&[2]), &gamma).unwrap_err();
        let expected = format!("gamma must be positive and finite: class 2 has {name}");
        assert!(error.to_string().contains(&expected), "{error}");
    }
}

#[test]
fn reductions_follow_their_formulas() {
    // Class 0 twice, 1 once, 2 three times.
    let pairs = Pairs::new(&[2, 0, 1, 0, 2, 2], 4).unwrap();
    let losses = Tensor::new(&[1f64, 2., 100., 4., 3., 5.], CPU).unwrap();
    let of = |reduction| {
        reduce(&losses, &pairs, 20, reduction)
            .unwrap()
            .to_scalar::<f64>()
            .unwrap()
    };
    let class_means = 3.0 + 3.0;
    for (reduction, expected) in [
        (Reduction::SampleMean, 115.0 / 6.0),
        (
            Reduction::ClassMean(ClassCount::Data),
            2.0 / 4.0 * class_means,
        ),
        (
            Reduction::ClassMean(ClassCount::Fixed(1000)),
            2.0 / 1000.0 * class_means,
        ),
    ] {
        let got = of(reduction);
        assert!(
            (got - expected).abs() < 1e-14 * expected,
            "{reduction:?}: {got}"
        );
    }
}

#[test]
fn mixing_a_label_with_itself_changes_nothing() {
    let logits = Tensor::from_vec(values(8, 3, 2.0), (2, 4), CPU).unwrap();
    let gamma = Tensor::new(&[0.5f64, 1.0, 2.0, 4.0], CPU).unwrap();
    let labels = [1, 3];
    let plain = logit_margin(&logits, Target::Hard(&labels), &gamma).unwrap();
    let mixed = mixed_logit_margin(&logits, &labels, &labels, &[0.5, 1.0], &gamma).unwrap();
    assert_eq!(numbers(&plain), numbers(&mixed));
}

#[test]
fn labels_come_from_indices_and_one_hot_rows_and_never_from_several_ones() {
    let read = |tensor: candle_core::Result<Tensor>| {
        labels_from_tensor(&tensor.unwrap()).map_err(|error| error.to_string())
    };
    assert_eq!(read(Tensor::new(&[3u32, 0], CPU)), Ok(vec![3, 0]));
    assert_eq!(read(Tensor::new(&[3i64, 0], CPU)), Ok(vec![3, 0]));
    assert_eq!(
        read(Tensor::new(&[[0f32, 1., 0.], [1., 0., 0.]], CPU)),
        Ok(vec![1, 0])
    );
    let refused = |tensor, expected: &str| {
        let error = read(tensor).unwrap_err();
        assert!(error.contains(expected), "{error}");
    };
    let multi = Tensor::new(&[[0f32, 1., 0.], [1., 1., 1.]], CPU);
    refused(
        multi,
        "multi-label targets are not supported: sample 1 has 3 classes",
    );
    refused(Tensor::new(&[[0f32, 0.]], CPU), "sample 0 has no class");
    refused(
        Tensor::new(&[[0.5f32, 0.5]], CPU),
        "sample 0 has 0.5; pass soft targets as",
    );
    refused(Tensor::new(&[1f32], CPU), "integer dtype");
    refused(Tensor::new(&[1i64, -1], CPU), "sample 1 has -1");
    refused(
        Tensor::new(&[[[1u32]]], CPU),
        "one-hot (batch, classes), got [1, 1, 1]",
    );
}

#[test]
fn presets_are_named_and_hold_their_published_numbers() {
    for preset in Preset::ALL {
        assert_eq!(Preset::parse(preset.name()).unwrap(), preset);
        preset.config().check().unwrap();
    }
    let error = Preset::parse("paper").unwrap_err().to_string();
    assert!(
        error.contains("paper_linear, paper_cosine, official_cifar"),
        "{error}"
    );
    let numbers = |preset: Preset| {
        let Mr2Config {
            stats,
            restart_every_epoch,
            gamma,
            representation,
        } = preset.config();
        (
            stats.norm,
            stats.decay,
            restart_every_epoch,
            gamma.budget,
            representation.weight,
        )
    };
    assert_eq!(numbers(Preset::PaperLinear), (2.0, 0.9, false, 2.0, 0.3));
    assert_eq!(numbers(Preset::PaperCosine), (3.0, 0.9, false, 2.0, 0.3));
    assert_eq!(numbers(Preset::OfficialCifar), (5.0, 0.9, true, 1.0, 0.1));
    assert_eq!(
        numbers(Preset::OfficialImagenet),
        (5.0, 0.999, false, 1.0, 0.1)
    );
}

#[test]
fn every_preset_survives_toml_and_every_key_is_asked_for() {
    for preset in Preset::ALL {
        let text = toml::to_string(&preset.config()).unwrap();
        assert_eq!(toml::from_str::<Mr2Config>(&text).unwrap(), preset.config());
        for (place, line) in text
            .lines()
            .enumerate()
            .filter(|(_, line)| line.contains(" = "))
        {
            let rest = |replacement: &str| {
                let lines = text.lines().enumerate();
                let lines = lines.map(|(i, line)| if i == place { replacement } else { line });
                lines.collect::<Vec<_>>().join("\n")
            };
            assert!(
                toml::from_str::<Mr2Config>(&rest("")).is_err(),
                "without {line}"
            );
            let misspelt = rest(&format!("x{line}"));
            assert!(
                toml::from_str::<Mr2Config>(&misspelt).is_err(),
                "with x{line}"
            );
        }
    }
}

#[test]
fn wrong_arguments_are_named() {
    let case = Case::new(Preset::Recommended.config(), 3, &[0, 1, 1], 2, 1.0);
    let snapshot = case.stats.snapshot().unwrap();
    let run_on = |config: &Mr2Config, pairs: &Pairs, labels: &[u32]| {
        let target = Target::Hard(labels);
        mr2(
            &case.logits,
            target,
            &case.features,
            pairs,
            &snapshot,
            config,
        )
        .map(|_| ())
        .unwrap_err()
        .to_string()
    };
    let run = |config: &Mr2Config, pairs: &Pairs| run_on(config, pairs, pairs.labels());
    let error = run_on(&case.config, &case.pairs, &[0, 1, 0]);
    assert!(
        error.contains("labels must be those of the pairs"),
        "{error}"
    );
    let masked = Pairs::masked(&[0, 1, 1], 3, &[true, false, true]).unwrap();
    let error = run(&case.config, &masked);
    assert!(error.contains("pairs mask sample 1"), "{error}");
    assert!(
        error.contains("mixed_logit_margin and representation_margin"),
        "{error}"
    );
    let error = spread_threshold(&snapshot, SpreadRule::MeanSpreadOver(0)).unwrap_err();
    assert!(
        error.to_string().contains("at least 1 class, got 0"),
        "{error}"
    );
    let other_classes = Pairs::new(&[0, 1, 1], 5).unwrap();
    let error = run(&case.config, &other_classes);
    assert!(
        error.contains("snapshot must be of 5 classes, got [3]"),
        "{error}"
    );
    let longer = Pairs::new(&[0, 1, 1, 1], 3).unwrap();
    let error = run(&case.config, &longer);
    assert!(
        error.contains("labels must have one entry per row of logits: 3, got 4"),
        "{error}"
    );
    let mut config = case.config.clone();
    config.gamma.budget = 0.0;
    let error = run(&config, &case.pairs);
    assert!(
        error.contains("budget must be positive and finite, got 0"),
        "{error}"
    );
    let mut config = case.config.clone();
    config.representation.scale = ExponentScale::Constant(-1.0);
    let error = run(&config, &case.pairs);
    assert!(
        error.contains("scale must be positive and finite, got -1"),
        "{error}"
    );
    let gamma = Tensor::ones(3, DType::F64, CPU).unwrap();
    let error = logit_margin(&case.logits, Target::Hard(&[0, 9, 1]), &gamma);
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("sample 1 has label 9, expected below 3"),
        "{error}"
    );
    let error = mixed_logit_margin(&case.logits, &[0; 3], &[1; 3], &[0.5, 2.0, 0.5], &gamma);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("in [0, 1], got 2 for sample 1"), "{error}");
}

#[test]
fn exact_statistics_serve_as_a_snapshot() {
    let case = Case::new(Preset::Recommended.config(), 3, &[0, 1, 1], 2, 1.0);
    let snapshot = exact(&case.features, &[0, 1, 1], 3, 2.0, Centre::None).unwrap();
    let terms = case.terms_with(&snapshot);
    assert!(terms.total.to_scalar::<f64>().unwrap().is_finite());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn losses_of_any_shape_and_size_are_finite_and_not_negative(
        seed in 0u32..1000,
        batch in 1usize..24,
        classes in prop_oneof![Just(1usize), 2usize..12, Just(1000)],
        dim in prop_oneof![Just(1usize), 2usize..12],
        size in prop_oneof![Just(0f64), Just(1e-12), Just(1.0), Just(1e15)],
        single in any::<bool>(),
    ) {
        let labels: Vec<u32> =
            (0..batch as u32).map(|i| i.wrapping_mul(seed) % classes as u32).collect();
        let dtype = if single { DType::F32 } else { DType::F64 };
        for preset in Preset::ALL {
            let config = preset.config();
            let case = Case::new(config.clone(), classes, &labels, dim, size);
            let cast = |var: &Var| Var::from_tensor(&var.to_dtype(dtype).unwrap()).unwrap();
            let (features, logits) = (cast(&case.features), cast(&case.logits));
            let mut stats = ClassStats::new(config.stats.clone(), classes, dim, dtype, CPU).unwrap();
            stats.observe(&features, &case.pairs).unwrap();
            let snapshot = stats.snapshot().unwrap();
            let target = Target::Hard(&labels);
            let terms = mr2(&logits, target, &features, &case.pairs, &snapshot, &config).unwrap();
            let grads = terms.total.backward().unwrap();
            let representation = terms.representation.as_ref().unwrap();
            for part in [&terms.total, &terms.logit_margin, representation, &terms.gamma] {
                prop_assert!(numbers(part).iter().all(|x| x.is_finite() && *x >= 0.0));
            }
            prop_assert!(grads.of(&logits).iter().all(|x| x.is_finite()));
            if let Some(gradient) = grads.get(&features) {
                prop_assert!(numbers(gradient).iter().all(|x| x.is_finite()));
            }
        }
    }

    #[test]
    fn gradients_of_any_shape_and_size_are_those_of_finite_differences(
        seed in 1u32..1000,
        batch in 1usize..8,
        classes in prop_oneof![Just(1usize), 2usize..6, Just(1000)],
        dim in 1usize..5,
        size in prop_oneof![Just(1.0), Just(1e3), Just(1e6), Just(1e12)],
    ) {
        // Three labels at most, so that there are pairs with 1000 classes too.
        let labels: Vec<u32> =
            (0..batch as u32).map(|i| i.wrapping_mul(seed) % classes.min(3) as u32).collect();
        for preset in Preset::ALL {
            let case = Case::new(preset.config(), classes, &labels, dim, size);
            // Beside a huge representation term, the other's change would be lost.
            check_gradient(&case.logits, 30, || case.terms().logit_margin);
            if !case.pairs.first().is_empty() {
                check_gradient(&case.features, 30, || case.terms().representation.unwrap());
            }
        }
    }
}
