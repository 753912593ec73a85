//! Probes against scikit-learn and PyTorch (`tests/reference/probe.py`), and what they refuse.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use mr2_loss::{
    Centre, ClassCount, ExponentScale, GammaConfig, GammaSource, Pairs, Preset,
    representation_margin,
};
use mr2_nn::rng;
use mr2_train::probe::{
    EpochLength, FitConfig, FitEnd, Grid, HeadKind, InitConfig, KnnConfig, MarginConfig,
    MethodConfig, Normalise, Outcome, ProbeConfig, Probed, Protocol, Setting, StepRule,
    StepsConfig, Test, Training, Validation, Views, knn, probe, probe_best_features,
};
use mr2_train::{ScheduleConfig, Update};

const SEED: u64 = 61;
const WIDTH: usize = 12;

fn fixture() -> HashMap<String, Tensor> {
    let path = format!(
        "{}/tests/fixtures/probe.safetensors",
        env!("CARGO_MANIFEST_DIR")
    );
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

fn numbers(fixture: &HashMap<String, Tensor>, key: &str) -> Vec<f64> {
    let tensor = fixture.get(key).unwrap_or_else(|| panic!("{key}"));
    let flat = tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap();
    flat.to_vec1().unwrap()
}

/// The images of `probe.py`.
struct Images {
    features: Vec<f32>,
    labels: Vec<u32>,
    classes: usize,
}

impl Images {
    fn new(part: &str, classes: usize, scaled: bool) -> Self {
        let count = match part {
            "training" => 300,
            "validation" => 120,
            _ => 200,
        };
        let (means, noise) = (
            rng::stream(SEED, "means"),
            rng::stream(SEED, &format!("images.{part}")),
        );
        let labels: Vec<u32> = (0..count).map(|image| (image % classes) as u32).collect();
        let feature = |index: usize| {
            let (image, column) = (index / WIDTH, index % WIDTH);
            let label = labels[image] as usize;
            let mean = rng::normal(means, (label * WIDTH + column) as u64);
            let wide = 1.0 + 0.1 * label as f64;
            let value = 0.7 * mean + wide * rng::normal(noise, index as u64);
            match scaled {
                true => (value + 0.25 * column as f64) * 10f64.powi((column % 5) as i32 - 2),
                false => value,
            }
        };
        let features = (0..count * WIDTH)
            .map(|index| feature(index) as f32)
            .collect();
        Self {
            features,
            labels,
            classes,
        }
    }

    fn training(&self) -> Training<'_> {
        Training::new(&self.features, WIDTH, &self.labels, self.classes).unwrap()
    }

    fn validation(&self) -> Validation<'_> {
        Validation::new(&self.features, WIDTH, &self.labels, self.classes).unwrap()
    }

    fn test(&self) -> Test<'_> {
        Test::new(&self.features, WIDTH, &self.labels, self.classes).unwrap()
    }
}

fn method(name: &str, margins: Vec<MarginConfig>) -> MethodConfig {
    MethodConfig {
        name: name.to_string(),
        margins,
    }
}

fn erm() -> Vec<MethodConfig> {
    vec![method("erm", vec![MarginConfig::Erm {}])]
}

fn mr2(norm: f64, budget: f64) -> MarginConfig {
    MarginConfig::Mr2 {
        norm,
        centre: Centre::None,
        gamma: GammaConfig {
            source: GammaSource::SecondMoment,
            budget,
            exponent: 1.0 / 3.0,
            classes: ClassCount::Data,
        },
        representation_weight: 0.0,
    }
}

fn lbfgs(c: f64, tolerance: f64, methods: Vec<MethodConfig>) -> ProbeConfig {
    let mut config = Protocol::Clip.config(methods);
    config.fit = FitConfig::Lbfgs {
        c: Grid::Values { values: vec![c] },
        tolerance,
        max_iterations: 1000,
    };
    config
}

fn steps(
    protocol: Protocol,
    methods: Vec<MethodConfig>,
    change: impl FnOnce(&mut StepsConfig),
) -> ProbeConfig {
    let mut config = protocol.config(methods);
    let FitConfig::Steps(steps) = &mut config.fit else {
        panic!("{protocol:?} has no steps")
    };
    change(steps);
    config
}

fn only(outcome: Outcome) -> Probed {
    assert_eq!(outcome.chosen.len(), 1);
    outcome.chosen.into_iter().next().unwrap()
}

/// Each number within `tolerance` of the largest.
#[track_caller]
fn check(what: &str, found: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0f64, |a, b| a.max(b.abs()));
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let difference = (f64::from(*found) - expected).abs();
        assert!(
            difference <= tolerance * largest,
            "{what}[{i}]: {found} instead of {expected}"
        );
    }
}

/// scikit-learn's objective divided by `C n`, in f64.
fn objective(head: &Probed, images: &Images, c: f64) -> f64 {
    let classes = images.classes;
    let mut loss = 0.0;
    for (row, &label) in images.features.chunks(WIDTH).zip(&images.labels) {
        let logit = |class: usize| {
            let weight = &head.weight[class * WIDTH..][..WIDTH];
            let sum: f64 = row
                .iter()
                .zip(weight)
                .map(|(&x, &w)| f64::from(x) * f64::from(w))
                .sum();
            sum + f64::from(head.bias[class])
        };
        let logits: Vec<f64> = (0..classes).map(logit).collect();
        let peak = logits.iter().copied().fold(f64::MIN, f64::max);
        let sum: f64 = logits.iter().map(|z| (z - peak).exp()).sum();
        loss += sum.ln() + peak - logits[label as usize];
    }
    let square: f64 = head
        .weight
        .iter()
        .map(|&w| f64::from(w) * f64::from(w))
        .sum();
    (loss + 0.5 * square / c) / images.labels.len() as f64
}

#[test]
fn logistic_regression_is_scikit_learns() {
    let fixture = fixture();
    for (case, classes, scaled, cs) in [
        ("ten", 10, false, &[0.01, 1.0, 100.0][..]),
        ("two", 2, false, &[0.01, 1.0, 100.0]),
        ("scaled", 10, true, &[0.001, 1.0]),
    ] {
        let training = Images::new("training", classes, scaled);
        let test = Images::new("test", classes, scaled);
        for &c in cs {
            let key = format!("lbfgs.{case}.{c}");
            let [least, theirs] = numbers(&fixture, &format!("{key}.objective"))[..] else {
                panic!()
            };
            let expected = numbers(&fixture, &format!("{key}.predictions"));
            for tolerance in [1e-4, 5e-7] {
                let config = lbfgs(c, tolerance, erm());
                let head = only(probe(&config, &training.training(), None, &[0]).unwrap());
                let found = objective(&head, &training, c);
                // As near to the minimum as scikit-learn's own stop, or nearer.
                let allowed = (1e-4 * least).max(1.5 * (theirs - least));
                assert!(
                    found - least < allowed && found > least - 1e-6,
                    "{key} {tolerance}: {found}, not {least} ({theirs}), {:?}",
                    head.head.end
                );
                if tolerance == 1e-4 && case != "scaled" {
                    assert_eq!(head.head.end, FitEnd::Finished, "{key}");
                }
                // As far as f32 allows: the weights themselves.
                if tolerance == 1e-4 || case == "scaled" {
                    continue;
                }
                let predictions = head.predictions(&test.features).unwrap();
                let same = predictions
                    .iter()
                    .zip(&expected)
                    .filter(|(a, b)| f64::from(**a) == **b);
                assert_eq!(same.count(), expected.len(), "{key}");
                let first = if classes == 2 { 1 } else { 0 };
                let weight = numbers(&fixture, &format!("{key}.weight"));
                check(&key, &head.weight[first * WIDTH..], &weight, 1e-4);
                let bias = numbers(&fixture, &format!("{key}.bias"));
                check(&key, &head.bias[first..], &bias, 2e-4);
            }
        }
    }
}

#[test]
fn margins_of_exact_statistics_enter_the_regression() {
    let fixture = fixture();
    let training = Images::new("training", 10, false);
    let config = lbfgs(1.0, 5e-7, vec![method("mr2", vec![mr2(2.0, 2.0)])]);
    let head = only(probe(&config, &training.training(), None, &[0]).unwrap());
    let margins: Vec<f32> = head.margins.iter().map(|&margin| margin as f32).collect();
    check(
        "margins",
        &margins,
        &numbers(&fixture, "lbfgs.margins.gamma"),
        1e-6,
    );
    check(
        "weight",
        &head.weight,
        &numbers(&fixture, "lbfgs.margins.weight"),
        1e-4,
    );
    check(
        "bias",
        &head.bias,
        &numbers(&fixture, "lbfgs.margins.bias"),
        2e-4,
    );
}

#[test]
fn the_search_for_c_and_the_fit_to_both_parts_are_scikit_learns() {
    let fixture = fixture();
    let (training, validation) = (
        Images::new("training", 10, false),
        Images::new("validation", 10, false),
    );
    let mut config = Protocol::Clip.config(erm());
    let outcome = probe(
        &config,
        &training.training(),
        Some(&validation.validation()),
        &[0],
    )
    .unwrap();
    let values: Vec<f64> = (0..97)
        .map(|i| 10f64.powf(-6.0 + f64::from(i) / 8.0))
        .collect();
    let expected = numbers(&fixture, "search.tried");
    assert_eq!(outcome.heads.len(), expected.len());
    let accuracies = numbers(&fixture, "search.accuracies");
    for ((head, place), accuracy) in outcome.heads.iter().zip(expected).zip(accuracies) {
        let Setting::Lbfgs { c, .. } = &head.setting else {
            panic!()
        };
        assert!((c / values[place as usize] - 1.0).abs() < 1e-12);
        // With the tiniest C the tolerated error of the bias is as large as the logits: one image of 120.
        let found = head.validation_accuracy.unwrap();
        assert!(
            (found - accuracy).abs() < 1.5 / 120.0,
            "{c}: {found}, not {accuracy}"
        );
    }
    let c = numbers(&fixture, "search.c")[0];
    let chosen = only(outcome);
    let Setting::Lbfgs { c: found, .. } = chosen.head.setting else {
        panic!()
    };
    assert!((found / c - 1.0).abs() < 1e-12);
    // The same choice, fitted again to both parts more closely.
    let FitConfig::Lbfgs {
        c: grid, tolerance, ..
    } = &mut config.fit
    else {
        panic!()
    };
    (*grid, *tolerance) = (Grid::Values { values: vec![c] }, 5e-7);
    let refit = only(
        probe(
            &config,
            &training.training(),
            Some(&validation.validation()),
            &[0],
        )
        .unwrap(),
    );
    assert!(refit.refit.is_some());
    check(
        "weight",
        &refit.weight,
        &numbers(&fixture, "search.weight"),
        1e-4,
    );
    check("bias", &refit.bias, &numbers(&fixture, "search.bias"), 2e-4);
    check(
        "usual",
        &chosen.weight,
        &numbers(&fixture, "search.weight"),
        2e-2,
    );
}

fn cosine_from(warmup_epochs: f64) -> ScheduleConfig {
    ScheduleConfig::WarmupCosine {
        warmup_epochs,
        start_factor: 0.0,
        final_factor: 0.0,
        update: Update::EveryStep,
    }
}

#[test]
fn every_optimiser_goes_pytorchs_way_on_the_same_batches() {
    let fixture = fixture();
    let training = Images::new("training", 10, false);
    let cases = [
        (
            "mae",
            steps(Protocol::Mae, erm(), |it| {
                (it.images_per_batch, it.epochs, it.schedule) = (64, 6, cosine_from(2.0));
            }),
        ),
        (
            "lars_decay",
            steps(Protocol::Mae, erm(), |it| {
                it.input_norm = mr2_train::probe::InputNorm::Off {};
                (it.images_per_batch, it.epochs, it.schedule) = (64, 6, cosine_from(0.0));
                (it.lrs, it.weight_decay) = (vec![3.0], Grid::Values { values: vec![0.1] });
            }),
        ),
        (
            "moco_v2",
            steps(Protocol::MocoV2, erm(), |it| {
                (it.images_per_batch, it.epochs, it.lrs) = (64, 3, vec![0.5]);
                let ScheduleConfig::Step { milestones, .. } = &mut it.schedule else {
                    panic!()
                };
                *milestones = vec![2.0];
            }),
        ),
        (
            "clip_benchmark",
            steps(Protocol::ClipBenchmark, erm(), |it| {
                (it.epochs, it.weight_decay) = (4, Grid::Values { values: vec![0.3] });
            }),
        ),
        (
            "dinov2_linear",
            steps(Protocol::Dinov2Linear, erm(), |it| {
                (it.images_per_batch, it.epochs, it.lrs) = (32, 3, vec![0.05]);
                it.epoch_length = EpochLength::Steps { steps: 7 };
            }),
        ),
        (
            "margins",
            steps(
                Protocol::MocoV2,
                vec![method("mr2", vec![mr2(2.0, 2.0)])],
                |it| {
                    (it.images_per_batch, it.epochs, it.schedule) = (64, 3, cosine_from(0.0));
                    (it.lrs, it.weight_decay) = (vec![0.1], Grid::Values { values: vec![0.01] });
                },
            ),
        ),
        ("cosine", {
            let mut config = steps(
                Protocol::MocoV2,
                vec![method("mr2", vec![mr2(3.0, 2.0)])],
                |it| {
                    (it.images_per_batch, it.epochs, it.schedule) = (64, 3, cosine_from(0.0));
                    (it.head, it.init) = (
                        HeadKind::Cosine { scale: 16.0 },
                        InitConfig::PytorchDefault {},
                    );
                    it.lrs = vec![0.02];
                },
            );
            config.normalise = Normalise::L2;
            config
        }),
    ];
    for (case, config) in cases {
        // AdamW divides by the gradient's own size, so rounding of small gradients shows.
        let tolerance = if case == "clip_benchmark" { 3e-4 } else { 3e-5 };
        let head = only(probe(&config, &training.training(), None, &[5]).unwrap());
        check(
            case,
            &head.weight,
            &numbers(&fixture, &format!("steps.{case}.weight")),
            tolerance,
        );
        if case != "cosine" {
            check(
                case,
                &head.bias,
                &numbers(&fixture, &format!("steps.{case}.bias")),
                tolerance,
            );
        }
    }
}

#[test]
fn neighbours_vote_as_in_pytorch() {
    let fixture = fixture();
    let (training, test) = (
        Images::new("training", 10, false),
        Images::new("test", 10, false),
    );
    let expected = numbers(&fixture, "knn");
    for config in [KnnConfig::dino(), KnnConfig::dinov2()] {
        let found = knn(&config, &training.training(), &test.test()).unwrap();
        let found: Vec<f64> = found.concat().into_iter().map(f64::from).collect();
        assert_eq!(found, expected);
    }
    let mut many = KnnConfig::dino();
    many.neighbours.push(301);
    let error = knn(&many, &training.training(), &test.test())
        .unwrap_err()
        .to_string();
    assert!(error.contains("301 is more than the 300"), "{error}");
}

/// A sweep over seeds, margins, rates and decays, small enough for a test.
fn sweep(lrs: Vec<f64>) -> ProbeConfig {
    let methods = vec![
        method("erm", vec![MarginConfig::Erm {}]),
        method(
            "uniform",
            vec![
                MarginConfig::Uniform { budget: 0.5 },
                MarginConfig::Uniform { budget: 2.0 },
            ],
        ),
        method("mr2", vec![mr2(2.0, 1.0), mr2(2.0, 2.0)]),
    ];
    steps(Protocol::MocoV2, methods, |it| {
        (it.images_per_batch, it.epochs, it.lrs) = (64, 2, lrs);
        it.schedule = cosine_from(0.0);
        it.weight_decay = Grid::Values {
            values: vec![0.0, 0.01],
        };
    })
}

#[test]
fn heads_trained_together_are_those_trained_alone_to_the_bit() {
    let (training, validation) = (
        Images::new("training", 10, false),
        Images::new("validation", 10, false),
    );
    let run = |config: &ProbeConfig, seeds: &[u64]| {
        probe(
            config,
            &training.training(),
            Some(&validation.validation()),
            seeds,
        )
        .unwrap()
    };
    let together = run(&sweep(vec![0.1, 0.3]), &[1, 2]);
    assert_eq!(together.heads.len(), 2 * 5 * 2 * 2);
    assert_eq!(together.chosen.len(), 3 * 2);
    assert_eq!(run(&sweep(vec![0.1, 0.3]), &[1, 2]).heads, together.heads);
    for chosen in &together.chosen {
        let best = together
            .heads
            .iter()
            .filter(|head| head.method == chosen.head.method && head.seed == chosen.head.seed);
        let best = best
            .filter_map(|head| head.validation_accuracy)
            .fold(0.0, f64::max);
        assert_eq!(chosen.head.validation_accuracy, Some(best));
        let Setting::Steps {
            margins,
            lr,
            weight_decay,
        } = chosen.head.setting.clone()
        else {
            panic!()
        };
        let alone = steps(
            Protocol::MocoV2,
            vec![method("alone", vec![margins])],
            |it| {
                (it.images_per_batch, it.epochs, it.lrs) = (64, 2, vec![lr]);
                it.schedule = cosine_from(0.0);
                it.weight_decay = Grid::Values {
                    values: vec![weight_decay],
                };
            },
        );
        let alone = only(run(&alone, &[chosen.head.seed]));
        assert_eq!(alone.weight, chosen.weight);
        assert_eq!(alone.bias, chosen.bias);
    }
}

/// Features that the test chooses, and which were asked for.
struct Given<'a> {
    features: Vec<&'a [f32]>,
    asked: std::cell::RefCell<Vec<u64>>,
}

impl Views for Given<'_> {
    fn features(&self, shuffle: u64) -> mr2_train::Result<Vec<f32>> {
        self.asked.borrow_mut().push(shuffle);
        Ok(self.features[shuffle as usize % self.features.len()].to_vec())
    }
}

/// Cross-entropy's gradient for a weight, (classes, width), in f64; the mean over images.
fn gradient(features: &[f32], labels: &[u32], weight: &[f64], classes: usize) -> Vec<f64> {
    let mut gradient = vec![0.0; weight.len()];
    for (row, &label) in features.chunks(WIDTH).zip(labels) {
        let logit = |weight: &[f64]| -> f64 {
            let products = row.iter().zip(weight).map(|(&x, w)| f64::from(x) * w);
            products.sum()
        };
        let powers: Vec<f64> = weight.chunks(WIDTH).map(|w| logit(w).exp()).collect();
        let sum: f64 = powers.iter().sum();
        for class in 0..classes {
            let target = f64::from(u8::from(class == label as usize));
            let share = (powers[class] / sum - target) / labels.len() as f64;
            for (g, &x) in gradient[class * WIDTH..][..WIDTH].iter_mut().zip(row) {
                *g += share * f64::from(x);
            }
        }
    }
    gradient
}

#[test]
fn each_shuffle_is_of_its_own_view() {
    let images = Images::new("training", 10, false);
    let flipped: Vec<f32> = images.features.iter().map(|x| 0.5 - x).collect();
    let views = Given {
        features: vec![&images.features, &flipped],
        asked: Default::default(),
    };
    // One batch of all images in each epoch: their order doesn't matter, their view does.
    let config = steps(Protocol::MocoV2, erm(), |it| {
        (it.images_per_batch, it.epochs, it.lrs) = (300, 2, vec![0.5]);
        it.rule = StepRule::Sgd { momentum: 0.0 };
        it.init = InitConfig::Normal { std: 1e-30 };
        it.schedule = ScheduleConfig::Constant {};
    });
    let training = images.training().with_views(&views);
    let head = only(probe(&config, &training, None, &[0]).unwrap());
    assert_eq!(*views.asked.borrow(), [0, 1]);
    // Classes are as large as each other and start with the same logits: the bias's first gradient is zero.
    let first = gradient(&images.features, &images.labels, &[0.0; 10 * WIDTH], 10);
    let weight: Vec<f64> = first.iter().map(|g| -0.5 * g).collect();
    let second = gradient(&flipped, &images.labels, &weight, 10);
    let expected: Vec<f64> = (weight.iter().zip(second))
        .map(|(w, g)| w - 0.5 * g)
        .collect();
    check("weight", &head.weight, &expected, 1e-5);
    // The same view at every shuffle is no view.
    let same = Given {
        features: vec![&images.features],
        asked: Default::default(),
    };
    let plain = only(probe(&config, &images.training(), None, &[0]).unwrap());
    let training = images.training().with_views(&same);
    let viewed = only(probe(&config, &training, None, &[0]).unwrap());
    assert_eq!(plain.weight, viewed.weight);
}

#[test]
fn views_that_cannot_be_meant_are_refused() {
    let images = Images::new("training", 10, false);
    let refused = |config: &ProbeConfig, features: &[f32], wanted: &str| {
        let views = Given {
            features: vec![features],
            asked: Default::default(),
        };
        let training = images.training().with_views(&views);
        let error = probe(config, &training, None, &[0]).unwrap_err();
        assert!(error.to_string().contains(wanted), "{error}");
    };
    let config = steps(Protocol::MocoV2, erm(), |it| it.epochs = 1);
    refused(
        &config,
        &images.features[WIDTH..],
        "training (view 0) features: 3588 numbers",
    );
    let mut broken = images.features.clone();
    broken[30] = f32::NAN;
    refused(
        &config,
        &broken,
        "(view 0) features: row 2, column 6 is NaN",
    );
    let again = ProbeConfig {
        refit: true,
        ..config
    };
    refused(&again, &images.features, "refit");
    let once = ProbeConfig {
        refit: false,
        ..lbfgs(1.0, 1e-4, erm())
    };
    refused(&once, &images.features, "L-BFGS");
}

#[test]
fn a_head_that_diverges_is_reported_and_the_others_go_on() {
    let (training, validation) = (
        Images::new("training", 10, false),
        Images::new("validation", 10, false),
    );
    let run = |lrs| {
        probe(
            &sweep(lrs),
            &training.training(),
            Some(&validation.validation()),
            &[1],
        )
    };
    let outcome = run(vec![0.1, 3e38]).unwrap();
    let usual = run(vec![0.1]).unwrap();
    let (wild, tame): (Vec<_>, Vec<_>) = outcome
        .heads
        .iter()
        .partition(|head| matches!(head.setting, Setting::Steps { lr, .. } if lr > 1.0));
    assert!(
        wild.iter()
            .all(|head| matches!(head.end, FitEnd::Diverged { .. })),
        "{wild:?}"
    );
    assert!(wild.iter().all(|head| head.validation_accuracy.is_none()));
    let usual: Vec<_> = usual.heads.iter().collect();
    assert_eq!(tame, usual);
    let error = run(vec![3e38]).unwrap_err().to_string();
    assert!(error.contains("every head of the method `erm`"), "{error}");
}

#[test]
fn a_representation_loss_on_frozen_features_is_refused_since_no_head_would_feel_it() {
    let config = MarginConfig::Mr2 {
        norm: 2.0,
        centre: Centre::None,
        gamma: Preset::PaperLinear.config().gamma,
        representation_weight: 0.3,
    };
    let training = Images::new("training", 10, false);
    let config = lbfgs(1.0, 1e-4, vec![method("mr2", vec![config])]);
    let error = probe(&config, &training.training(), None, &[0])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("constant and its gradient is zero"),
        "{error}"
    );
    assert!(
        MarginConfig::of(&Preset::PaperLinear.config())
            .check()
            .is_ok()
    );

    // The gradient of cross-entropy and of cross-entropy with the representation loss, for a head on frozen features.
    let device = Device::Cpu;
    let features = Tensor::from_slice(&training.features, (300, WIDTH), &device).unwrap();
    let weight = candle_core::Var::randn(0f32, 0.1, (10, WIDTH), &device).unwrap();
    let pairs = Pairs::new(&training.labels, 10).unwrap();
    let threshold = Tensor::new(0f64, &device).unwrap();
    let gradient = |with: bool| {
        let logits = features.matmul(&weight.t().unwrap()).unwrap();
        let target = mr2_loss::Target::Hard(&training.labels);
        let mut loss = mr2_loss::cross_entropy(&logits, target, None)
            .unwrap()
            .mean_all()
            .unwrap();
        if with {
            let margin =
                representation_margin(&features, &pairs, &threshold, ExponentScale::TenTimesDim)
                    .unwrap();
            let margin = margin.mean_all().unwrap();
            assert!(margin.to_scalar::<f32>().unwrap() > 0.0);
            loss = (loss + margin * 0.3).unwrap();
        }
        let gradients = loss.backward().unwrap();
        gradients.get(&weight).unwrap().to_vec2::<f32>().unwrap()
    };
    assert_eq!(gradient(true), gradient(false));
}

#[test]
fn the_best_kind_of_features_is_chosen_on_validation_images() {
    let (training, validation) = (
        Images::new("training", 10, false),
        Images::new("validation", 10, false),
    );
    let noise = |images: &Images| -> Vec<f32> {
        (0..images.features.len())
            .map(|i| rng::normal(9, i as u64) as f32)
            .collect()
    };
    let (a, b) = (noise(&training), noise(&validation));
    let useless = (
        Training::new(&a, WIDTH, &training.labels, 10).unwrap(),
        Validation::new(&b, WIDTH, &validation.labels, 10).unwrap(),
    );
    let kinds = [useless, (training.training(), validation.validation())];
    let (outcomes, best) = probe_best_features(&lbfgs(0.01, 1e-4, erm()), &kinds, &[0]).unwrap();
    assert_eq!((outcomes.len(), best), (2, vec![1]));
    let test = Images::new("test", 10, false);
    assert!(outcomes[1].chosen[0].accuracy(&test.test()).unwrap() > 0.4);
}

#[test]
fn what_cannot_be_meant_is_refused_with_its_place() {
    let images = Images::new("training", 10, false);
    let mut spoilt = images.features.clone();
    spoilt[3 * WIDTH + 7] = f32::NAN;
    let error = |result: mr2_train::Result<Training<'_>>| result.unwrap_err().to_string();
    let message = error(Training::new(&spoilt, WIDTH, &images.labels, 10));
    assert!(message.contains("row 3, column 7 is NaN"), "{message}");
    let message = error(Training::new(&images.features, WIDTH, &images.labels, 9));
    assert!(message.contains("label 9 of row 9"), "{message}");
    let message = error(Training::new(&images.features, WIDTH, &images.labels, 12));
    assert!(message.contains("no images of class 10, 11"), "{message}");
    let message = error(Training::new(
        &images.features[1..],
        WIDTH,
        &images.labels,
        10,
    ));
    assert!(message.contains("are not 300 images of 12"), "{message}");

    let refused = |config: &ProbeConfig| {
        probe(config, &images.training(), None, &[0])
            .unwrap_err()
            .to_string()
    };
    let message = refused(&Protocol::Clip.config(erm()));
    assert!(
        message.contains("choosing among 97 settings needs validation images"),
        "{message}"
    );
    let message = refused(&Protocol::Mae.config(erm()));
    assert!(message.contains("choose at most 300"), "{message}");
    let message = refused(&steps(Protocol::MocoV2, erm(), |it| {
        it.lrs = vec![f64::NAN]
    }));
    assert!(message.contains("`fit.lrs`"), "{message}");
    let message = refused(&steps(Protocol::MocoV2, erm(), |it| {
        it.head = HeadKind::Cosine { scale: 16.0 }
    }));
    assert!(message.contains("`fit.head`"), "{message}");
    let message = refused(&lbfgs(0.0, 1e-4, erm()));
    assert!(message.contains("`fit.c`"), "{message}");
    let message = refused(&Protocol::Clip.config(vec![method(
        "u",
        vec![MarginConfig::Uniform { budget: 0.0 }],
    )]));
    assert!(message.contains("`margins.budget`"), "{message}");
    let head = only(probe(&lbfgs(1.0, 1e-4, erm()), &images.training(), None, &[0]).unwrap());
    assert!(head.logits(&[1.0; 13]).is_err() && head.logits(&[f32::INFINITY; 12]).is_err());
}

#[test]
fn protocols_are_written_and_read_and_have_names_of_their_own() {
    for (place, protocol) in Protocol::ALL.into_iter().enumerate() {
        let config = protocol.config(erm());
        config.check().unwrap();
        assert_eq!(config.protocol, protocol.name());
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<ProbeConfig>(&text).unwrap(), config);
        let unknown = text.replacen("\"refit\"", "\"extra\": 1, \"refit\"", 1);
        assert!(serde_json::from_str::<ProbeConfig>(&unknown).is_err());
        let others = &Protocol::ALL[..place];
        assert!(others.iter().all(|other| other.name() != protocol.name()));
    }
    let FitConfig::Steps(mae) = Protocol::Mae.config(erm()).fit else {
        panic!()
    };
    assert_eq!(mae.lrs, [6.4]);
    assert!(matches!(mae.rule, StepRule::Lars { trust, .. } if trust == 0.001));
}
