#![no_main]
//! IDX: the bytes as a file of images and as a file of labels, gzipped if they say so.

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mr2_data::{Descriptor, Layout};
use mr2_fuzz::{Scratch, descriptor, read_all};

/// Images of 5 x 7 and their labels.
const IMAGES: &[u8] =
    include_bytes!("../../../crates/mr2-data/tests/fixtures/idx/train-images-idx3-ubyte");
const LABELS: &[u8] =
    include_bytes!("../../../crates/mr2-data/tests/fixtures/idx/train-labels-idx1-ubyte");

static SCRATCH: LazyLock<Scratch> = LazyLock::new(|| {
    let scratch = Scratch::new();
    scratch.write("good-images", IMAGES);
    scratch.write("good-labels", LABELS);
    scratch
});

fn pair(images: &str, labels: &str) -> Descriptor {
    let layout = Layout::Idx {
        train_images: images.to_string(),
        train_labels: labels.to_string(),
        test_images: images.to_string(),
        test_labels: labels.to_string(),
    };
    descriptor(layout, Some((5, 7)))
}

fuzz_target!(|bytes: &[u8]| {
    let name = match bytes {
        [0x1f, 0x8b, ..] => "bytes.gz",
        _ => "bytes",
    };
    // The reader takes either name for the other.
    let other = SCRATCH.path().join("bytes.gz");
    if name == "bytes" && other.exists() {
        std::fs::remove_file(other).expect("it is ours");
    }
    SCRATCH.write(name, bytes);
    let _ = read_all(&pair(name, "good-labels"), SCRATCH.path());
    let _ = read_all(&pair("good-images", name), SCRATCH.path());
});
