//! Whole networks: layers in a row, branches, and the trainer's way from images to logits.

use mr2_backbones::{BuildConfig, Head, build};
use mr2_nn::graph::Mode;

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
    ]
}

fn network(name: &'static str, mode: Mode, images: &'static [usize], depth: f64) -> Case {
    let config = BuildConfig {
        in_channels: images[1],
        classes: CLASSES,
        head: Head::Linear,
        dropout: 0.0,
    };
    let word = match mode {
        Mode::Train => "training",
        Mode::Eval => "evaluation",
    };
    let case = Case::layer(
        format!("network {name}, {word}"),
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
