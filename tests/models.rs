//! `mr2 models`: the backbones and their sizes.

use serde_json::Value;

use crate::support::{expect, mr2};

fn models(arguments: &[&str]) -> String {
    expect(mr2().arg("models").args(arguments), 0).0
}

#[test]
fn the_table_has_a_line_for_each_backbone_with_what_its_json_says() {
    let list: Vec<Value> = serde_json::from_str(&models(&["--json"])).unwrap();
    let table = models(&[]);
    let mut lines = table.lines();
    let heads: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(heads.join(" "), "name parameters features what it is");
    assert_eq!(lines.clone().count(), list.len());
    assert!(list.len() > 20, "{table}");
    for (line, entry) in lines.zip(&list) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let text = |key: &str| entry[key].as_str().unwrap();
        let number = |key: &str| entry[key].as_u64().unwrap().to_string();
        assert_eq!(words[0], text("name"));
        assert_eq!(words[1..3], [number("parameters"), number("features")]);
        assert!(line.ends_with(text("summary")), "{line}");
    }
}

#[test]
fn sizes_are_those_of_the_classes_and_channels_that_are_asked_for() {
    let parameters = |arguments: &[&str]| {
        let list: Vec<Value> = serde_json::from_str(&models(arguments)).unwrap();
        let resnet8 = list.iter().find(|entry| entry["name"] == "resnet8");
        resnet8.unwrap()["parameters"].as_u64().unwrap()
    };
    let of_cifar10 = 75_290;
    assert_eq!(parameters(&["--json", "--classes", "10"]), of_cifar10);
    // 64 features and a bias for each class, 16 kernels of 3 × 3 for each channel.
    assert_eq!(parameters(&["--json"]), of_cifar10 + 90 * 65);
    let grey = ["--json", "--classes", "10", "--channels", "1"];
    assert_eq!(parameters(&grey), of_cifar10 - 2 * 16 * 9);
}

#[test]
fn pretrained_backbones_say_where_their_weights_are_and_what_images_they_want() {
    let list: Vec<Value> = serde_json::from_str(&models(&["--pretrained", "--json"])).unwrap();
    let table = models(&["--pretrained"]);
    assert_eq!(table.lines().count(), list.len() + 3);
    let clip = list
        .iter()
        .find(|entry| entry["name"] == "clip-vit-b-16")
        .unwrap();
    assert_eq!(clip["weights"], "hf:openai/clip-vit-base-patch16");
    assert_eq!(clip["preprocessing"]["crop"], 224);
    assert_eq!(clip["positions"], "transformers");
    let line = table
        .lines()
        .find(|line| line.starts_with("clip-vit-b-16 "))
        .unwrap();
    assert!(
        line.contains("224 to 224, bicubic") && line.contains("MIT"),
        "{line}"
    );
    let moco = table
        .lines()
        .find(|line| line.starts_with("moco-v2-resnet50"))
        .unwrap();
    assert!(moco.contains("a file: --weights FILE"), "{moco}");
}
