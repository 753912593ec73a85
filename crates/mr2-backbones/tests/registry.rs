//! What holds for every registered backbone: a walk over the list.
#![allow(clippy::unwrap_used)]

use std::collections::{HashMap, HashSet};

use candle_core::{DType, Device, Tensor};
use mr2_backbones::{Backbone, BuildConfig, Head, build, entries, parameter_count};
use mr2_nn::graph::{Ctx, Mode};
use mr2_nn::params::ParamStore;
use mr2_nn::rng;

const CLASSES: usize = 5;

fn config(channels: usize, dropout: f64) -> BuildConfig {
    BuildConfig {
        in_channels: channels,
        classes: CLASSES,
        head: Head::Linear,
        dropout,
    }
}

fn images(channels: usize) -> Tensor {
    sized_images(channels, 8)
}

fn sized_images(channels: usize, size: usize) -> Tensor {
    let shape = (2, channels, size, size);
    let values = (0..shape.0 * channels * size * size)
        .map(|i| rng::normal(5, i as u64) as f32)
        .collect();
    Tensor::from_vec::<_, f32>(values, shape, &Device::Cpu).unwrap()
}

fn context(mode: Mode) -> Ctx {
    let cx = Ctx::new(&Device::Cpu, DType::F32, mode).unwrap();
    cx.begin_step(1, 0);
    cx
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn buffers(store: &ParamStore) -> Vec<(String, Vec<f32>)> {
    store
        .buffers()
        .iter()
        .map(|(name, var)| (name.clone(), numbers(var)))
        .collect()
}

fn check_backbone(model: &dyn Backbone, store: &ParamStore, name: &str, images: &Tensor) {
    let before = buffers(store);
    let cx = context(Mode::Eval);
    let features = model.features(&cx, &cx.enter(images).unwrap()).unwrap();
    assert_eq!(features.dims(), [2, model.feature_dim()], "{name}");
    assert_eq!(
        model.head_weight().dims(),
        [CLASSES, model.feature_dim()],
        "{name}"
    );
    assert_eq!(model.classes(), CLASSES, "{name}");
    let logits = model.forward(&cx, &cx.enter(images).unwrap()).unwrap();
    assert_eq!(logits.dims(), [2, CLASSES], "{name}");
    let head = model.head(&cx, &features).unwrap();
    assert_eq!(numbers(&head), numbers(&logits), "{name}: head of features");
    assert!(
        before == buffers(store),
        "{name}: evaluation changed a buffer"
    );

    let cx = context(Mode::Train);
    let logits = model.forward(&cx, &cx.enter(images).unwrap()).unwrap();
    let loss = logits.sqr().unwrap().sum_all().unwrap();
    let gradients = cx.backward(&loss).unwrap();
    for (parameter, var) in store.parameters() {
        let gradient = gradients.get(&var);
        let gradient = gradient.unwrap_or_else(|| panic!("{name}: {parameter} has no gradient"));
        assert_eq!(gradient.dims(), var.dims(), "{name}: {parameter}");
        let values = numbers(gradient);
        assert!(values.iter().all(|g| g.is_finite()), "{name}: {parameter}");
        assert!(values.iter().any(|g| *g != 0.0), "{name}: {parameter}");
    }
    for ((buffer, before), (_, after)) in before.iter().zip(&buffers(store)) {
        assert!(before != after, "{name}: training left {buffer} unchanged");
    }
}

#[test]
fn every_backbone_trains_and_its_logits_are_the_head_of_its_features() {
    for entry in entries() {
        for channels in [1, 3] {
            let dropout = if entry.has_dropout { 0.3 } else { 0.0 };
            // Wide nets once are enough; the largest are in tests/reference.rs, narrower.
            let most = if channels == 1 {
                10_000_000
            } else {
                40_000_000
            };
            if entry.parameters > most {
                continue;
            }
            let store = ParamStore::new(2, DType::F32, &Device::Cpu);
            let config = config(channels, dropout);
            let model = build(entry.name, &config, store.var_builder()).unwrap();
            // Normalisation needs several pixels a channel in the last feature map.
            let size = entry.image_size.unwrap_or(entry.reduction + 8);
            let images = sized_images(channels, size);
            check_backbone(model.as_ref(), &store, entry.name, &images);
        }
    }
}

#[test]
fn names_are_unique_and_documented() {
    let names: HashSet<_> = entries().iter().map(|entry| entry.name).collect();
    assert_eq!(names.len(), entries().len());
    for entry in entries() {
        assert!(
            !entry.summary.is_empty() && entry.source.contains("arXiv"),
            "{}",
            entry.name
        );
    }
}

#[test]
fn parameters_are_counted_as_they_are_built() {
    for name in ["resnet8-b", "wrn-28-2", "resnet18"] {
        let (config, store) = (config(1, 0.0), ParamStore::new(2, DType::F32, &Device::Cpu));
        let model = build(name, &config, store.var_builder()).unwrap();
        let parameters = store.parameters();
        let built = parameters.iter().map(|(_, var)| var.elem_count()).sum();
        let counted = parameter_count(name, &config).unwrap();
        assert_eq!(counted, (built, model.feature_dim()), "{name}");
    }
}

#[test]
fn a_model_is_a_function_of_its_seed() {
    let logits = |seed| {
        let store = ParamStore::new(seed, DType::F32, &Device::Cpu);
        let model = build("resnet8", &config(3, 0.0), store.var_builder()).unwrap();
        let cx = context(Mode::Eval);
        numbers(&model.forward(&cx, &cx.enter(&images(3)).unwrap()).unwrap())
    };
    assert_eq!(logits(1), logits(1));
    assert_ne!(logits(1), logits(2));
}

/// Standard deviation, of numbers with mean 0.
fn spread(values: &[f32]) -> f64 {
    let squares = values.iter().map(|&v| f64::from(v).powi(2));
    (squares.sum::<f64>() / values.len() as f64).sqrt()
}

#[test]
fn each_family_starts_from_what_its_page_says() {
    for (name, by_fan_out) in [
        ("resnet20-b", false),
        ("preact-resnet20", false),
        ("wrn-16-8", true),
        ("resnet18", true),
    ] {
        let store = ParamStore::new(4, DType::F32, &Device::Cpu);
        let config = BuildConfig {
            classes: 1000,
            ..config(3, 0.0)
        };
        let model = build(name, &config, store.var_builder()).unwrap();
        let inputs = model.feature_dim() as f64;
        for (parameter, var) in store.parameters() {
            let values = numbers(&var);
            let largest = values.iter().fold(0.0, |a: f32, v| a.max(v.abs()));
            let expected = match *var.dims() {
                [outputs, channels, height, width] => {
                    let fan = if by_fan_out { outputs } else { channels };
                    (2.0 / (fan * height * width) as f64).sqrt()
                }
                [_, _] if by_fan_out => (1.0 / inputs / 3.0).sqrt(),
                [_, _] => (2.0 / inputs).sqrt(),
                [1000] if name.starts_with("wrn") => 0.0,
                [1000] => (1.0 / inputs / 3.0).sqrt(),
                _ if parameter.ends_with("weight") => 1.0,
                _ => 0.0,
            };
            // Five standard errors of a normal sample's deviation.
            let allowed = 5.0 / (2.0 * values.len() as f64).sqrt() * expected;
            let found = spread(&values);
            assert!(
                (found - expected).abs() <= allowed,
                "{name}: {parameter} {found}, expected {expected}"
            );
            if matches!(*var.dims(), [_, _]) {
                let uniform = f64::from(largest) <= 1.0 / inputs.sqrt() + 1e-6;
                assert_eq!(uniform, by_fan_out, "{name}: {parameter} up to {largest}");
            }
        }
    }
}

#[test]
fn a_state_dict_of_pytorch_loads_with_its_counts_of_batches() {
    let new = |seed| {
        let store = ParamStore::new(seed, DType::F32, &Device::Cpu);
        build("preact-resnet20", &config(3, 0.0), store.var_builder()).unwrap();
        store
    };
    let (theirs, ours) = (new(1), new(2));
    let mut state: HashMap<String, Tensor> = theirs.tensors().into_iter().collect();
    for (name, _) in theirs.buffers() {
        if let Some(layer) = name.strip_suffix("running_mean") {
            let count = Tensor::new(391i64, &Device::Cpu).unwrap();
            state.insert(format!("{layer}num_batches_tracked"), count);
        }
    }
    assert!(state.contains_key("layer2.0.shortcut.weight"));
    ours.load(&state).unwrap();
    for ((name, a), (_, b)) in theirs.tensors().iter().zip(ours.tensors()) {
        assert_eq!(numbers(a), numbers(&b), "{name}");
    }
}

#[test]
fn dropout_acts_in_training_only() {
    let store = ParamStore::new(3, DType::F32, &Device::Cpu);
    let build = |dropout| build("wrn-28-2", &config(3, dropout), store.var_builder()).unwrap();
    let (with, without) = (build(0.5), build(0.0));
    let logits = |model: &dyn Backbone, mode| {
        let cx = context(mode);
        numbers(&model.forward(&cx, &cx.enter(&images(3)).unwrap()).unwrap())
    };
    assert_eq!(
        logits(with.as_ref(), Mode::Eval),
        logits(without.as_ref(), Mode::Eval)
    );
    assert_ne!(
        logits(with.as_ref(), Mode::Train),
        logits(without.as_ref(), Mode::Train)
    );
}

#[test]
fn errors_name_what_is_wrong() {
    let store = ParamStore::new(1, DType::F32, &Device::Cpu);
    let message = |name: &str, config: &BuildConfig| {
        build(name, config, store.var_builder())
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    let has = |text: String, part: &str| assert!(text.contains(part), "{text}");
    let unknown = message("resnet19", &config(3, 0.0));
    has(
        unknown.clone(),
        "unknown backbone \"resnet19\", expected one of: resnet8, resnet20",
    );
    has(unknown, "wrn-40-2");
    has(
        message("resnet20", &config(3, 0.3)),
        "resnet20: has no dropout, so dropout must be 0",
    );
    has(
        message("resnet20", &config(0, 0.0)),
        "must be at least 1, got 0 and 5",
    );
}
