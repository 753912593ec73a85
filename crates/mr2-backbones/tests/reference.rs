//! Every architecture against PyTorch in float64 on the same weights
//! (`tests/reference/backbones.py`).
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor, Var};
use mr2_backbones::resnet::{BlockKind, ResNet, ResNetConfig};
use mr2_backbones::wide_resnet::{WideResNet, WideResNetConfig};
use mr2_backbones::{Backbone, BuildConfig, Entry, Head, build, entries, parameter_count};
use mr2_nn::graph::{Ctx, Mode};
use mr2_nn::params::ParamStore;
use mr2_nn::rng;

const SEED: u64 = 20260205;
const STEP: u64 = 5;
/// Batch, channels, height, width.
const SMALL: [usize; 4] = [3, 3, 18, 18];
const PHOTO: [usize; 4] = [2, 3, 33, 40];

/// Float64 on both sides; the deepest net has 110 layers between rounding and result.
const TOLERANCE: f64 = 1e-8;

fn fixture() -> HashMap<String, Tensor> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/backbones.safetensors"
    );
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

fn draw(name: &str, shape: &[usize], number: impl Fn(u64, u64) -> f64) -> Tensor {
    let stream = rng::stream(SEED, name);
    let count: usize = shape.iter().product();
    let values: Vec<f64> = (0..count as u64).map(|i| number(stream, i)).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// The rules of `value` in the script.
fn weights(store: &ParamStore) -> HashMap<String, Tensor> {
    let value = |name: &str, shape: &[usize]| {
        if name.ends_with("running_var") {
            return draw(name, shape, |stream, i| 0.5 + rng::uniform(stream, i));
        }
        let (mean, factor) = if shape.len() > 1 {
            (
                0.0,
                (2.0 / shape[1..].iter().product::<usize>() as f64).sqrt(),
            )
        } else if name.ends_with("weight") {
            (1.0, 0.2)
        } else {
            (0.0, 0.1)
        };
        draw(name, shape, |stream, i| {
            mean + factor * rng::normal(stream, i)
        })
    };
    store
        .tensors()
        .into_iter()
        .map(|(n, t)| (n.clone(), value(&n, t.dims())))
        .collect()
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[track_caller]
fn check(what: &str, actual: &[f64], expected: &Tensor) {
    let expected = numbers(expected);
    assert_eq!(actual.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0f64, |a, b| a.max(b.abs()));
    for (i, (a, e)) in actual.iter().zip(&expected).enumerate() {
        assert!(
            (a - e).abs() <= TOLERANCE * largest,
            "{what}[{i}]: {a} instead of {e}"
        );
    }
}

fn norms(mut named: Vec<(String, Tensor)>) -> Vec<f64> {
    named.sort_by(|a, b| a.0.cmp(&b.0));
    let norm = |t: &Tensor| {
        t.sqr()
            .unwrap()
            .sum_all()
            .unwrap()
            .to_scalar::<f64>()
            .unwrap()
            .sqrt()
    };
    named.iter().map(|(_, tensor)| norm(tensor)).collect()
}

/// Evaluation, then one training pass, as `run` in the script.
fn check_net(case: &str, store: &ParamStore, model: &dyn Backbone, images: [usize; 4]) {
    let expected = fixture();
    let expect = |part: &str| &expected[&format!("{case}.{part}")];
    store.load(&weights(store)).unwrap();
    let images = draw("images", &images, rng::normal);
    let forward = |mode| {
        let cx = Ctx::new(&Device::Cpu, DType::F64, mode).unwrap();
        cx.begin_step(SEED, STEP);
        let features = model.features(&cx, &cx.enter(&images).unwrap()).unwrap();
        let logits = model.head(&cx, &features).unwrap();
        (cx, features, logits)
    };
    let (_, features, logits) = forward(Mode::Eval);
    check(
        &format!("{case} eval features"),
        &numbers(&features),
        expect("eval.features"),
    );
    check(
        &format!("{case} eval logits"),
        &numbers(&logits),
        expect("eval.logits"),
    );

    let (cx, features, logits) = forward(Mode::Train);
    check(
        &format!("{case} train features"),
        &numbers(&features),
        expect("train.features"),
    );
    check(
        &format!("{case} train logits"),
        &numbers(&logits),
        expect("train.logits"),
    );
    let upstream = draw("upstream", logits.dims(), rng::normal);
    let loss = (logits * upstream).unwrap().sum_all().unwrap();
    let gradients = cx.backward(&loss).unwrap();
    let gradient = |(name, var): (String, Var)| {
        let gradient = gradients
            .get(&var)
            .unwrap_or_else(|| panic!("{case}: {name}"))
            .clone();
        (name, gradient)
    };
    let gradients = store.parameters().into_iter().map(gradient).collect();
    check(
        &format!("{case} gradients"),
        &norms(gradients),
        expect("train.gradient_norms"),
    );
    let buffers = store
        .buffers()
        .into_iter()
        .map(|(n, var)| (n, var.as_tensor().detach()));
    check(
        &format!("{case} buffers"),
        &norms(buffers.collect()),
        expect("train.buffer_norms"),
    );
}

fn store() -> ParamStore {
    ParamStore::new(1, DType::F64, &Device::Cpu)
}

fn config() -> BuildConfig {
    BuildConfig {
        in_channels: 3,
        classes: 10,
        head: Head::Linear,
        dropout: 0.0,
    }
}

/// Those of this fixture: the others have their own (`vit.rs`, `pretrained_convs.rs`).
fn residual_nets() -> impl Iterator<Item = &'static Entry> {
    let residual =
        |entry: &&Entry| entry.image_size.is_none() && !entry.name.starts_with("efficientnet");
    entries().iter().filter(residual)
}

/// The net of a case: the widest at a quarter of their width, the deepest for photographs at an eighth.
fn net(name: &str, store: &ParamStore) -> Box<dyn Backbone> {
    let wide = |depth, widen| {
        let net = WideResNetConfig {
            depth,
            widen,
            width: 4,
        };
        Box::new(WideResNet::new(&net, &config(), store.var_builder()).unwrap())
    };
    let photo = |block, blocks| {
        let net = ResNetConfig {
            block,
            blocks,
            width: 8,
        };
        Box::new(ResNet::new(&net, &config(), store.var_builder()).unwrap())
    };
    match name {
        "wrn-16-8" => wide(16, 8),
        "wrn-28-10" => wide(28, 10),
        "resnet18" => photo(BlockKind::Basic, [2, 2, 2, 2]),
        "resnet34" => photo(BlockKind::Basic, [3, 4, 6, 3]),
        "resnet101" => photo(BlockKind::Bottleneck, [3, 4, 23, 3]),
        "resnet152" => photo(BlockKind::Bottleneck, [3, 8, 36, 3]),
        _ => build(name, &config(), store.var_builder()).unwrap(),
    }
}

#[test]
fn outputs_gradients_and_statistics_equal_pytorchs() {
    for entry in residual_nets() {
        let store = store();
        let model = net(entry.name, &store);
        let images = match entry.reduction {
            32 => PHOTO,
            _ => SMALL,
        };
        check_net(entry.name, &store, model.as_ref(), images);
    }
}

#[test]
fn one_channel_and_a_cosine_head_equal_pytorchs() {
    let store = store();
    let head = Head::Cosine { scale: 16.0 };
    let config = BuildConfig {
        in_channels: 1,
        classes: 7,
        head,
        dropout: 0.0,
    };
    let model = build("resnet8", &config, store.var_builder()).unwrap();
    check_net("resnet8-cosine", &store, model.as_ref(), [3, 1, 18, 18]);
}

#[test]
fn a_wide_net_with_dropout_equals_pytorchs_under_the_same_masks() {
    let store = store();
    let net = WideResNetConfig {
        depth: 16,
        widen: 2,
        width: 4,
    };
    let config = BuildConfig {
        dropout: 0.3,
        ..config()
    };
    let model = WideResNet::new(&net, &config, store.var_builder()).unwrap();
    check_net("wrn-16-2-dropout", &store, &model, SMALL);
}

#[test]
fn parameter_counts_at_full_size_equal_pytorchs() {
    let expected = fixture();
    for entry in residual_nets() {
        let (count, _) = parameter_count(entry.name, &config()).unwrap();
        let reference = expected[&format!("{}.parameters", entry.name)]
            .to_vec1::<i64>()
            .unwrap()[0];
        assert_eq!(count, reference as usize, "{}", entry.name);
        assert_eq!(count, entry.parameters, "{}", entry.name);
    }
}
