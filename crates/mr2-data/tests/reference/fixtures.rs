//! The fixture files and the small data sets made of them.

use mr2_data::{Checksum, Descriptor, ImageSet, Layout, Source, Split};
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// A fixture's tensors and its record.
pub struct Fixture {
    bytes: Vec<u8>,
}

impl Fixture {
    pub fn open(name: &str) -> Self {
        Fixture {
            bytes: std::fs::read(folder().join(name)).unwrap(),
        }
    }

    pub fn bytes(&self, name: &str) -> (Vec<usize>, Vec<u8>) {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let tensor = file.tensor(name).unwrap();
        assert_eq!(tensor.dtype(), Dtype::U8, "{name}");
        (tensor.shape().to_vec(), tensor.data().to_vec())
    }

    pub fn words(&self, name: &str) -> Vec<u32> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let data = file.tensor(name).unwrap().data();
        data.chunks_exact(4)
            .map(|w| u32::from_le_bytes(w.try_into().unwrap()))
            .collect()
    }

    pub fn floats(&self, name: &str) -> Vec<f32> {
        self.words(name).into_iter().map(f32::from_bits).collect()
    }

    pub fn record(&self) -> serde_json::Value {
        let (_, metadata) = SafeTensors::read_metadata(&self.bytes).unwrap();
        let text = metadata.metadata().as_ref().unwrap()["fixture"].clone();
        serde_json::from_str(&text).unwrap()
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}

/// The descriptor of one of the fixtures' data sets, read in one layout only.
pub fn descriptor(name: &str, classes: usize, layout: Layout) -> Descriptor {
    let grey = matches!(layout, Layout::Idx { .. });
    let channels = if grey { 1 } else { 3 };
    let fixed = !matches!(layout, Layout::ImageFolder { .. });
    let (height, width) = if grey { (5, 7) } else { (32, 32) };
    Descriptor {
        name: name.to_string(),
        summary: "a test".to_string(),
        source: "https://example.org/data".to_string(),
        licence: "none".to_string(),
        classes: (0..classes).map(|class| format!("class {class}")).collect(),
        channels,
        height: fixed.then_some(height),
        width: fixed.then_some(width),
        mean: vec![0.5; channels],
        std: vec![0.25; channels],
        train_images: None,
        test_images: None,
        label_order_md5: None,
        layouts: vec![layout],
        checksums: BTreeMap::<String, Checksum>::new(),
    }
}

pub fn idx_layout() -> Layout {
    Layout::Idx {
        train_images: "train-images-idx3-ubyte".to_string(),
        train_labels: "train-labels-idx1-ubyte".to_string(),
        test_images: "t10k-images-idx3-ubyte".to_string(),
        test_labels: "t10k-labels-idx1-ubyte".to_string(),
    }
}

/// The layouts of the tiny CIFAR-10, by name.
pub fn cifar10_layouts() -> [(&'static str, Layout); 4] {
    let pickles = [1, 2, 3, 4, 5].map(|i| format!("cifar-10-batches-py/data_batch_{i}"));
    let binaries = [1, 2, 3, 4, 5].map(|i| format!("cifar-10-batches-bin/data_batch_{i}.bin"));
    let pickle = |archive: Option<&str>| Layout::CifarPickle {
        archive: archive.map(str::to_string),
        label_key: "labels".to_string(),
        train: pickles.to_vec(),
        test: names(&["cifar-10-batches-py/test_batch"]),
    };
    [
        ("pickle", pickle(None)),
        ("archive", pickle(Some("cifar-10-python.tar.gz"))),
        (
            "binary",
            Layout::CifarBinary {
                labels_per_record: 1,
                train: binaries.to_vec(),
                test: names(&["cifar-10-batches-bin/test_batch.bin"]),
            },
        ),
        ("parquet", parquet("label", "plain_text")),
    ]
}

/// The layouts of the tiny CIFAR-100, by name.
pub fn cifar100_layouts() -> [(&'static str, Layout); 4] {
    let pickle = |archive: Option<&str>| Layout::CifarPickle {
        archive: archive.map(str::to_string),
        label_key: "fine_labels".to_string(),
        train: names(&["cifar-100-python/train"]),
        test: names(&["cifar-100-python/test"]),
    };
    [
        ("pickle", pickle(None)),
        ("archive", pickle(Some("cifar-100-python.tar.gz"))),
        (
            "binary",
            Layout::CifarBinary {
                labels_per_record: 2,
                train: names(&["cifar-100-binary/train.bin"]),
                test: names(&["cifar-100-binary/test.bin"]),
            },
        ),
        ("parquet", parquet("fine_label", "cifar100")),
    ]
}

pub fn parquet(label_column: &str, folder: &str) -> Layout {
    Layout::HubParquet {
        image_column: "img".to_string(),
        label_column: label_column.to_string(),
        train: vec![format!("{folder}/train-00000-of-00001.parquet")],
        test: vec![format!("{folder}/test-00000-of-00001.parquet")],
    }
}

/// All pixels of a set, image after image.
pub fn pixels(set: &ImageSet) -> Vec<u8> {
    (0..set.len())
        .flat_map(|index| set.image(index).unwrap().pixels.into_owned())
        .collect()
}

/// A set in memory whose pixels are a function of their position.
pub fn patterned(labels: Vec<u32>, classes: usize, side: usize, channels: usize) -> ImageSet {
    let names = (0..classes).map(|class| format!("class {class}")).collect();
    let pixels = (0..labels.len() * side * side * channels)
        .map(|i| ((i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8)
        .collect();
    let source = Source::Memory {
        pixels,
        height: side,
        width: side,
        channels,
    };
    ImageSet::new("patterned", Split::Train, names, labels, source).unwrap()
}
