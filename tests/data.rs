//! `mr2 data`: what is here, and whether it is what its descriptor says.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{Tiny, expect, folder, mr2, root, tiny_data};

fn data(data_root: &Path, arguments: &[&str], status: i32) -> (String, String) {
    let mut command = mr2();
    command.arg("data").args(arguments);
    expect(command.arg("--data-root").arg(data_root), status)
}

fn json(data_root: &Path, arguments: &[&str]) -> Value {
    let (stdout, _) = data(data_root, &[arguments, &["--json"]].concat(), 0);
    serde_json::from_str(&stdout).unwrap()
}

/// The message for a data set that is refused.
fn refusal(data_root: &Path) -> String {
    let (stdout, stderr) = data(data_root, &["check", "tiny"], 1);
    assert_eq!(stdout, "", "nothing is said of a data set that isn't whole");
    stderr
}

/// The small data set with a line more in its descriptor.
fn tiny_with(folder: &Path, line: &str) -> PathBuf {
    let root = tiny_data(folder);
    let path = root.join("tiny.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}\n{line}\n")).unwrap();
    root
}

#[test]
fn the_data_set_that_is_carried_is_whole() {
    let datasets = root().join("datasets");
    let (text, _) = data(&datasets, &["check", "fashion-mnist"], 0);
    let row = |name: &str| -> Vec<&str> {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].split_whitespace().collect()
    };
    assert_eq!(row("Ankle boot"), ["1000", "1000"]);
    assert_eq!(row("all"), ["10000", "10000"]);
    for file in ["train-images", "train-labels", "t10k-images", "t10k-labels"] {
        let status = text.lines().find(|line| line.starts_with(file)).unwrap();
        assert!(
            status.contains("SHA-256 of the content matches (") && status.contains(".gz"),
            "{status}"
        );
    }
    assert!(text.contains("in the order of the original release"));
    assert!(text.ends_with("fashion-mnist: whole\n"));
}

#[test]
fn a_check_as_json_has_the_counts_of_every_class_and_the_checksums() {
    let temporary = folder();
    let line =
        |sum: &str| format!("[checksums]\n\"t10k-labels-idx1-ubyte\" = {{ md5 = \"{sum}\" }}");
    // The message about a wrong sum names the right one.
    let message = refusal(&tiny_with(temporary.path(), &line("0")));
    let (_, found) = message.split_once("MD5 is ").unwrap();
    let sum = found.split_once(',').unwrap().0;
    let root = tiny_with(temporary.path(), &line(sum));
    let checked = json(&root, &["check", "tiny"]);
    assert_eq!(checked["name"], "tiny");
    assert_eq!(checked["images"]["train"], 90);
    assert_eq!(checked["classes"][2]["name"], "c");
    assert_eq!(checked["classes"][2]["images"]["test"], 10);
    let files = checked["files"].as_array().unwrap();
    let of = |name: &str| files.iter().find(|f| f["file"] == name).unwrap();
    assert_eq!(of("t10k-labels-idx1-ubyte")["checksum"]["md5"], sum);
    assert_eq!(of("train-images-idx3-ubyte")["checksum"], Value::Null);
    assert_eq!(checked["label_order_checked"], false);
    let (text, _) = data(&root, &["check", "tiny"], 0);
    assert!(text.contains("t10k-labels-idx1-ubyte: MD5 matches ("));
    assert!(text.contains("train-images-idx3-ubyte: no checksum is known, not checked"));
}

#[test]
fn a_missing_file_is_named_with_where_to_get_it_and_where_to_put_it() {
    let temporary = folder();
    let root = tiny_data(temporary.path());
    std::fs::remove_file(root.join("tiny/t10k-labels-idx1-ubyte")).unwrap();
    let message = refusal(&root);
    let place = root.join("tiny").display().to_string();
    for part in [
        "t10k-labels-idx1-ubyte",
        "Get it from made by the test",
        &place,
    ] {
        assert!(message.contains(part), "no {part:?} in {message}");
    }
    assert!(message.contains(&format!("ln -s /where/it/is {place}")));
}

#[test]
fn a_run_whose_data_is_missing_says_where_a_link_would_do() {
    let tiny = Tiny::new();
    let place = tiny.path("datasets/tiny");
    std::fs::remove_dir_all(&place).unwrap();
    let (_, message) = expect(&mut tiny.train("run"), 1);
    let link = format!(
        "Get it from made by the test and put it there; a link will do: ln -s /where/it/is {}",
        place.display()
    );
    assert!(message.contains(&link), "{message}");
}

#[test]
fn a_wrong_descriptor_is_not_called_wrong_data() {
    let temporary = folder();
    let line = "[checksums]\n\"train-images\" = { md5 = \"0\" }";
    let root = tiny_with(temporary.path(), line);
    let message = refusal(&root);
    let start = "error: descriptor of tiny: `checksums`: no layout compares \"train-images\"";
    assert!(message.starts_with(start), "{message}");
    let (text, _) = data(&root, &["list"], 0);
    assert!(text.contains("`mr2 data check tiny` says why"), "{text}");
}

#[test]
fn a_check_names_the_files_that_were_read_whatever_the_descriptor_calls_them() {
    let temporary = folder();
    let root = tiny_data(temporary.path());
    let path = root.join("tiny.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("-ubyte\"", "-ubyte.gz\"")).unwrap();
    let checked = json(&root, &["check", "tiny"]);
    assert_eq!(checked["files"][0]["file"], "train-images-idx3-ubyte");
    assert_eq!(checked["files"][3]["file"], "t10k-labels-idx1-ubyte");
}

#[test]
fn a_wrong_checksum_is_named_with_both_sums_and_where_to_get_the_file() {
    let temporary = folder();
    let root = tiny_with(
        temporary.path(),
        "[checksums]\n\"train-labels-idx1-ubyte\" = { content_sha256 = \"abc123\" }",
    );
    let message = refusal(&root);
    let file = root.join("tiny/train-labels-idx1-ubyte");
    for part in [
        "data set tiny is not what its descriptor says",
        "made by the test",
        &file.display().to_string(),
        "expected abc123",
        "SHA-256 of the content is ",
        "get it again",
    ] {
        assert!(message.contains(part), "no {part:?} in {message}");
    }
}

#[test]
fn a_truncated_file_is_named_with_its_size_and_what_was_expected() {
    let temporary = folder();
    let root = tiny_data(temporary.path());
    let path = root.join("tiny/train-images-idx3-ubyte");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let message = refusal(&root);
    for part in [
        "data set tiny is not what its descriptor says (it can be had from made by the test)",
        &path.display().to_string(),
        "incomplete: get it again",
    ] {
        assert!(message.contains(part), "no {part:?} in {message}");
    }
}

#[test]
fn a_truncated_archive_is_named() {
    let temporary = folder();
    let carried = root().join("datasets");
    let copy = temporary.path().join("fashion-mnist");
    std::fs::create_dir(&copy).unwrap();
    for entry in std::fs::read_dir(carried.join("fashion-mnist")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    let descriptor = temporary.path().join("fashion-mnist.toml");
    std::fs::copy(carried.join("fashion-mnist.toml"), &descriptor).unwrap();
    let path = copy.join("t10k-images-idx3-ubyte.gz");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 1000]).unwrap();
    let (_, stderr) = data(temporary.path(), &["check", "fashion-mnist"], 1);
    for part in [
        "t10k-images-idx3-ubyte.gz",
        "get it again",
        "https://github.com/zalandoresearch/fashion-mnist",
    ] {
        assert!(stderr.contains(part), "no {part:?} in {stderr}");
    }
    let listed = json(temporary.path(), &["list"]);
    assert_eq!(listed[0]["state"], "refused");
    let problem = listed[0]["problem"].as_str().unwrap();
    assert!(problem.contains("t10k-images-idx3-ubyte.gz"), "{problem}");
}

#[test]
fn the_list_tells_what_is_here_and_where_the_rest_is_to_be_had() {
    let datasets = root().join("datasets");
    let listed = json(&datasets, &["list"]);
    let of = |name: &str| {
        let mut list = listed.as_array().unwrap().iter();
        list.find(|data| data["name"] == name).unwrap()
    };
    assert_eq!(of("fashion-mnist")["state"], "here");
    assert_eq!(of("fashion-mnist")["problem"], Value::Null);
    let temporary = folder();
    std::fs::copy(
        datasets.join("cifar10.toml"),
        temporary.path().join("cifar10.toml"),
    )
    .unwrap();
    let (text, _) = data(temporary.path(), &["list"], 0);
    assert!(
        text.starts_with("cifar10              not here  CIFAR-10"),
        "{text}"
    );
    assert!(text.contains("from https://www.cs.toronto.edu/~kriz/cifar.html"));
    assert!(text.contains(&format!(
        "into {}",
        temporary.path().join("cifar10").display()
    )));
}

#[test]
fn an_unknown_data_set_is_refused_with_the_known_ones() {
    let datasets = root().join("datasets");
    let (_, stderr) = data(&datasets, &["check", "fashion"], 1);
    assert!(
        stderr.contains("unknown data set `fashion`") && stderr.contains("fashion-mnist-full"),
        "{stderr}"
    );
}
