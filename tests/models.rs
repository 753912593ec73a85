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
