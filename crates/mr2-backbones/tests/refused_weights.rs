//! Files of weights that are damaged, hostile or something else: what is said of them, and that nothing panics
//! or is run.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use candle_core::Device;
use mr2_backbones::weights::{Error, read};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/weights")
}

/// The message of the error that reading a fixture gives, with the folder left out.
fn message(path: &Path) -> String {
    let message = read(path).unwrap_err().to_string();
    let shown = path.display().to_string();
    assert!(message.starts_with(&shown), "{message}");
    message[shown.len() + 2..].to_string()
}

#[test]
fn what_is_no_dictionary_of_tensors_is_refused_with_a_reason() {
    let ran = Path::new("it-was-run");
    let alone = "If you trust the file, write its tensors alone in Python: \
                 torch.save(MODEL.state_dict(), NEW_FILE)";
    for kind in ["zip", "legacy"] {
        for (name, reason) in [
            (
                "wrong_hostile",
                "pickle: it asks for `posix.system`, which is not on the list (at byte ",
            ),
            (
                "wrong_model",
                "pickle: it asks for `torch.nn.modules.linear.Linear`, which is not on the list",
            ),
            ("wrong_nameless", "pickle: a tensor whose name is not text"),
            ("wrong_twice", "tensor a.b: two tensors have this name"),
            (
                "wrong_large",
                "tensor weight: with it the tensors take over 4 times the file",
            ),
        ] {
            let message = message(&folder().join(format!("{name}_{kind}.pt")));
            assert!(message.starts_with(reason), "{message}");
            assert_eq!(
                message.contains(alone),
                reason.starts_with("pickle"),
                "{message}"
            );
        }
    }
    assert!(!ran.exists());
    let script = read(&folder().join("wrong_script.pt"));
    assert!(matches!(script, Err(Error::TorchScript { .. })));
    assert!(
        message(&folder().join("wrong_pickle.pt"))
            .starts_with("it is a pickle, but not one that torch.save writes")
    );
}

#[test]
fn what_is_no_file_of_weights_is_named() {
    let root = tempfile::tempdir().unwrap();
    let check = |bytes: &[u8], expected: &str| {
        let path = root.path().join("model.bin");
        std::fs::write(&path, bytes).unwrap();
        let found = message(&path);
        assert!(found.starts_with(expected), "{found}");
    };
    check(b"", "it is empty");
    check(
        b"version https://git-lfs.github.com/spec/v1\n",
        "it is a pointer of Git LFS",
    );
    check(b"\n<!DOCTYPE html>", "it is a web page");
    check(b"abcdefghijkl", "its first bytes are [61, 62, 63, ");
    check(b"PK\x03\x04", "its zip archive is damaged");
    check(b"\x02\0\0\0\0\0\0\0{]", "damaged safetensors: ");
    let none = read(root.path()).unwrap_err().to_string();
    assert!(
        none.contains("holds no weights. Looked for: model.safetensors, "),
        "{none}"
    );
    let absent = message(&root.path().join("absent"));
    assert!(absent.starts_with("cannot be read: "), "{absent}");
}

#[test]
fn big_endian_numbers_are_refused() {
    let root = tempfile::tempdir().unwrap();
    for (name, from, to) in [
        (
            "strided_zip.pt",
            b"little".as_slice(),
            b"big\n\n\n".as_slice(),
        ),
        (
            "strided_legacy.pt",
            b"little_endianq\x02\x88",
            b"little_endianq\x02\x89",
        ),
    ] {
        let mut bytes = std::fs::read(folder().join(name)).unwrap();
        let at = bytes.windows(from.len()).position(|window| window == from);
        let at = at.unwrap();
        bytes[at..at + to.len()].copy_from_slice(to);
        let path = root.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        assert!(message(&path).contains("big-endian"), "{name}");
    }
}

#[test]
fn an_index_that_does_not_fit_its_shards_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let shard = "model-00001-of-00002.safetensors";
    std::fs::copy(folder().join("shards").join(shard), root.path().join(shard)).unwrap();
    let path = root.path().join("model.safetensors.index.json");
    let check = |map: &str, expected: &str| {
        std::fs::write(&path, format!("{{\"weight_map\": {map}}}")).unwrap();
        let found = read(root.path()).unwrap_err().to_string();
        assert!(found.contains(expected), "{found}");
    };
    check("{}", "it names no files");
    check("3", "index of shards: invalid type");
    check(
        r#"{"a": "../x"}"#,
        "\"../x\" is not the name of a file beside it",
    );
    check(
        r#"{"a": ".."}"#,
        "\"..\" is not the name of a file beside it",
    );
    check(
        r#"{"a": "gone.safetensors"}"#,
        "gone.safetensors: cannot be read: ",
    );
    let one = format!(r#"{{"a.weight": "{shard}"}}"#);
    check(&one, "it does not say that a.bias is in model-00001");
    let more = format!(r#"{{"a.weight": "{shard}", "a.bias": "{shard}", "c": "{shard}"}}"#);
    check(
        &more,
        "it says that c is in model-00001-of-00002.safetensors, which has no",
    );
}

/// The older format of PyTorch with `object` as the pickle that counts, and without storages.
fn legacy(object: &[u8]) -> Vec<u8> {
    let magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.";
    let machine = b"\x80\x02}X\x0d\0\0\0little_endian\x88s.";
    [magic, &machine[..], object, b"]."].concat()
}

#[test]
fn pickles_that_nest_or_repeat_without_end_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("bomb.pth");
    let check = |object: &[u8], expected: &str| {
        std::fs::write(&path, legacy(object)).unwrap();
        let found = message(&path);
        assert!(found.starts_with(expected), "{found}");
    };
    let endless = "it is nested too deep, or the same things are in it again and again";
    check(b"\x80\x02]q\x00h\x00a.", endless);
    // A parameter of a parameter of a parameter …
    let callees = b"h\x00".repeat(100_000);
    let start = b"\x80\x02ctorch._utils\n_rebuild_parameter\nq\x00";
    let chain = [start, &callees[..], b")R", &b"\x85R".repeat(99_999), b"."].concat();
    check(&chain, endless);
    // Each dictionary holds the one before twice; the first a list of numbers.
    let mut doubled = [
        b"\x80\x02](".to_vec(),
        b"K\x00".repeat(1000),
        b"eq\x00".to_vec(),
    ]
    .concat();
    for level in 0..60 {
        doubled.extend([
            b'}',
            b'(',
            b'K',
            0,
            b'h',
            level,
            b'K',
            1,
            b'h',
            level,
            b'u',
            b'q',
            level + 1,
        ]);
    }
    doubled.push(b'.');
    check(&doubled, endless);
    let long = [
        &b"\x80\x02}X\xe9\x03\0\0"[..],
        &[b'a'; 1001],
        &b"ctorch._utils\n_rebuild_tensor\n(NNNNtRs."[..],
    ];
    check(&long.concat(), "pickle: a tensor whose name is not text");
}

#[test]
fn files_that_are_cut_off_or_damaged_never_panic() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("damaged");
    let mut state = 1u64;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    };
    for name in [
        "nested_zip.pt",
        "nested_legacy_protocol4.pt",
        "strided_legacy.pt",
        "strided.safetensors",
        "views_legacy.pt",
    ] {
        let whole = std::fs::read(folder().join(name)).unwrap();
        for _ in 0..40 {
            std::fs::write(&path, &whole[..random(whole.len())]).unwrap();
            assert!(read(&path).is_err(), "{name}, cut off");
        }
        for _ in 0..150 {
            let mut bytes = whole.clone();
            for _ in 0..1 + random(3) {
                let at = random(bytes.len());
                bytes[at] = [0, 0xff, 0x7f, bytes[at] ^ 1 << random(8)][random(4)];
            }
            std::fs::write(&path, bytes).unwrap();
            if let Ok(file) = read(&path) {
                for tensor in file.tensors.values() {
                    tensor.to_device(&Device::Cpu).unwrap();
                }
            }
        }
    }
}
