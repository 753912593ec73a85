//! Vision Transformers against timm's own in float64 on the same weights (`tests/reference/vit.py`).
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use mr2_backbones::vit::sizes::{VitSize, vit};
use mr2_backbones::vit::{Pooling, Vit, VitConfig};
use mr2_backbones::{Backbone, BuildConfig, Head, build, entries};
use mr2_nn::graph::{Ctx, Mode};
use mr2_nn::params::ParamStore;
use mr2_nn::rng;

const SEED: u64 = 20260205;
const BATCH: usize = 3;

/// The same arithmetic in another order.
const F64: f64 = 1e-11;

/// Two blocks of sums of up to a hundred products.
const F32: f64 = 5e-5;

const SMALL: VitConfig = VitConfig {
    image_size: 16,
    patch: 4,
    dim: 24,
    depth: 2,
    heads: 3,
    mlp_dim: 96,
    pooling: Pooling::Class,
    ..vit(VitSize::Tiny, 4)
};

const CONFIG: BuildConfig = BuildConfig {
    in_channels: 3,
    classes: 10,
    head: Head::Linear,
    dropout: 0.0,
};

fn fixture() -> HashMap<String, Tensor> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/vit.safetensors"
    );
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

fn draw(name: &str, shape: &[usize], dtype: DType) -> Tensor {
    let stream = rng::stream(SEED, name);
    let count: usize = shape.iter().product();
    let values: Vec<f64> = (0..count as u64).map(|i| rng::normal(stream, i)).collect();
    let values = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
    values.to_dtype(dtype).unwrap()
}

/// The rules of `value` in `tests/reference/backbones.py`.
fn weights(store: &ParamStore) -> HashMap<String, Tensor> {
    let value = |(name, tensor): (String, Tensor)| {
        let drawn = draw(&name, tensor.dims(), DType::F64);
        let (mean, factor) = match tensor.dims() {
            [_, inner @ ..] if !inner.is_empty() => {
                (0.0, (2.0 / inner.iter().product::<usize>() as f64).sqrt())
            }
            _ if name.ends_with("weight") => (1.0, 0.2),
            _ => (0.0, 0.1),
        };
        let value = drawn.affine(factor, mean).unwrap();
        (name, value)
    };
    store.tensors().into_iter().map(value).collect()
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    let tensor = tensor.to_dtype(DType::F64).unwrap();
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[track_caller]
fn check(what: &str, actual: &Tensor, expected: &Tensor, tolerance: f64) {
    assert_eq!(actual.dims(), expected.dims(), "{what}");
    let (actual, expected) = (numbers(actual), numbers(expected));
    let largest = expected.iter().fold(0f64, |a, b| a.max(b.abs()));
    for (i, (a, e)) in actual.iter().zip(&expected).enumerate() {
        assert!(
            (a - e).abs() <= tolerance * largest,
            "{what}[{i}]: {a} instead of {e}"
        );
    }
}

fn check_net(case: &str, net: &VitConfig) {
    let expected = fixture();
    for (dtype, tolerance) in [(DType::F64, F64), (DType::F32, F32)] {
        let store = ParamStore::new(1, dtype, &Device::Cpu);
        let model = Vit::new(net, &CONFIG, store.var_builder()).unwrap();
        store.load(&weights(&store)).unwrap();
        let images = draw("images", &[BATCH, 3, 16, 16], dtype);
        let what = |part: &str| format!("{case} {dtype:?} {part}");
        for mode in [Mode::Eval, Mode::Train] {
            let cx = Ctx::new(&Device::Cpu, dtype, mode).unwrap();
            let features = model.features(&cx, &cx.enter(&images).unwrap()).unwrap();
            let logits = model.head(&cx, &features).unwrap();
            let expect = |part: &str| &expected[&format!("{case}.{part}")];
            check(&what("features"), &features, expect("features"), tolerance);
            check(&what("logits"), &logits, expect("logits"), tolerance);
            if mode == Mode::Eval {
                continue;
            }
            let upstream = draw("upstream", logits.dims(), dtype);
            let loss = (logits * upstream).unwrap().sum_all().unwrap();
            let gradients = cx.backward(&loss).unwrap();
            for (name, var) in store.parameters() {
                let gradient = gradients.get(&var).unwrap();
                let expected = expect(&format!("gradient.{name}"));
                check(&what(&name), gradient, expected, tolerance);
            }
            let count = expected
                .keys()
                .filter(|key| key.starts_with(&format!("{case}.gradient.")))
                .count();
            assert_eq!(store.parameters().len(), count, "{case}");
        }
    }
}

#[test]
fn outputs_and_all_gradients_equal_timms() {
    check_net("class", &SMALL);
    let mean = VitConfig {
        mlp_dim: 48,
        qkv_bias: false,
        pooling: Pooling::Mean,
        ..SMALL
    };
    check_net("mean", &mean);
}

#[test]
fn parameter_counts_at_full_size_equal_timms() {
    let expected = fixture();
    for entry in entries()
        .iter()
        .filter(|entry| entry.name.starts_with("vit"))
    {
        let store = ParamStore::zeros(DType::F32, &Device::Cpu);
        build(entry.name, &CONFIG, store.var_builder()).unwrap();
        let parameters = store.parameters();
        let count: usize = parameters.iter().map(|(_, var)| var.elem_count()).sum();
        let reference = expected[&format!("{}.parameters", entry.name)]
            .to_vec1::<i64>()
            .unwrap()[0];
        assert_eq!(count, reference as usize, "{}", entry.name);
        assert_eq!(count, entry.parameters, "{}", entry.name);
    }
}

#[test]
fn weights_start_from_what_the_page_says() {
    let net = VitConfig {
        dim: 96,
        mlp_dim: 192,
        ..SMALL
    };
    let store = ParamStore::new(1, DType::F64, &Device::Cpu);
    Vit::new(&net, &CONFIG, store.var_builder()).unwrap();
    for (name, var) in store.parameters() {
        let values = numbers(&var);
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let deviation = (values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64).sqrt();
        let norm = name.contains("norm");
        match name.as_str() {
            "cls_token" => assert!((deviation / 1e-6 - 1.0).abs() < 0.4, "{name} {deviation}"),
            _ if name.starts_with("patch_embed") => {
                let bound = 1.0 / 48f64.sqrt();
                assert!(values.iter().all(|v| v.abs() <= bound), "{name}");
            }
            _ if norm && name.ends_with("weight") => assert_eq!((mean, deviation), (1.0, 1.0)),
            _ if name.ends_with("bias") => assert_eq!(deviation, 0.0, "{name}"),
            _ => assert!((deviation / 0.02 - 1.0).abs() < 0.1, "{name} {deviation}"),
        }
    }
}

#[test]
fn sizes_that_do_not_fit_are_named() {
    let store = ParamStore::new(1, DType::F32, &Device::Cpu);
    let new = |net: &VitConfig| Vit::new(net, &CONFIG, store.var_builder());
    let says = |result: candle_core::Result<()>, text: &str| {
        let message = result.unwrap_err().to_string();
        assert!(message.contains(text), "{message}");
    };
    let with = |change: fn(&mut VitConfig)| {
        let mut net = SMALL;
        change(&mut net);
        new(&net).map(|_| ())
    };
    says(with(|net| net.depth = 0), "vit: sizes must be at least 1");
    says(
        with(|net| net.patch = 5),
        "vit: patch 5 must divide image_size 16",
    );
    says(with(|net| net.heads = 5), "vit: heads 5 must divide dim 24");
    let cx = Ctx::new(&Device::Cpu, DType::F32, Mode::Eval).unwrap();
    let images = cx
        .enter(&draw("images", &[1, 3, 16, 12], DType::F32))
        .unwrap();
    says(
        new(&SMALL).unwrap().features(&cx, &images).map(|_| ()),
        "vit: expected images of 16 x 16 pixels, got 16 x 12",
    );
}
