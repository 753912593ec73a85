//! A folder of image files, through the whole program: checked, trained on, evaluated.

use std::fs;
use std::path::{Path, PathBuf};

use image::{GrayImage, Luma};
use serde_json::Value;

use crate::support::{Tiny, expect};

const DESCRIPTOR: &str = r#"
name = "tiny"
summary = "three classes of image files"
source = "made by the test"
licence = "none"
classes = []
channels = 1

[[layouts]]
kind = "image_folder"
train = "train"
validation = "val"
test = "test"
"#;

/// Images of each class in a part.
const IMAGES: [(&str, u32); 3] = [("train", 15), ("val", 4), ("test", 4)];

/// The tiny run, on PNG files of several sizes in place of its IDX files.
fn tiny() -> Tiny {
    let tiny = Tiny::new();
    fs::write(tiny.path("datasets/tiny.toml"), DESCRIPTOR).unwrap();
    for (part, images) in IMAGES {
        for (class, name) in (0..).zip(["ash", "birch", "cedar"]) {
            let folder = files(&tiny).join(part).join(name);
            fs::create_dir_all(&folder).unwrap();
            for number in 0..images {
                let bright = |y: u32| if y % 3 == class { 150 } else { 10 };
                let noise = |x: u32, y: u32| ((x * 7919 + y * 104_729 + number * 31) % 97) as u8;
                let pixel = |x, y| Luma([noise(x, y) + bright(y)]);
                let image = GrayImage::from_fn(16 + number % 3, 18, pixel);
                image.save(folder.join(format!("{number}.png"))).unwrap();
            }
        }
    }
    let run = fs::read_to_string(tiny.path("tiny.toml")).unwrap();
    let (images_of, crop) = (
        "evaluation_transforms = [",
        "{ kind = \"centre_crop\", size = 16 }",
    );
    assert!(run.contains(images_of));
    let run = run.replace(images_of, &format!("{images_of}{crop}, "));
    fs::write(tiny.path("tiny.toml"), run).unwrap();
    tiny
}

fn files(tiny: &Tiny) -> PathBuf {
    tiny.path("datasets/tiny")
}

fn check(tiny: &Tiny, arguments: &[&str], status: i32) -> (String, String) {
    let mut command = tiny.command("data");
    expect(command.args(["check", "tiny"]).args(arguments), status)
}

#[test]
fn a_folder_of_images_is_checked_trained_on_and_evaluated() {
    let tiny = tiny();
    let (text, _) = check(&tiny, &[], 0);
    assert!(text.contains("69 images: each can be decoded\n"), "{text}");
    assert!(text.ends_with("tiny: whole\n"), "{text}");
    let (text, _) = check(&tiny, &["--json"], 0);
    let checked: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(checked["images_decoded"], 69);
    assert_eq!(checked["files"], Value::Array(Vec::new()));
    assert_eq!(checked["classes"][1]["name"], "birch");
    assert_eq!(checked["classes"][1]["images"]["validation"], 4);

    let run = tiny.trained("run");
    let written = fs::read(run.join("predictions.csv")).unwrap();
    let out = tiny.path("test.csv");
    expect(tiny.command("eval").arg(&run).arg("--out").arg(&out), 0);
    assert_eq!(fs::read(&out).unwrap(), written);
    let mut command = tiny.command("eval");
    command.arg(&run).args(["--split", "validation", "--out"]);
    expect(command.arg(&out), 0);
    assert_eq!(fs::read_to_string(&out).unwrap().lines().count(), 1 + 12);
}

#[test]
fn a_check_counts_and_names_the_images_that_cannot_be_decoded() {
    let tiny = tiny();
    let train = files(&tiny).join("train/birch");
    fs::write(train.join("3.png"), "no image").unwrap();
    let half = fs::read(train.join("5.png")).unwrap();
    fs::write(train.join("5.png"), &half[..half.len() / 2]).unwrap();
    let (stdout, message) = check(&tiny, &[], 1);
    assert_eq!(stdout, "");
    let counted = "data set tiny: 2 of 69 images can't be used:\n";
    assert!(message.contains(counted), "{message}");
    for file in ["3.png", "5.png"] {
        let named = format!("{}: cannot be decoded", train.join(file).display());
        assert!(message.contains(&named), "no {named} in {message}");
    }
    // Many are counted, and only the first are named.
    for number in 0..15 {
        for class in ["ash", "cedar"] {
            let file = files(&tiny).join(format!("train/{class}/{number}.png"));
            fs::write(file, "no image").unwrap();
        }
    }
    let (_, message) = check(&tiny, &[], 1);
    assert!(message.contains("tiny: 32 of 69 images"), "{message}");
    assert!(message.ends_with("\n  and 12 more\n"), "{message}");
    assert_eq!(message.matches("cannot be decoded").count(), 20);
}

#[test]
fn a_check_compares_the_size_of_every_image_with_the_descriptors() {
    let tiny = tiny();
    let sized = DESCRIPTOR.replace("channels = 1", "channels = 1\nheight = 18\nwidth = 16");
    fs::write(tiny.path("datasets/tiny.toml"), sized).unwrap();
    let (_, message) = check(&tiny, &[], 1);
    let named = |path: &Path, width| {
        let path = path.display();
        format!("{path}: image is 18 x {width} (height x width), expected 18 x 16")
    };
    // Two of three images are wider: 10 + 2 + 2 of each class.
    assert!(message.contains("tiny: 42 of 69 images"), "{message}");
    let first = files(&tiny).join("train/ash/1.png");
    assert!(message.contains(&named(&first, 17)), "{message}");
}
