//! Pretrained transformers opened from files of random tensors under published names: which features they have, and what
//! an error lists when tensors don't fit.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use mr2_backbones::pretrained::{Feature, Files, Pretrained, Request, find, open};
use mr2_backbones::{BuildConfig, Head};
use mr2_nn::graph::{Ctx, Mode};
use mr2_nn::params::ParamStore;
use mr2_nn::rng;

/// The entry's whole net, with its last layer, under our names, which are timm's and Meta's.
fn tensors(name: &str) -> HashMap<String, Tensor> {
    let params = ParamStore::new(5, DType::F32, &Device::Cpu);
    let config = BuildConfig {
        in_channels: 3,
        classes: 10,
        head: Head::Linear,
        dropout: 0.0,
    };
    let net = &find(name).unwrap().architecture;
    net.build(&config, params.var_builder()).unwrap();
    params.tensors().into_iter().collect()
}

fn saved(folder: &tempfile::TempDir, tensors: &HashMap<String, Tensor>) -> PathBuf {
    let path = folder.path().join("weights.safetensors");
    candle_core::safetensors::save(tensors, &path).unwrap();
    path
}

fn request(name: &str, feature: Feature) -> Request<'static> {
    Request {
        entry: find(name).unwrap(),
        image_size: Some(112),
        feature,
        activation: None,
        positions: None,
        allow_missing: &[],
        classes: 1,
    }
}

/// Why it can't be opened.
fn refused(request: &Request, files: &Files) -> String {
    match open(request, files, &Device::Cpu) {
        Ok(_) => panic!("no error"),
        Err(error) => error.to_string(),
    }
}

fn features(pretrained: &Pretrained) -> Vec<Vec<f32>> {
    let values: Vec<f32> = (0..2 * 3 * 112 * 112)
        .map(|i| rng::normal(7, i) as f32)
        .collect();
    let images = Tensor::from_vec(values, (2, 3, 112, 112), &Device::Cpu).unwrap();
    let cx = Ctx::new(&Device::Cpu, DType::F32, Mode::Eval).unwrap();
    let features = pretrained
        .network
        .features(&cx, &cx.enter(&images).unwrap());
    features.unwrap().to_vec2().unwrap()
}

#[test]
fn a_transformer_has_the_feature_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let name = "dinov2-vit-s-14";
    let files = Files::local(&saved(&folder, &tensors(name)));
    let opened = |feature| match open(&request(name, feature), &files, &Device::Cpu) {
        Ok(pretrained) => pretrained,
        Err(error) => panic!("{error}"),
    };
    let published = features(&opened(Feature::Published));
    let blocks = opened(Feature::LastBlocks);
    assert_eq!(blocks.network.feature_dim(), 5 * 384);
    let blocks = features(&blocks);
    for (published, blocks) in published.iter().zip(&blocks) {
        // The last block's class token is the published feature; no other one is.
        for place in 0..5 {
            let part = &blocks[place * 384..][..384];
            assert_eq!(part == &published[..], place == 3, "{place}");
        }
    }
    let error = refused(&request(name, Feature::BeforeProjection), &files);
    assert!(error.contains("no projection"), "{error}");
    let error = refused(&request(name, Feature::Mean), &files);
    assert!(
        error.contains("--feature mean is for ViT and MAE"),
        "{error}"
    );
}

#[test]
fn heads_that_only_a_configuration_tells_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let name = "dinov2-vit-s-14";
    std::fs::write(
        folder.path().join("config.json"),
        r#"{"num_attention_heads": 12}"#,
    )
    .unwrap();
    let path = folder.path().join("model.safetensors");
    candle_core::safetensors::save(&tensors(name), &path).unwrap();
    let files = Files::local(folder.path());
    let error = refused(&request(name, Feature::Published), &files);
    assert!(
        error.contains("`num_attention_heads` is 12, this model has 6"),
        "{error}"
    );
}

#[test]
fn one_error_lists_every_tensor_of_a_transformer_that_does_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let name = "vit-s-16";
    let mut published = tensors(name);
    let odd = Tensor::zeros((3, 5), DType::F32, &Device::Cpu).unwrap();
    published.insert("blocks.3.attn.proj.weight".to_string(), odd.clone());
    published.insert("pos_embed".to_string(), odd.clone());
    published.insert("blocks.12.norm1.weigth".to_string(), odd);
    published.remove("norm.bias");
    let files = Files::local(&saved(&folder, &published));
    let error = refused(&request(name, Feature::Published), &files);
    for part in [
        "weights.safetensors",
        "blocks.3.attn.proj.weight",
        "pos_embed",
        "blocks.12.norm1.weigth",
        "norm.bias",
    ] {
        assert!(error.contains(part), "{part} in {error}");
    }
    // Of a deeper net: what differs comes first, then each tensor.
    let mut deeper = tensors(name);
    for (name, tensor) in deeper.clone() {
        if let Some(rest) = name.strip_prefix("blocks.11.") {
            deeper.insert(format!("blocks.12.{rest}"), tensor);
        }
    }
    let files = Files::local(&saved(&folder, &deeper));
    let error = refused(&request(name, Feature::Published), &files);
    assert!(
        error.contains("depth is 12 in the configuration, 13 in the weights"),
        "{error}"
    );
    assert!(error.contains("blocks.12.mlp.fc2.bias"), "{error}");
}
