//! `mr2 weights`: a cache as Python leaves it, without a network.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{expect, folder, mr2};

const COMMIT: &str = "1111111111111111111111111111111111111111";
/// What `printf '{"x":1}' | git hash-object --stdin` prints, and `sha256sum`.
const GIT_SHA1: &str = "9758f8161c9652d953d109cac63c71047844cf17";
const SHA256: &str = "5041bf1f713df204784353e82f6a4a535931cb64f1f4b4a5aeaffcb720918b22";

/// A cache with one file in it; returns its blob.
fn cache(home: &Path) -> PathBuf {
    let repository = home.join("hub/models--a--b");
    let blob = repository.join("blobs").join(GIT_SHA1);
    let snapshot = repository.join("snapshots").join(COMMIT);
    for folder in [blob.parent().unwrap(), &snapshot, &repository.join("refs")] {
        std::fs::create_dir_all(folder).unwrap();
    }
    std::fs::write(&blob, "{\"x\":1}").unwrap();
    std::fs::write(repository.join("refs/main"), COMMIT).unwrap();
    let link = Path::new("../../blobs").join(GIT_SHA1);
    std::os::unix::fs::symlink(link, snapshot.join("config.json")).unwrap();
    blob
}

fn weights(home: &Path, arguments: &[&str], status: i32) -> (String, String) {
    let mut command = mr2();
    for name in [
        "HF_HUB_CACHE",
        "HUGGINGFACE_HUB_CACHE",
        "HF_ENDPOINT",
        "HF_TOKEN",
        "HF_TOKEN_PATH",
    ] {
        command.env_remove(name);
    }
    command.env("HF_HOME", home).env("HF_HUB_OFFLINE", "1");
    expect(command.arg("weights").args(arguments), status)
}

#[test]
fn the_cache_is_listed_and_a_file_of_it_found_and_recorded() {
    let home = folder();
    let id = "hf:a/b:config.json";
    let (empty, _) = weights(home.path(), &["list"], 0);
    assert_eq!(empty, "No file of a model is in the cache.\n");
    let (_, error) = weights(home.path(), &["path", id], 1);
    assert!(
        error.contains("HF_HUB_OFFLINE forbids to fetch it"),
        "{error}"
    );
    cache(home.path());
    let (list, _) = weights(home.path(), &["list"], 0);
    assert!(
        list.ends_with(&format!("MB  hf:a/b@{COMMIT}:config.json\n")),
        "{list}"
    );
    let (path, _) = weights(home.path(), &["path", id], 0);
    assert_eq!(
        std::fs::read_to_string(path.trim_end()).unwrap(),
        "{\"x\":1}"
    );
    let (json, _) = weights(home.path(), &["path", id, "--json"], 0);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["sha256"], &json["bytes"]),
        (&SHA256.into(), &7.into())
    );
    let (said, _) = weights(home.path(), &["accept", id], 0);
    assert!(
        said.contains(&format!("Forgot commit {COMMIT}, SHA-256 {SHA256}")),
        "{said}"
    );
    let (_, error) = weights(home.path(), &["accept", id], 1);
    assert!(
        error.contains("nothing is recorded of hf:a/b:config.json"),
        "{error}"
    );
}

#[test]
fn a_damaged_file_is_found_by_reading_it() {
    let home = folder();
    let blob = cache(home.path());
    let (text, _) = weights(home.path(), &["verify"], 0);
    assert_eq!(text, format!("right    hf:a/b@{COMMIT}:config.json\n"));
    std::fs::write(&blob, "{\"x\":2}").unwrap();
    for which in [
        &["verify"][..],
        &["verify", "hf:a/b"],
        &["verify", "hf:a/b@main:config.json"],
    ] {
        let (text, error) = weights(home.path(), which, 1);
        assert!(text.starts_with("wrong "), "{text}");
        assert!(
            error.contains("1 of 1 files are not what was fetched"),
            "{error}"
        );
        assert!(
            error.contains(&format!("expected {GIT_SHA1}. Delete ")),
            "{error}"
        );
    }
    let (json, _) = weights(home.path(), &["verify", "--json"], 1);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["state"], "wrong");
    let (_, error) = weights(home.path(), &["verify", "hf:a/c"], 1);
    assert!(error.contains("hf:a/c is not in the cache"), "{error}");
}
