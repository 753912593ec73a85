//! The descriptors in `datasets/` and the Fashion-MNIST that the repository carries.

use mr2_data::candle_core::Device;
use mr2_data::{
    Checksum, Descriptor, Loader, Pipeline, Transform, ValidationConfig, open, pixel_statistics,
};
use std::path::{Path, PathBuf};

fn datasets() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets")
}

fn read(name: &str) -> Descriptor {
    let path = datasets().join(name);
    toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn descriptors() -> Vec<(String, Descriptor)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(datasets()).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            let name = path.file_name().unwrap().to_str().unwrap().to_string();
            found.push((name.clone(), read(&name)));
        }
    }
    found
}

#[test]
fn every_descriptor_is_valid_and_named_as_its_file() {
    let all = descriptors();
    assert!(all.len() >= 5);
    for (file, descriptor) in all {
        descriptor.validate().unwrap();
        assert_eq!(file, format!("{}.toml", descriptor.name));
        for sum in descriptor.checksums.values() {
            let (digits, expected) = match sum {
                Checksum::Md5(sum) => (sum, 32),
                Checksum::Sha256(sum) | Checksum::ContentSha256(sum) => (sum, 64),
            };
            assert!(digits.len() == expected && digits.bytes().all(|b| b.is_ascii_hexdigit()));
        }
        // What a root folder may hold is in the list of data sets.
        let listed = std::fs::read_to_string(datasets().join("README.md")).unwrap();
        assert!(
            listed.contains(&format!("]({file})")),
            "{file} is not in datasets/README.md"
        );
    }
}

#[test]
fn cifar_descriptors_have_the_names_and_fingerprints_of_the_release() {
    let (ten, hundred) = (read("cifar10.toml"), read("cifar100.toml"));
    assert_eq!((ten.classes.len(), hundred.classes.len()), (10, 100));
    assert!(hundred.classes.is_sorted());
    assert_eq!(
        ten.label_order_md5.as_deref(),
        Some("69c5f3349be54915edfca558b72ad888")
    );
    assert_eq!(
        hundred.label_order_md5.as_deref(),
        Some("00c0899b82d482aefa46cdb301dbaf9c")
    );
}

#[test]
fn the_carried_subset_is_class_balanced_and_as_described() {
    let descriptor = read("fashion-mnist.toml");
    let root = datasets().join("fashion-mnist");
    let validation = ValidationConfig {
        per_class: 100,
        seed: 0,
    };
    let splits = open(&descriptor, &root, Some(validation)).unwrap();
    assert_eq!(splits.train.counts(), [900; 10]);
    assert_eq!(splits.validation.unwrap().counts(), [100; 10]);
    assert_eq!(splits.test.counts(), [1000; 10]);
    let whole = open(&descriptor, &root, None).unwrap();
    let found = pixel_statistics(&whole.train).unwrap();
    assert!((found.mean[0] - descriptor.mean[0]).abs() < 1e-6);
    assert!((found.std[0] - descriptor.std[0]).abs() < 1e-6);
    let normalize = Transform::Normalize {
        mean: descriptor.mean,
        std: descriptor.std,
    };
    let pipeline = Pipeline::new(vec![normalize]).unwrap();
    let loader = Loader::for_evaluation(whole.test, pipeline, 512, 1, &Device::Cpu).unwrap();
    let batch = loader.epoch(0, 0).next().unwrap().unwrap();
    assert_eq!(batch.images.dims(), [512, 1, 28, 28]);
}

#[test]
fn the_carried_subset_is_small_and_has_its_licence() {
    let folder = datasets().join("fashion-mnist");
    let sizes = std::fs::read_dir(&folder)
        .unwrap()
        .map(|e| e.unwrap().metadata().unwrap().len());
    assert!(sizes.sum::<u64>() <= 10_000_000);
    let licence = std::fs::read_to_string(folder.join("LICENSE")).unwrap();
    assert!(licence.contains("MIT") && licence.contains("Zalando"));
}

#[test]
fn the_carried_files_match_their_list_of_checksums() {
    use sha2::{Digest, Sha256};
    let folder = datasets().join("fashion-mnist");
    let list = std::fs::read_to_string(folder.join("SHA256SUMS")).unwrap();
    assert_eq!(list.lines().count(), 4);
    for line in list.lines() {
        let (expected, name) = line.split_once("  ").unwrap();
        let digest = Sha256::digest(std::fs::read(folder.join(name)).unwrap());
        let found: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, expected, "{name}");
    }
}
