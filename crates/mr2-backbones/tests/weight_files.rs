//! Files of weights as PyTorch, safetensors and the Hub have them, held to their twins in safetensors bit for
//! bit (`tests/reference/weight_files.py`).

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use candle_core::{CpuStorage, DType, Storage, Tensor};
use mr2_backbones::weights::{Format, WeightFile, read};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/weights")
}

/// The elements of a tensor in order, as bits.
fn bits(tensor: &Tensor) -> Vec<u64> {
    let tensor = tensor.flatten_all().unwrap().contiguous().unwrap();
    let (storage, _) = tensor.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else {
        panic!("a tensor that is not on the CPU")
    };
    match storage {
        CpuStorage::F16(v) => v.iter().map(|x| x.to_bits().into()).collect(),
        CpuStorage::BF16(v) => v.iter().map(|x| x.to_bits().into()).collect(),
        CpuStorage::F32(v) => v.iter().map(|x| x.to_bits().into()).collect(),
        CpuStorage::F64(v) => v.iter().map(|x| x.to_bits()).collect(),
        CpuStorage::U8(v) => v.iter().map(|&x| x.into()).collect(),
        CpuStorage::I16(v) => v.iter().map(|&x| x as u64).collect(),
        CpuStorage::I32(v) => v.iter().map(|&x| x as u64).collect(),
        CpuStorage::I64(v) => v.iter().map(|&x| x as u64).collect(),
        _ => panic!("a dtype without a test"),
    }
}

fn same(found: &WeightFile, twin: &WeightFile, name: &str) {
    let names = |file: &WeightFile| file.tensors.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(found), names(twin), "{name}");
    for (key, tensor) in &found.tensors {
        let expected = &twin.tensors[key];
        assert_eq!(tensor.dims(), expected.dims(), "{name} {key}");
        assert_eq!(tensor.dtype(), expected.dtype(), "{name} {key}");
        assert_eq!(bits(tensor), bits(expected), "{name} {key}");
    }
}

#[test]
fn both_formats_of_pytorch_give_what_safetensors_gives() {
    for (twin, files) in [
        (
            "dtypes",
            &["", "_protocol3", "_protocol4", "_protocol5"][..],
        ),
        ("nested", &["", "_protocol4"]),
        ("strided", &[""]),
    ] {
        let expected = read(&folder().join(format!("{twin}.safetensors"))).unwrap();
        assert_eq!(expected.format, Format::Safetensors);
        for protocol in files {
            for (format, kind) in [(Format::TorchZip, "zip"), (Format::TorchLegacy, "legacy")] {
                let name = format!("{twin}_{kind}{protocol}.pt");
                let found = read(&folder().join(&name)).unwrap();
                assert_eq!(found.format, format);
                same(&found, &expected, &name);
            }
        }
    }
    let views = read(&folder().join("views_legacy.pt")).unwrap();
    same(
        &views,
        &read(&folder().join("views_legacy.safetensors")).unwrap(),
        "views",
    );
}

#[test]
fn dtypes_that_candle_lacks_become_wider_ones_of_the_same_value() {
    let tensors = read(&folder().join("dtypes_zip.pt")).unwrap().tensors;
    let dtype = |name: &str| tensors[name].dtype();
    assert_eq!(dtype("int8"), DType::I64);
    assert_eq!(dtype("bool"), DType::U8);
    assert_eq!(dtype("int16"), DType::I16);
    assert_eq!(dtype("bfloat16"), DType::BF16);
    assert_eq!(tensors["scalar"].to_scalar::<i64>().unwrap(), 7);
    assert_eq!(tensors["empty"].dims(), [0, 3]);
    let column = |name: &str| {
        tensors[name]
            .flatten_all()
            .unwrap()
            .to_vec1::<i64>()
            .unwrap()
    };
    assert!(column("int8.negative").iter().all(|&x| x <= 0));
    assert_eq!(column("int8.negative")[0], -column("int8")[0]);
}

#[test]
fn folders_and_shards_are_read_as_one_file() {
    for (name, format) in [
        ("shards", Format::Safetensors),
        ("shards_bin", Format::TorchZip),
    ] {
        let found = read(&folder().join(name)).unwrap();
        let expected = read(&folder().join(format!("{name}.safetensors"))).unwrap();
        same(&found, &expected, name);
        assert_eq!(found.format, format);
        assert_eq!(found.sha256.len(), 64);
    }
    let index = folder().join("shards/model.safetensors.index.json");
    let found = read(&index).unwrap();
    assert_eq!(found.tensors.len(), 3);
    assert_eq!(found.metadata["format"], "pt");
    for name in [
        "model.safetensors",
        "open_clip_model.safetensors",
        "pytorch_model.bin",
        "open_clip_pytorch_model.bin",
    ] {
        let folder_of_one = tempfile::tempdir().unwrap();
        let source = match name.ends_with("bin") {
            true => "strided_legacy.pt",
            false => "strided.safetensors",
        };
        std::fs::copy(folder().join(source), folder_of_one.path().join(name)).unwrap();
        assert_eq!(read(folder_of_one.path()).unwrap().tensors.len(), 11);
    }
}

#[test]
fn the_sum_of_a_file_is_its_sha256() {
    let path = folder().join("views_legacy.pt");
    let found = read(&path).unwrap().sha256;
    let output = std::process::Command::new("sha256sum").arg(&path).output();
    if let Ok(output) = output {
        assert!(
            String::from_utf8(output.stdout)
                .unwrap()
                .starts_with(&found)
        );
    }
}
