//! Convolutional nets from checkpoints as they are published, against the libraries that publish them
//! (`tests/reference/pretrained_convs.py`).
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap};

use candle_core::{DType, Device, Tensor};
use mr2_backbones::clip_resnet::{ClipResNet, ClipResNetConfig, ClipResNetFeature};
use mr2_backbones::efficientnet_lite::{EfficientNetLite, EfficientNetLiteConfig};
use mr2_backbones::resnet::{BlockKind, ResNet, ResNetConfig};
use mr2_backbones::weights::keys::Family;
use mr2_backbones::{Backbone, BuildConfig, Head, entries, parameter_count};
use mr2_nn::graph::{Ctx, Mode};
use mr2_nn::params::ParamStore;

/// Of the largest number: f32 here, float64 there.
const TOLERANCE: f64 = 1e-5;

/// The same in f64, where the file has f32.
const F64: f64 = 1e-6;

/// A gradient that is rounding and nothing else, as that of a bias before another batch norm.
const NOTHING: f64 = 1e-10;

const CONFIG: BuildConfig = BuildConfig {
    in_channels: 3,
    classes: 10,
    head: Head::Linear,
    dropout: 0.0,
};

const LITE: EfficientNetLiteConfig = EfficientNetLiteConfig {
    width: 0.085,
    depth: 0.5,
    stem: 8,
    features: 32,
};

type Fixture = HashMap<String, Tensor>;

fn fixture(name: &str) -> Fixture {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
    candle_core::safetensors::load(format!("{folder}/{name}.safetensors"), &Device::Cpu).unwrap()
}

fn checkpoint(fixture: &Fixture) -> BTreeMap<String, Tensor> {
    let named = fixture.iter().filter_map(|(name, tensor)| {
        Some((
            name.strip_prefix("checkpoint.")?.to_string(),
            tensor.clone(),
        ))
    });
    named.collect()
}

fn store(dtype: DType) -> ParamStore {
    ParamStore::zeros(dtype, &Device::Cpu)
}

fn load(store: &ParamStore, family: Family, tensors: BTreeMap<String, Tensor>) {
    let tensors = family.to_ours(tensors).unwrap();
    store.load(&tensors.into_iter().collect()).unwrap();
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
            (a - e).abs() <= (tolerance * largest).max(NOTHING),
            "{what}[{i}]: {a} instead of {e}, the largest is {largest}"
        );
    }
}

fn features(model: &dyn Backbone, images: &Tensor) -> (Ctx, Tensor) {
    let cx = Ctx::new(&Device::Cpu, DType::F32, Mode::Eval).unwrap();
    let images = images.to_dtype(DType::F32).unwrap();
    let features = model.features(&cx, &cx.enter(&images).unwrap()).unwrap();
    (cx, features)
}

#[track_caller]
fn check_outputs(model: &dyn Backbone, fixture: &Fixture, size: usize) {
    let (cx, features) = features(model, &fixture[&format!("images.{size}")]);
    let expected = &fixture[&format!("features.{size}")];
    check(
        &format!("features of {size}"),
        &features,
        expected,
        TOLERANCE,
    );
    if let Some(expected) = fixture.get(&format!("logits.{size}")) {
        let logits = model.head(&cx, &features).unwrap();
        check(&format!("logits of {size}"), &logits, expected, TOLERANCE);
    }
}

#[test]
fn efficientnet_lite_equals_timms() {
    let (fixture, store) = (fixture("efficientnet_lite"), store(DType::F32));
    let model = EfficientNetLite::new(&LITE, &CONFIG, store.var_builder()).unwrap();
    load(&store, Family::EfficientNetLite, checkpoint(&fixture));
    for size in [33, 48] {
        check_outputs(&model, &fixture, size);
    }
}

#[test]
fn efficientnet_lites_gradients_and_statistics_equal_pytorchs() {
    let (evaluation, expected) = (
        fixture("efficientnet_lite"),
        fixture("efficientnet_lite_training"),
    );
    let store = store(DType::F64);
    let model = EfficientNetLite::new(&LITE, &CONFIG, store.var_builder()).unwrap();
    load(&store, Family::EfficientNetLite, checkpoint(&evaluation));
    let cx = Ctx::new(&Device::Cpu, DType::F64, Mode::Train).unwrap();
    let wide = |tensor: &Tensor| tensor.to_dtype(DType::F64).unwrap();
    let images = cx.enter(&wide(&evaluation["images.33"])).unwrap();
    let logits = model.forward(&cx, &images).unwrap();
    check("logits", &logits, &expected["logits"], F64);
    let loss = (logits * wide(&expected["upstream"]))
        .unwrap()
        .sum_all()
        .unwrap();
    let gradients = cx.backward(&loss).unwrap();
    for (name, var) in store.parameters() {
        let expected = &expected[&format!("gradient.{name}")];
        check(&name, gradients.get(&var).unwrap(), expected, F64);
    }
    for (name, var) in store.buffers() {
        check(&name, &var, &expected[&format!("buffer.{name}")], F64);
    }
}

#[test]
fn efficientnet_lite0_has_timms_parameters() {
    let entry = entries()
        .iter()
        .find(|entry| entry.name == "efficientnet-lite0")
        .unwrap();
    let config = BuildConfig {
        classes: 1000,
        ..CONFIG
    };
    let (count, _) = parameter_count(entry.name, &config).unwrap();
    assert_eq!(count, 4_652_008);
    let (count, _) = parameter_count(entry.name, &CONFIG).unwrap();
    assert_eq!(count, entry.parameters);
}

fn resnet(block: BlockKind, store: &ParamStore) -> ResNet {
    let net = ResNetConfig {
        block,
        blocks: [2, 1, 1, 1],
        width: 4,
    };
    ResNet::new(&net, &CONFIG, store.var_builder()).unwrap()
}

#[test]
fn residual_nets_equal_torchvisions_and_transformers() {
    for (name, block) in [
        ("resnet_torchvision_basic", BlockKind::Basic),
        ("resnet_torchvision_bottleneck", BlockKind::Bottleneck),
        ("resnet_transformers", BlockKind::Bottleneck),
    ] {
        let (fixture, store) = (fixture(name), store(DType::F32));
        let model = resnet(block, &store);
        load(&store, Family::ResNet, checkpoint(&fixture));
        for size in [33, 48] {
            check_outputs(&model, &fixture, size);
        }
    }
}

#[test]
fn mocos_query_encoder_has_the_features_of_the_net_inside() {
    let (fixture, store) = (fixture("resnet_torchvision_bottleneck"), store(DType::F32));
    let model = resnet(BlockKind::Bottleneck, &store);
    let tensors = checkpoint(&fixture).into_iter().flat_map(|(name, tensor)| {
        let key = (
            tensor.zeros_like().unwrap(),
            format!("state_dict.module.encoder_k.{name}"),
        );
        let query = format!("state_dict.module.encoder_q.{name}");
        [(query, tensor), (key.1, key.0)]
    });
    let mut tensors = Family::Moco.to_ours(tensors.collect()).unwrap();
    // The projection is gone, and a head is whoever's who probes.
    assert!(!tensors.keys().any(|name| name.starts_with("fc")));
    for (name, tensor) in store.tensors() {
        if name.starts_with("fc") {
            tensors.insert(name, tensor);
        }
    }
    store.load(&tensors.into_iter().collect()).unwrap();
    let (_, features) = features(&model, &fixture["images.48"]);
    check("features", &features, &fixture["features.48"], TOLERANCE);
}

/// The net of the fixture for images of one size, whose head is new.
fn clip(image_size: usize, feature: ClipResNetFeature, fixture: &Fixture) -> ClipResNet {
    let net = ClipResNetConfig {
        blocks: [1, 2, 1, 1],
        width: 2,
        heads: 4,
        output_dim: 24,
        image_size,
        feature,
    };
    let store = store(DType::F32);
    let model = ClipResNet::new(&net, &CONFIG, store.var_builder()).unwrap();
    let mut tensors = Family::ClipResNet.to_ours(checkpoint(fixture)).unwrap();
    if let Some(positions) = fixture.get(&format!("positions.{image_size}")) {
        tensors.insert("attnpool.positional_embedding".into(), positions.clone());
    }
    if feature == ClipResNetFeature::Pooled {
        tensors.retain(|name, _| !name.starts_with("attnpool.c_proj"));
    }
    for (name, tensor) in store.tensors() {
        if name.starts_with("head") {
            tensors.insert(name, tensor);
        }
    }
    store.load(&tensors.into_iter().collect()).unwrap();
    model
}

#[test]
fn clips_residual_nets_equal_open_clips() {
    let fixture = fixture("clip_resnet");
    for size in [64, 96] {
        let model = clip(size, ClipResNetFeature::Projected, &fixture);
        check_outputs(&model, &fixture, size);
    }
    let model = clip(96, ClipResNetFeature::Pooled, &fixture);
    let (_, features) = features(&model, &fixture["images.96"]);
    check("pooled", &features, &fixture["pooled.96"], TOLERANCE);
    assert_eq!(features.dim(1).unwrap(), model.feature_dim());
}

#[test]
fn clips_positions_say_which_images_they_fit() {
    let fixture = fixture("clip_resnet");
    let model = clip(64, ClipResNetFeature::Projected, &fixture);
    let cx = Ctx::new(&Device::Cpu, DType::F32, Mode::Eval).unwrap();
    let images = fixture["images.96"].to_dtype(DType::F32).unwrap();
    let error = model
        .features(&cx, &cx.enter(&images).unwrap())
        .unwrap_err();
    let error = error.to_string();
    assert!(error.contains("positions are those of 4 pixels"), "{error}");
    assert!(error.contains("3 x 3"), "{error}");
}

#[test]
fn clips_residual_nets_train() {
    let net = ClipResNetConfig {
        blocks: [1, 1, 1, 1],
        width: 2,
        heads: 4,
        output_dim: 6,
        image_size: 64,
        feature: ClipResNetFeature::Projected,
    };
    let store = ParamStore::new(3, DType::F64, &Device::Cpu);
    let model = ClipResNet::new(&net, &CONFIG, store.var_builder()).unwrap();
    let cx = Ctx::new(&Device::Cpu, DType::F64, Mode::Train).unwrap();
    let images = fixture("clip_resnet")["images.64"]
        .to_dtype(DType::F64)
        .unwrap();
    let loss = |cx: &Ctx| {
        let images = cx.enter(&images).unwrap();
        model
            .forward(cx, &images)
            .unwrap()
            .sqr()
            .unwrap()
            .sum_all()
            .unwrap()
    };
    let gradients = cx.backward(&loss(&cx)).unwrap();
    let number = |loss: Tensor| loss.to_scalar::<f64>().unwrap();
    for (name, var) in store.parameters() {
        let gradient = gradients
            .get(&var)
            .unwrap_or_else(|| panic!("{name} has no gradient"));
        // Along the gradient the loss rises by its length.
        let length = number(gradient.sqr().unwrap().sum_all().unwrap()).sqrt();
        if length < NOTHING {
            continue;
        }
        let start = var.as_tensor().copy().unwrap();
        let moved = |step: f64| {
            let value = (&start + (gradient * (step / length)).unwrap()).unwrap();
            var.set(&value).unwrap();
            number(loss(&cx))
        };
        let slope = (moved(1e-6) - moved(-1e-6)) / 2e-6;
        var.set(&start).unwrap();
        assert!(
            (slope - length).abs() < 1e-5 * (1.0 + length),
            "{name}: {slope} instead of {length}"
        );
    }
}
