//! What holds for every registered backbone: a walk over the list.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;

use candle_core::{DType, Device, Tensor};
use mr2_backbones::{Backbone, BuildConfig, Head, build, entries};
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
    let shape = (2, channels, 8, 8);
    let values = (0..shape.0 * channels * 64)
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
            // The widest net once is enough.
            if channels == 1 && entry.parameters > 10_000_000 {
                continue;
            }
            let store = ParamStore::new(2, DType::F32, &Device::Cpu);
            let config = config(channels, dropout);
            let model = build(entry.name, &config, store.var_builder()).unwrap();
            check_backbone(model.as_ref(), &store, entry.name, &images(channels));
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
    let unknown = message("resnet18", &config(3, 0.0));
    has(
        unknown.clone(),
        "unknown backbone \"resnet18\", expected one of: resnet8, resnet20",
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
