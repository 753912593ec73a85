//! Whole networks: layers in a row, branches, and the trainer's way from images to logits.

use candle_nn::VarBuilder;
use mr2_backbones::clip_resnet::{ClipResNet, ClipResNetConfig, ClipResNetFeature};
use mr2_backbones::vit::{Pooling, Vit, VitConfig};
use mr2_backbones::{Backbone, BuildConfig, Head, build};
use mr2_nn::graph::Mode;
use mr2_nn::layers::Activation;

use super::case::Case;

const CLASSES: usize = 10;

pub(super) fn cases() -> Vec<Case> {
    vec![
        network("resnet8", Mode::Train, &[4, 3, 16, 16], 10.0),
        network("resnet8", Mode::Eval, &[4, 3, 16, 16], 10.0),
        network("resnet8-b", Mode::Train, &[4, 3, 16, 16], 10.0),
        network("preact-resnet20", Mode::Train, &[4, 3, 16, 16], 20.0),
        network("wrn-28-2", Mode::Train, &[4, 3, 16, 16], 30.0),
        network("resnet18", Mode::Train, &[4, 3, 64, 64], 20.0),
        network("vit-ti16", Mode::Train, &[1, 3, 224, 224], 10.0),
        // On a CPU, PyTorch's f32 and f16 differ from its f64 by up to 1e-2 and 1.1 in one of its gradients, by 1e-5 and 4e-2 in
        // features (timm's efficientnet_lite0 with weights and images like these); our f32 by up to 3e-2 in ten shapes of images.
        network("efficientnet-lite0", Mode::Train, &[4, 3, 64, 64], 50.0).sensitive(),
        network("efficientnet-lite0", Mode::Eval, &[4, 3, 64, 64], 50.0),
        pretrained("clip resnet", Mode::Eval, 10.0, |vb| {
            Ok(Box::new(ClipResNet::new(&CLIP_RESNET, &config(3), vb)?))
        })
        .kinked(),
        pretrained("clip vit", Mode::Eval, 10.0, |vb| vit(&CLIP_VIT, vb)),
        pretrained("clip vit", Mode::Train, 10.0, |vb| vit(&CLIP_VIT, vb)),
        pretrained("dinov2", Mode::Eval, 10.0, |vb| vit(&DINOV2, vb)),
        pretrained("dinov2", Mode::Train, 10.0, |vb| vit(&DINOV2, vb)),
    ]
}

/// What only published weights are made for, narrow here.
const CLIP_RESNET: ClipResNetConfig = ClipResNetConfig {
    blocks: [1, 1, 1, 1],
    width: 16,
    heads: 8,
    output_dim: 24,
    image_size: 64,
    feature: ClipResNetFeature::Projected,
};
const CLIP_VIT: VitConfig = VitConfig {
    image_size: 64,
    patch: 16,
    dim: 128,
    depth: 3,
    heads: 2,
    mlp_dim: 256,
    activation: Activation::QuickGelu,
    eps: 1e-5,
    patch_bias: false,
    qkv_bias: true,
    norm_pre: true,
    layer_scale: None,
    pooling: Pooling::Class,
    projection: Some(48),
};
const DINOV2: VitConfig = VitConfig {
    activation: Activation::Gelu,
    eps: 1e-6,
    patch_bias: true,
    norm_pre: false,
    layer_scale: Some(0.5),
    pooling: Pooling::LastBlocks {
        count: 2,
        mean: true,
    },
    projection: None,
    ..CLIP_VIT
};

fn vit(net: &VitConfig, vb: VarBuilder<'static>) -> candle_core::Result<Box<dyn Backbone>> {
    Ok(Box::new(Vit::new(net, &config(3), vb)?))
}

/// The features of a network that isn't in the registry.
fn pretrained(
    name: &str,
    mode: Mode,
    depth: f64,
    build: fn(VarBuilder<'static>) -> candle_core::Result<Box<dyn Backbone>>,
) -> Case {
    Case::layer(
        format!("network {name}, {}", word(mode)),
        mode,
        [&[2, 3, 64, 64]],
        build,
        |network, cx, x| network.forward(cx, &x[0]),
    )
    .deep(depth)
}

fn config(in_channels: usize) -> BuildConfig {
    BuildConfig {
        in_channels,
        classes: CLASSES,
        head: Head::Linear,
        dropout: 0.0,
    }
}

fn word(mode: Mode) -> &'static str {
    match mode {
        Mode::Train => "training",
        Mode::Eval => "evaluation",
    }
}

fn network(name: &'static str, mode: Mode, images: &'static [usize], depth: f64) -> Case {
    let config = config(images[1]);
    let case = Case::layer(
        format!("network {name}, {}", word(mode)),
        mode,
        [images],
        move |vb| build(name, &config, vb),
        |network, cx, x| network.forward(cx, &x[0]),
    )
    .deep(depth);
    // GELU has no kink.
    match name.starts_with("vit-") {
        true => case,
        false => case.kinked(),
    }
}
