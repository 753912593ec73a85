//! A plain folder of images, a pretrained backbone's file, one command: the table, the report, the second run.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use image::{Rgb, RgbImage};
use mr2_backbones::pretrained::find;
use mr2_backbones::{BuildConfig, Head};
use mr2_nn::params::ParamStore;
use serde_json::Value;

use crate::support::{expect, folder, mr2};

/// Images of a class.
const IMAGES: u32 = 20;

/// Three classes of coloured stripes.
fn photos(folder: &Path) -> PathBuf {
    let root = folder.join("photos");
    for (class, name) in ["ash", "birch", "cedar"].iter().enumerate() {
        fs::create_dir_all(root.join(name)).unwrap();
        for number in 0..IMAGES {
            let noise = |x: u32, y: u32| ((x * 7919 + y * 104_729 + number * 1_231) % 61) as u8;
            let image = RgbImage::from_fn(40 + number % 5, 36, |x, y| {
                let mut pixel = [noise(x, y), noise(y, x), 40];
                pixel[class] += if (x + y + number) % 6 < 3 { 150 } else { 60 };
                Rgb(pixel)
            });
            image
                .save(root.join(name).join(format!("{number}.png")))
                .unwrap();
        }
    }
    root
}

/// Random weights of the whole net, as a file that others could have published.
fn weights(folder: &Path) -> PathBuf {
    let params = ParamStore::new(5, DType::F32, &Device::Cpu);
    let config = BuildConfig {
        in_channels: 3,
        classes: 1000,
        head: Head::Linear,
        dropout: 0.0,
    };
    let net = &find("efficientnet-lite0").unwrap().architecture;
    net.build(&config, params.var_builder()).unwrap();
    let tensors: HashMap<_, _> = params.tensors().into_iter().collect();
    let path = folder.join("model.safetensors");
    candle_core::safetensors::save(&tensors, &path).unwrap();
    path
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

    fn run(&self, command: &str, arguments: &[&str], status: i32) -> (String, String) {
        let path = |path: &Path| path.display().to_string();
        expect(
            mr2()
                .arg(command)
                .args(["--backbone", "efficientnet-lite0", "--image-size", "64"])
                .args([
                    "--images",
                    &path(&self.photos),
                    "--weights",
                    &path(&self.weights),
                ])
                .args(["--cache", &path(&self.folder.path().join("cache"))])
                .args(arguments),
            status,
        )
    }
}

#[test]
fn a_folder_of_photographs_is_probed_class_by_class_with_one_command() {
    let world = World::new();
    let out = world.folder.path().join("report");
    let (text, _) = world.run("probe", &["--out", out.to_str().unwrap()], 0);
    assert!(
        text.contains("42 training, 6 validation and 12 test images of 3 classes"),
        "{text}"
    );
    assert!(
        text.contains("70/10/20 %") && text.contains("worst class"),
        "{text}"
    );
    for class in ["ash", "birch", "cedar"] {
        assert!(text.contains(class), "{text}");
    }
    assert!(
        text.contains("--method erm --method uniform --method mr2"),
        "{text}"
    );
    let report: Value =
        serde_json::from_slice(&fs::read(out.join("report.json")).unwrap()).unwrap();
    let probe = &report["data"][0];
    assert_eq!(
        probe["provenance"]["images"],
        serde_json::json!([42, 6, 12])
    );
    assert_eq!(probe["backbone"]["preprocessing"]["crop"], 64);
    assert_eq!(probe["width"], 1280);
    assert!(out.join("report.html").is_file() && out.join("plots").is_dir());
}

/// A protocol of one's own: one value of C, so that the test is quick, and one budget.
const PROTOCOL: &str = r#"
protocol = "mine"
normalise = "l2"
refit = false
features = "backbone"
training_images = { kind = "evaluation" }
fit = { kind = "lbfgs", c = { kind = "values", values = [1.0] }, tolerance = 1e-2, max_iterations = 100 }

[[methods]]
name = "erm"
margins = [{ kind = "erm" }]

[[methods]]
name = "mr2"
margins = [{ kind = "mr2", norm = 2.0, centre = "none", representation_weight = 0.0, gamma = { source = "second_moment", budget = 2.0, exponent = 0.5, classes = "data" } }]
"#;

#[test]
fn methods_are_compared_on_the_same_features_which_are_computed_once() {
    let world = World::new();
    let protocol = world.folder.path().join("mine.toml");
    fs::write(&protocol, PROTOCOL).unwrap();
    let protocol = protocol.to_str().unwrap();
    let methods = [
        "--protocol",
        protocol,
        "--method",
        "erm",
        "--method",
        "mr2",
        "--json",
    ];
    let (first, _) = world.run("probe", &methods, 0);
    let found: Value = serde_json::from_str(&first).unwrap();
    let probe = &found["probes"][0];
    let classifiers = probe["classifiers"].as_array().unwrap();
    let names: Vec<_> = classifiers
        .iter()
        .map(|c| c["method"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["erm", "mr2"]);
    let difference = &probe["measures"][1][0]["difference"];
    assert!(difference["interval"]["low"].as_f64() <= difference["interval"]["high"].as_f64());
    assert!(probe["measures"][0][0]["difference"].is_null());
    let margins = classifiers[1]["margins"].as_array().unwrap();
    let mean = margins
        .iter()
        .map(|margin| margin.as_f64().unwrap())
        .sum::<f64>()
        / 3.0;
    assert!(
        margins.len() == 3 && (mean - 2.0).abs() < 1e-6,
        "{margins:?}"
    );
    let shards = || {
        let folders = fs::read_dir(world.folder.path().join("cache")).unwrap();
        let files = folders.flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap());
        let files = files.map(|file| file.unwrap().path());
        let shards = files.filter(|path| path.extension().is_some_and(|e| e == "safetensors"));
        shards
            .map(|path| path.metadata().unwrap().modified().unwrap())
            .max()
    };
    let before = shards();
    let (second, _) = world.run("probe", &methods, 0);
    assert_eq!(first, second);
    assert!(before.is_some());
    assert_eq!(before, shards());
}

#[test]
fn protocols_by_steps_and_by_votes_run_on_the_same_features() {
    let world = World::new();
    for (arguments, name) in [
        (
            &["--protocol", "moco_v2", "--views", "0"][..],
            "moco_v2, no crops",
        ),
        (&["--protocol", "dinov2_knn"], "dinov2_knn"),
    ] {
        let (text, _) = world.run("probe", arguments, 0);
        assert!(text.contains(name), "{text}");
    }
}

/// Three shuffles of crops.
const CROPS: &str = r#"
protocol = "cropped"
normalise = "off"
refit = false
features = "backbone"
training_images = { kind = "crops", draws = "ten_draws", scale = [0.3, 1.0], ratio = [0.75, 1.3], interpolation = "bilinear", flip = 0.5, seed = 3 }

[fit]
kind = "steps"
head = { kind = "linear" }
init = { kind = "normal", std = 0.01 }
input_norm = { kind = "batch_norm", eps = 1e-6, momentum = 0.1 }
rule = { kind = "sgd", momentum = 0.9 }
lrs = [0.1]
weight_decay = { kind = "values", values = [0.0] }
schedule = { kind = "constant" }
epochs = 3
epoch_length = { kind = "all_images" }
images_per_batch = 16

[[methods]]
name = "erm"
margins = [{ kind = "erm" }]
"#;

#[test]
fn heads_see_new_crops_at_every_shuffle_kept_or_made_on_the_fly() {
    let world = World::new();
    let protocol = world.folder.path().join("cropped.toml");
    fs::write(&protocol, CROPS).unwrap();
    let protocol = protocol.to_str().unwrap();
    let probe = |more: &[&str]| -> Value {
        let arguments = [&["--protocol", protocol, "--json"], more].concat();
        serde_json::from_str(&world.run("probe", &arguments, 0).0).unwrap()
    };
    let cache = world.folder.path().join("cache");
    let made = probe(&["--on-the-fly"]);
    assert!(!cache.exists());
    let kept = probe(&[]);
    assert_eq!(made, kept);
    assert_eq!(kept["probes"][0]["protocol"]["views"], 3);
    let seeds = ["--protocol", protocol, "--seed", "1", "--seed", "2"];
    let (text, _) = world.run("probe", &seeds, 0);
    assert!(text.contains("Means over seeds"), "{text}");
    assert!(!text.contains("seed by seed"), "{text}");
    assert_eq!(kept["probes"][0]["protocol_name"], "cropped");
    let views = |folder: &Path| {
        let folders = fs::read_dir(folder).unwrap();
        let files = folders.flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap());
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("view-00")).count()
    };
    // Training, validation and test images as they are, and three crops.
    assert_eq!(views(&cache), 6);
    let fewer = probe(&["--views", "1"]);
    assert_eq!(probe(&["--views", "1", "--on-the-fly"]), fewer);
    assert_eq!(fewer["probes"][0]["protocol_name"], "cropped, 1 of 3 crops");
    let features = ["--split", "train", "--crops-of", protocol];
    let (text, _) = world.run("features", &features, 0);
    assert!(
        text.contains("42 images, 3 crops of each, 1280 features"),
        "{text}"
    );
    assert_eq!(views(&cache), 7);
    let (_, stderr) = world.run("probe", &["--views", "2"], 1);
    assert!(
        stderr.contains("the protocol clip draws no crops"),
        "{stderr}"
    );
}

#[test]
fn several_backbones_and_folders_stand_in_one_table() {
    let world = World::new();
    let protocol = world.folder.path().join("mine.toml");
    fs::write(&protocol, PROTOCOL).unwrap();
    let other = photos(&world.folder.path().join("other"));
    let arguments = [
        "--images",
        other.to_str().unwrap(),
        "--protocol",
        protocol.to_str().unwrap(),
        "--json",
    ];
    let (text, _) = world.run("probe", &arguments, 0);
    let found: Value = serde_json::from_str(&text).unwrap();
    let probes = found["probes"].as_array().unwrap();
    assert_eq!(probes.len(), 2);
    assert_eq!(probes[0]["measures"], probes[1]["measures"]);
    let [first, second] = [0, 1].map(|at| probes[at]["provenance"]["source"].to_string());
    assert!(first != second && second.contains("other"), "{second}");
    let one = world.run("probe", &["--backbone", "resnet18"], 1);
    assert!(
        one.1.contains("--weights are those of one backbone"),
        "{}",
        one.1
    );
}

#[test]
fn features_say_where_they_are() {
    let world = World::new();
    let file = world.folder.path().join("test.safetensors");
    let arguments = ["--split", "test", "--json", "--out", file.to_str().unwrap()];
    let (text, _) = world.run("features", &arguments, 0);
    let found: Value = serde_json::from_str(&text).unwrap();
    let tensors = candle_core::safetensors::load(&file, &Device::Cpu).unwrap();
    assert_eq!(tensors["features"].dims(), [12, 1280]);
    assert_eq!(
        (found["images"].as_u64(), found["width"].as_u64()),
        (Some(12), Some(1280))
    );
    let folder = PathBuf::from(found["folder"].as_str().unwrap());
    assert!(folder.join("view-000-shard-00000.safetensors").is_file());
}

#[test]
fn what_is_wrong_is_named_with_what_would_be_right() {
    let world = World::new();
    let refused = |arguments: &[&str], wanted: &str| {
        let (_, stderr) = world.run("probe", arguments, 1);
        assert!(stderr.contains(wanted), "{stderr}");
    };
    refused(
        &["--protocol", "clap"],
        "unknown protocol `clap`: valid are clip, clip_benchmark",
    );
    refused(
        &["--method", "mr3"],
        "the protocol clip has erm, uniform, mr2",
    );
    // Before any crop goes through the backbone.
    refused(
        &["--protocol", "mae"],
        "the 42 training images don't fill a batch of 16384",
    );
    assert!(!world.folder.path().join("cache").exists());
    refused(
        &["--feature", "mean"],
        "a convolutional net has only the published feature",
    );
    fs::write(world.photos.join("ash/0.png"), "no image").unwrap();
    refused(&[], "ash/0.png");
    let (text, _) = world.run("probe", &["--skip-bad-images"], 0);
    assert!(
        text.contains("1 file couldn't be decoded and was left out"),
        "{text}"
    );
    fs::write(&world.weights, "no weights").unwrap();
    refused(&["--skip-bad-images"], "model.safetensors");
    let (_, stderr) = expect(
        mr2()
            .args(["probe", "--backbone", "vit-b-61", "--images"])
            .arg(&world.photos),
        1,
    );
    assert!(stderr.contains("expected one of: resnet18"), "{stderr}");
}
