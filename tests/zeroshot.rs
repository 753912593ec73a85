//! `mr2 zeroshot` on a plain folder of images, with a CLIP of random weights: its residual image tower as published, and
//! a small text tower.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use image::{Rgb, RgbImage};
use mr2_backbones::clip_text::{ClipText, ClipTextConfig};
use mr2_backbones::pretrained::find;
use mr2_backbones::{BuildConfig, Head};
use mr2_nn::layers::Activation;
use mr2_nn::params::ParamStore;
use serde_json::Value;

use crate::support::{expect, folder, mr2};

const CLASSES: [&str; 3] = ["a_cat", "dog", "thing"];

/// Five images of a class, of one colour with stripes.
fn photos(folder: &Path) -> PathBuf {
    let root = folder.join("photos");
    for (class, name) in CLASSES.iter().enumerate() {
        fs::create_dir_all(root.join(name)).unwrap();
        for number in 0..5 {
            let image = RgbImage::from_fn(32, 32, |x, y| {
                let mut pixel = [number * 9; 3];
                pixel[class] = if (x + y) % 5 < 2 { 240 } else { 90 };
                Rgb(pixel)
            });
            image
                .save(root.join(name).join(format!("{number}.png")))
                .unwrap();
        }
    }
    root
}

/// Both towers in one file, as open_clip's are, with the tokenizer of the libraries' fixtures.
fn weights(folder: &Path) -> PathBuf {
    let images = ParamStore::new(5, DType::F32, &Device::Cpu);
    let config = BuildConfig {
        in_channels: 3,
        classes: 1,
        head: Head::Linear,
        dropout: 0.0,
    };
    let net = &find("clip-rn50").unwrap().architecture;
    net.build(&config, images.var_builder()).unwrap();
    let texts = ParamStore::new(6, DType::F32, &Device::Cpu);
    let small = ClipTextConfig {
        vocabulary: 533,
        context: 16,
        dim: 64,
        depth: 1,
        heads: 1,
        mlp_dim: 64,
        activation: Activation::QuickGelu,
        eps: 1e-5,
        projection: 1024,
    };
    ClipText::new(&small, texts.var_builder()).unwrap();
    let half = |tensor: Tensor| tensor.to_dtype(DType::F16).unwrap();
    let tower = images.tensors().into_iter();
    let tower = tower
        .filter(|(name, _)| !name.starts_with("head."))
        .map(|(name, tensor)| (format!("visual.{name}"), half(tensor)));
    let tensors: HashMap<String, Tensor> = tower.chain(texts.tensors()).collect();
    let root = folder.join("clip");
    fs::create_dir(&root).unwrap();
    candle_core::safetensors::save(&tensors, root.join("model.safetensors")).unwrap();
    fs::copy(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("crates/mr2-backbones/tests/fixtures/clip_tokenizer/tokenizer.json"),
        root.join("tokenizer.json"),
    )
    .unwrap();
    root
}

struct World {
    folder: tempfile::TempDir,
    photos: PathBuf,
    weights: PathBuf,
}

impl World {
    fn new() -> Self {
        let folder = folder();
        let (photos, weights) = (photos(folder.path()), weights(folder.path()));
        Self {
            folder,
            photos,
            weights,
        }
    }

    fn run(&self, arguments: &[&str], status: i32) -> (String, String) {
        expect(
            mr2()
                .args(["zeroshot", "--backbone", "clip-rn50", "--image-size", "32"])
                .args(["--activation", "quick_gelu"])
                .arg("--images")
                .arg(&self.photos)
                .arg("--weights")
                .arg(&self.weights)
                .arg("--cache")
                .arg(self.folder.path().join("cache"))
                .args(arguments),
            status,
        )
    }
}

#[test]
fn classes_are_told_apart_by_their_names() {
    let world = World::new();
    let out = world.folder.path().join("report");
    let (text, _) = world.run(&["--out", out.to_str().unwrap()], 0);
    for part in [
        "zero_shot",
        "7 templates",
        "a_cat",
        "worst class",
        "report.html",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let report: Value =
        serde_json::from_slice(&fs::read(out.join("report.json")).unwrap()).unwrap();
    let protocol = &report["data"][0]["protocol"];
    assert_eq!(
        protocol["classes"],
        serde_json::json!(["a cat", "dog", "thing"])
    );
    assert!((protocol["logit_factor"].as_f64().unwrap() - 1.0 / 0.07).abs() < 1e-4);

    let arguments = ["--template", "the {}", "--template", "{}", "--json"];
    let (first, _) = world.run(&arguments, 0);
    let found: Value = serde_json::from_str(&first).unwrap();
    let probe = &found["probes"][0];
    assert_eq!(
        probe["protocol"]["templates"],
        serde_json::json!(["the {}", "{}"])
    );
    assert_eq!(probe["width"], 1024);
    assert_eq!(probe["classifiers"][0]["setting"], "2 templates");
    // The features of images are there; the texts' are the same again.
    assert_eq!(world.run(&arguments, 0).0, first);

    let refused = |arguments: &[&str], wanted: &str| {
        let (_, stderr) = world.run(arguments, 1);
        assert!(stderr.contains(wanted), "{stderr}");
    };
    let names = world.folder.path().join("names.txt");
    fs::write(&names, "cat\ndog\n").unwrap();
    let names = names.to_str().unwrap();
    refused(&["--class-names", names], "2 names for 3 classes");
    refused(
        &["--feature", "before_projection"],
        "CLIP's projected feature only",
    );
    let empty = world.folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    refused(
        &["--tokenizer", empty.to_str().unwrap()],
        "holds no tokenizer",
    );
}

#[test]
fn what_has_no_texts_is_named() {
    let folder = folder();
    let photos = photos(folder.path());
    let refused = |arguments: &[&str], wanted: &str| {
        let (_, stderr) = expect(
            mr2()
                .args(["zeroshot", "--images"])
                .arg(&photos)
                .args(arguments),
            1,
        );
        assert!(stderr.contains(wanted), "{stderr}");
    };
    refused(
        &["--backbone", "resnet50"],
        "resnet50: it has no text tower; those named clip-* have one",
    );
    refused(
        &["--backbone", "clip-vit-b-16", "--template", "a photo"],
        "has no {} for the class",
    );
}
