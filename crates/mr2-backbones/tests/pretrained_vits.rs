//! Published vision transformers in all their spellings, against the libraries' own code at reduced size
//! (`tests/reference/pretrained_vits.py`).
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use mr2_backbones::vit::sizes::{VitSize, clip, dinov2, mae, vit};
use mr2_backbones::vit::weights::{Unseen, check_fits, config_of, for_config};
use mr2_backbones::vit::{Pooling, Vit, VitConfig};
use mr2_backbones::weights::Tensors;
use mr2_backbones::weights::keys::Family;
use mr2_backbones::weights::positions::{Interpolation, interpolate};
use mr2_backbones::{Backbone, BuildConfig, Head};
use mr2_nn::graph::{Ctx, Mode};
use mr2_nn::layers::Activation;
use mr2_nn::params::ParamStore;

/// Two blocks in f32 on both sides; of the largest element.
const F32: f64 = 1e-5;

/// The same arithmetic in another order.
const F64: f64 = 1e-11;

const SIDES: [usize; 2] = [16, 24];
const CLASSES: usize = 5;

const BUILD: BuildConfig = BuildConfig {
    in_channels: 3,
    classes: CLASSES,
    head: Head::Linear,
    dropout: 0.0,
};

/// The sizes of the references, with the rest of a published net's.
fn reduced(published: VitConfig) -> VitConfig {
    VitConfig {
        image_size: SIDES[0],
        patch: 4,
        dim: 24,
        depth: 2,
        heads: 3,
        mlp_dim: 48,
        projection: published.projection.map(|_| 10),
        ..published
    }
}

fn fixture(name: &str) -> HashMap<String, Tensor> {
    let path = format!(
        "{}/tests/fixtures/{name}.safetensors",
        env!("CARGO_MANIFEST_DIR")
    );
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

fn published(fixture: &HashMap<String, Tensor>, case: &str) -> Tensors {
    let own = |(name, tensor): (&String, &Tensor)| {
        let name = name.strip_prefix(&format!("{case}/"))?;
        Some((name.to_string(), tensor.clone()))
    };
    fixture.iter().filter_map(own).collect()
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

/// The reference's images: PyTorch's generator isn't ours, so the fixtures have them.
fn images(fixture: &HashMap<String, Tensor>, side: usize) -> Tensor {
    fixture[&format!("images|{side}")].clone()
}

/// What the net makes of images, with the tensors of a file and a head of zeros where it has none that fits.
fn run(net: &VitConfig, tensors: &Tensors, images: &Tensor, how: Interpolation) -> [Tensor; 2] {
    let dtype = images.dtype();
    let mut tensors = for_config(net, tensors.clone(), how).unwrap();
    let head = [CLASSES, net.feature_dim()];
    if tensors.get("head.weight").map(Tensor::dims) != Some(&head) {
        let zeros = Tensor::zeros(&head, dtype, &Device::Cpu).unwrap();
        let bias = zeros.narrow(1, 0, 1).unwrap().flatten_all().unwrap();
        tensors.insert("head.weight".to_string(), zeros);
        tensors.insert("head.bias".to_string(), bias);
    }
    let store = ParamStore::zeros(dtype, &Device::Cpu);
    let model = Vit::new(net, &BUILD, store.var_builder()).unwrap();
    store.load(&tensors.into_iter().collect()).unwrap();
    let cx = Ctx::new(&Device::Cpu, dtype, Mode::Eval).unwrap();
    let features = model.features(&cx, &cx.enter(images).unwrap()).unwrap();
    let logits = model.head(&cx, &features).unwrap();
    [features, logits]
}

/// Every case of a fixture; `published_net` says which net a case is of.
fn check_file(
    file: &str,
    family: Family,
    how: Interpolation,
    published_net: impl Fn(&str) -> VitConfig,
) {
    let fixture = fixture(file);
    let mut checked = 0;
    for (key, expected) in &fixture {
        let parts: Vec<&str> = key.split('|').collect();
        let [case, kind, side] = parts[..] else {
            continue;
        };
        let base = reduced(published_net(case));
        let tensors = family.to_ours(published(&fixture, case)).unwrap();
        let unseen = Unseen {
            heads: Some(base.heads),
            activation: base.activation,
            eps: base.eps,
            pooling: base.pooling,
        };
        assert_eq!(config_of(&tensors, unseen).unwrap(), base, "{case}");
        let blocks = |count, mean| Pooling::LastBlocks { count, mean };
        let pooling = match kind {
            "class" | "projected" => Pooling::Class,
            "mean" => Pooling::Mean,
            "blocks" => blocks(2, false),
            "blocks-mean" => blocks(2, true),
            "concatenated" => blocks(1, true),
            "logits" if family == Family::Dinov2 => blocks(1, true),
            "logits" => Pooling::Class,
            _ => panic!("{key}"),
        };
        let side: usize = side.parse().unwrap();
        let net = VitConfig {
            image_size: side,
            pooling,
            projection: base.projection.filter(|_| kind == "projected"),
            ..base
        };
        let [features, logits] = run(&net, &tensors, &images(&fixture, side), how);
        let actual = if kind == "logits" { logits } else { features };
        check(key, &actual, expected, F32);
        checked += 1;
    }
    assert!(checked >= 2 && checked % 2 == 0, "{file}: {checked}");
}

#[test]
fn vits_of_timm_and_transformers_give_their_features_and_logits() {
    let net = vit(VitSize::Base, 16);
    check_file(
        "pretrained_from_timm_vit",
        Family::Vit,
        Interpolation::Timm,
        |_| net.clone(),
    );
    let hub = VitConfig { eps: 1e-12, ..net };
    let how = Interpolation::Transformers;
    check_file("pretrained_from_transformers_vit", Family::Vit, how, |_| {
        hub.clone()
    });
}

#[test]
fn maes_give_their_class_token_and_their_mean() {
    let net = mae(VitSize::Base, Pooling::Class);
    check_file(
        "pretrained_from_timm_mae",
        Family::Mae,
        Interpolation::Mae,
        |_| net.clone(),
    );
    let hub = VitConfig { eps: 1e-12, ..net };
    let how = Interpolation::Transformers;
    check_file("pretrained_from_transformers_mae", Family::Mae, how, |_| {
        hub.clone()
    });
}

#[test]
fn clips_give_their_features_before_and_after_the_projection() {
    let net = |activation| clip(VitSize::Base, 16, activation);
    let exact = |case: &str| match case {
        "clip-open" | "clip-hf-tower" => net(Activation::Gelu),
        _ => net(Activation::QuickGelu),
    };
    check_file(
        "pretrained_from_open_clip_clip",
        Family::Clip,
        Interpolation::OpenClip,
        exact,
    );
    check_file(
        "pretrained_from_transformers_clip",
        Family::Clip,
        Interpolation::Transformers,
        exact,
    );
    check_file(
        "pretrained_from_timm_clip",
        Family::Clip,
        Interpolation::Timm,
        exact,
    );
}

#[test]
fn dinov2s_give_class_tokens_and_means_of_their_last_blocks() {
    let net = dinov2(VitSize::Base, Pooling::Class);
    check_file(
        "pretrained_from_timm_dinov2",
        Family::Dinov2,
        Interpolation::Meta,
        |_| net.clone(),
    );
    let how = Interpolation::Transformers;
    check_file(
        "pretrained_from_transformers_dinov2",
        Family::Dinov2,
        how,
        |_| net.clone(),
    );
}

#[test]
fn gradients_through_quick_gelu_layer_scale_and_the_first_norm_equal_pytorchs() {
    let fixture = fixture("pretrained_gradients_training");
    let net = VitConfig {
        layer_scale: Some(0.1),
        patch_bias: false,
        projection: None,
        ..reduced(clip(VitSize::Base, 16, Activation::QuickGelu))
    };
    for (dtype, tolerance) in [(DType::F64, F64), (DType::F32, 5e-5)] {
        let store = ParamStore::zeros(dtype, &Device::Cpu);
        let model = Vit::new(&net, &BUILD, store.var_builder()).unwrap();
        let weights = published(&fixture, "training").into_iter().collect();
        store.load(&weights).unwrap();
        let cx = Ctx::new(&Device::Cpu, dtype, Mode::Train).unwrap();
        let x = images(&fixture, 16).to_dtype(dtype).unwrap();
        let logits = model.forward(&cx, &cx.enter(&x).unwrap()).unwrap();
        let upstream = fixture["training|upstream|16"].to_dtype(dtype).unwrap();
        let loss = (logits * upstream).unwrap().sum_all().unwrap();
        let gradients = cx.backward(&loss).unwrap();
        for (name, var) in store.parameters() {
            let expected = &fixture[&format!("training|gradient {name}|16")];
            check(&name, gradients.get(&var).unwrap(), expected, tolerance);
        }
    }
}

#[test]
fn the_projection_learns() {
    let net = reduced(clip(VitSize::Base, 16, Activation::QuickGelu));
    let store = ParamStore::new(1, DType::F32, &Device::Cpu);
    let model = Vit::new(&net, &BUILD, store.var_builder()).unwrap();
    assert_eq!(model.feature_dim(), 10);
    let cx = Ctx::new(&Device::Cpu, DType::F32, Mode::Train).unwrap();
    let x = Tensor::ones((2, 3, 16, 16), DType::F32, &Device::Cpu).unwrap();
    let logits = model.forward(&cx, &cx.enter(&x).unwrap()).unwrap();
    let loss = logits.sqr().unwrap().sum_all().unwrap();
    let gradients = cx.backward(&loss).unwrap();
    for (name, var) in store.parameters() {
        assert!(gradients.get(&var).is_some(), "{name}");
    }
}

#[test]
fn positions_for_another_grid_equal_each_librarys() {
    let fixture = fixture("positions");
    let mut checked = 0;
    for (key, expected) in &fixture {
        let parts: Vec<&str> = key.split(' ').collect();
        let [old, rows, columns, way] = parts[..] else {
            continue;
        };
        let how = match way {
            "transformers" => Interpolation::Transformers,
            "timm" => Interpolation::Timm,
            "open_clip" => Interpolation::OpenClip,
            "mae" => Interpolation::Mae,
            "meta" => Interpolation::Meta,
            _ => panic!("{key}"),
        };
        let grid = [rows.parse().unwrap(), columns.parse().unwrap()];
        let new = interpolate(&fixture[old], grid, how).unwrap();
        check(key, &new, expected, 2e-6);
        let class = |of: &Tensor| numbers(&of.narrow(1, 0, 1).unwrap());
        assert_eq!(class(&new), class(&fixture[old]), "{key}");
        checked += 1;
    }
    assert_eq!(checked, 39);
}

#[track_caller]
fn says<T>(result: candle_core::Result<T>, text: &str) {
    let Err(error) = result else {
        panic!("no error, expected: {text}");
    };
    let message = error.to_string();
    assert!(message.contains(text), "{message}");
}

#[test]
fn positions_that_are_no_square_grid_are_refused() {
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    for shape in [&[1usize, 7, 3][..], &[1, 1, 3], &[2, 5, 3], &[5, 3]] {
        says(
            interpolate(&zeros(shape), [4, 4], Interpolation::Timm),
            "pos_embed: expected (1, 1 + side², features)",
        );
    }
    says(
        interpolate(&zeros(&[1, 5, 3]), [0, 4], Interpolation::Timm),
        "a grid of 0 x 4 patches has none",
    );
}

#[test]
fn files_that_are_cut_short_or_of_another_kind_are_named() {
    let fixture = fixture("pretrained_from_transformers_dinov2");
    let whole = published(&fixture, "dinov2-hf");
    let key = "dinov2.encoder.layer.1.attention.attention.key.weight";
    let mut short = whole.clone();
    short.remove(key).unwrap();
    says(
        Family::Dinov2.to_ours(short),
        "blocks.1.attn.q.weight (query) has no blocks.1.attn.k.weight beside it",
    );
    let mut mixed = whole.clone();
    mixed.insert("cls_token".to_string(), whole[key].clone());
    says(Family::Dinov2.to_ours(mixed), "mixes two spellings");
    let mut misshapen = whole.clone();
    misshapen.insert(key.to_string(), whole[key].narrow(1, 0, 7).unwrap());
    says(
        Family::Dinov2.to_ours(misshapen),
        "blocks.1.attn.qkv.weight",
    );
    let mut registers = whole.clone();
    registers.insert("register_tokens".to_string(), whole[key].clone());
    says(
        Family::Dinov2.to_ours(registers),
        "registers (register_tokens)",
    );

    let tensors = Family::Dinov2.to_ours(whole).unwrap();
    let net = reduced(dinov2(VitSize::Base, Pooling::Class));
    check_fits(&net, &tensors).unwrap();
    let other = VitConfig {
        depth: 3,
        mlp_dim: 96,
        layer_scale: None,
        projection: Some(4),
        ..net.clone()
    };
    let message = check_fits(&other, &tensors).unwrap_err().to_string();
    for part in [
        "depth is 3 in the configuration, 2 in the weights",
        "mlp_dim is 96 in the configuration, 48 in the weights",
        "layer_scale: the configuration has none, the file has it",
        "projection is Some(4) in the configuration, None in the weights",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let unseen = Unseen {
        heads: None,
        activation: net.activation,
        eps: net.eps,
        pooling: net.pooling,
    };
    says(
        config_of(&tensors, unseen),
        "no published net has 24 features",
    );
    says(
        config_of(&Tensors::new(), unseen),
        "there is no patch_embed.proj.weight",
    );
}

#[test]
fn a_head_that_was_trained_on_clip_stays_a_head() {
    let fixture = fixture("pretrained_from_timm_clip");
    let mut tensors = published(&fixture, "clip-timm");
    let ones = tensors["head.bias"].ones_like().unwrap();
    tensors.insert("head.bias".to_string(), ones);
    let ours = Family::Clip.to_ours(tensors).unwrap();
    assert!(ours.contains_key("head.weight") && !ours.contains_key("projection.weight"));
}

#[test]
fn published_sizes_have_the_published_parameters() {
    // timm 1.0.31 and open_clip 3.3.0, without the head: the sums of their parameters.
    let nets = [
        (vit(VitSize::Small, 16), 21_665_664),
        (vit(VitSize::Large, 16), 303_301_632),
        (vit(VitSize::Base, 32), 87_455_232),
        (mae(VitSize::Huge, Pooling::Class), 630_764_800),
        (clip(VitSize::Base, 32, Activation::QuickGelu), 87_849_216),
        (clip(VitSize::Base, 16, Activation::QuickGelu), 86_192_640),
        (clip(VitSize::Large, 14, Activation::QuickGelu), 303_966_208),
        (dinov2(VitSize::Small, Pooling::Class), 21_628_800),
        (dinov2(VitSize::Base, Pooling::Class), 85_724_928),
    ];
    for (net, expected) in nets {
        assert_eq!(VitSize::heads_of(net.dim), Some(net.heads));
        let store = ParamStore::zeros(DType::F32, &Device::Cpu);
        Vit::new(&net, &BUILD, store.var_builder()).unwrap();
        let parameters = store.parameters().into_iter();
        let count: usize = parameters
            .filter(|(name, _)| !name.starts_with("head."))
            .map(|(_, var)| var.elem_count())
            .sum();
        assert_eq!(count, expected, "{net:?}");
    }
}
