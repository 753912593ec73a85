#![no_main]
//! Files of labels and of corrupted images: text, NumPy arrays, the pickles of CIFAR-N, the arrays of CIFAR-C.

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mr2_data::{Corruption, ImageSet, Source, Split, TestImages, TrainingLabels};
use mr2_fuzz::Scratch;

static SCRATCH: LazyLock<Scratch> = LazyLock::new(|| {
    let scratch = Scratch::new();
    // CIFAR-C's, for the test images below at five severities; what they are is told from the content.
    scratch.write("labels.npy", "0\n1\n2\n2\n".repeat(5).as_bytes());
    scratch
});

/// Grey images of 2 x 2, one for each label.
fn set(split: Split, labels: Vec<u32>) -> ImageSet {
    let pixels = vec![128; labels.len() * 12];
    let source = Source::Memory {
        pixels,
        height: 2,
        width: 2,
        channels: 3,
    };
    let classes = (0..4).map(|class| format!("class {class}")).collect();
    ImageSet::new("fuzzed", split, classes, labels, source).expect("it is a set")
}

static TRAIN: LazyLock<ImageSet> = LazyLock::new(|| {
    let labels = [[0, 1, 2, 2].repeat(4), vec![3; 4]].concat();
    set(Split::Train, labels)
});
static TEST: LazyLock<ImageSet> = LazyLock::new(|| set(Split::Test, vec![0, 1, 2, 2]));

fuzz_target!(|bytes: &[u8]| {
    SCRATCH.write("contrast.npy", bytes);
    let path = || "contrast.npy".into();
    let _ = TrainingLabels::File { path: path() }.apply(&TRAIN, SCRATCH.path());
    let cifar_n = TrainingLabels::CifarN {
        path: path(),
        key: "worse_label".to_string(),
    };
    let _ = cifar_n.apply(&TRAIN, SCRATCH.path());
    let cifar_c = TestImages::CifarC {
        path: ".".into(),
        corruption: Corruption::Contrast,
        severity: 5,
    };
    let _ = cifar_c.apply(&TEST, SCRATCH.path());
});
