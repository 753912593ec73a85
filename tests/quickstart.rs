//! The README's first command at smoke size.

use crate::support::{expect, folder, quickstart, tiny_data};

const DESCRIPTOR: &str = r#"
name = "tiny"
summary = "three classes of 16 x 16 images"
source = "made by the test"
licence = "none"
classes = ["a", "b", "c"]
channels = 1
height = 16
width = 16
mean = [0.3]
std = [0.3]

[[layouts]]
kind = "idx"
train_images = "train-images-idx3-ubyte"
train_labels = "train-labels-idx1-ubyte"
test_images = "t10k-images-idx3-ubyte"
test_labels = "t10k-labels-idx1-ubyte"
"#;

#[test]
fn finished_runs_are_reused_and_the_table_is_the_same() {
    let place = folder();
    let data = tiny_data(place.path());
    std::fs::write(data.join("tiny.toml"), DESCRIPTOR).unwrap();
    let run = || {
        let mut command = quickstart();
        command
            .arg("--out")
            .arg(place.path().join("runs"))
            .arg("--data-root")
            .arg(&data);
        command.args([
            "--seeds",
            "2",
            "--set",
            "data.dataset=tiny",
            "--set",
            "training.epochs=1",
        ]);
        command.args([
            "--set",
            "data.images_per_batch=30",
            "--set",
            "data.train_transforms=[]",
        ]);
        command
    };
    let (first, _) = expect(&mut run(), 0);
    assert!(first.contains("ERM") && first.contains("MR²"), "{first}");
    let (second, progress) = expect(&mut run(), 0);
    assert!(progress.contains("reused"), "{progress}");
    assert_eq!(first, second);
}
