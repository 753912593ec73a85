//! Conventions of the tree that a reader may rely on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Files that git tracks or would track, so that build output is never read.
fn files(extension: &str) -> Vec<PathBuf> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    let listed = match output {
        Ok(o) if o.status.success() => String::from_utf8(o.stdout).unwrap(),
        _ => walk(&root()).join("\n"),
    };
    listed
        .lines()
        .map(|line| root().join(line))
        .filter(|p| p.extension().is_some_and(|e| e == extension) && p.exists())
        .collect()
}

/// Without git (a source archive), every file outside `target` and `runs`.
fn walk(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().to_string();
        if path.is_dir() {
            if !["target", "runs", ".git"].contains(&name.as_str())
                || path.ends_with("experiments/runs")
            {
                found.extend(walk(&path));
            }
        } else {
            found.push(
                path.strip_prefix(root())
                    .unwrap()
                    .to_string_lossy()
                    .to_string(),
            );
        }
    }
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap()
        .to_string_lossy()
        .to_string()
}

#[test]
fn dependencies_point_only_down() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("mr2-stats", &[][..]),
        ("mr2-nn", &[][..]),
        ("mr2-metrics", &[][..]),
        ("mr2-pickle", &[][..]),
        ("mr2-data", &["mr2-pickle"][..]),
        ("mr2-loss", &["mr2-stats", "mr2-nn"][..]),
        ("mr2-backbones", &["mr2-nn", "mr2-pickle"][..]),
        (
            "mr2-train",
            &["mr2-stats", "mr2-loss", "mr2-nn", "mr2-data", "mr2-metrics"][..],
        ),
        (
            "mr2",
            &[
                "mr2-stats",
                "mr2-loss",
                "mr2-nn",
                "mr2-backbones",
                "mr2-data",
                "mr2-metrics",
                "mr2-train",
            ][..],
        ),
    ]);
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut seen = BTreeSet::new();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let edges = allowed
            .get(name)
            .unwrap_or_else(|| panic!("{name} is not in the table of edges"));
        seen.insert(name.to_string());
        for dependency in package["dependencies"].as_array().unwrap() {
            let to = dependency["name"].as_str().unwrap();
            let dev = dependency["kind"].as_str() == Some("dev");
            if to.starts_with("mr2") && !dev {
                assert!(edges.contains(&to), "{name} must not depend on {to}");
            }
            if name == "mr2-metrics" && !dev {
                assert!(
                    !to.starts_with("candle"),
                    "mr2-metrics must not know Candle"
                );
            }
            if name != "mr2" && !dev {
                assert!(
                    !["clap", "toml"].contains(&to),
                    "only the root package knows {to}, not {name}"
                );
            }
        }
    }
    assert_eq!(
        seen.len(),
        allowed.len(),
        "a crate is missing from the workspace: {seen:?}"
    );
}

#[test]
fn every_rust_file_says_what_it_is_for() {
    for path in files("rs") {
        let text = std::fs::read_to_string(&path).unwrap();
        let head = text.lines().find(|l| !l.starts_with("#!")).unwrap_or("");
        assert!(
            head.starts_with("//!"),
            "{} must begin with //!",
            relative(&path)
        );
    }
}

#[test]
fn no_test_is_ignored_and_no_file_has_a_meaningless_name() {
    let ignored = ["#[", "ignore"].concat();
    for path in files("rs") {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            !text.contains(&ignored),
            "{} ignores a test",
            relative(&path)
        );
        let stem = path.file_stem().unwrap().to_string_lossy().to_string();
        for bad in ["utils", "util", "base", "common", "misc", "helpers"] {
            assert_ne!(stem, bad, "{}: name a file after its idea", relative(&path));
        }
    }
}

#[test]
fn front_pages_are_short() {
    for path in files("rs") {
        if path.ends_with("src/lib.rs") {
            let lines = std::fs::read_to_string(&path).unwrap().lines().count();
            assert!(lines <= 125, "{} has {lines} lines", relative(&path));
        }
    }
}

#[test]
fn unsafe_stays_in_its_places_and_each_block_has_its_reason() {
    for path in files("rs") {
        let name = relative(&path);
        if name == "tests/tidy.rs" {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap();
            if !code.contains("unsafe ") || code.contains("unsafe_") {
                continue;
            }
            assert!(
                name.starts_with("crates/mr2-nn/src/kernels/")
                    || name.starts_with("crates/mr2-backbones/src/weights/load/")
                    || name == "experiments/src/allocator.rs",
                "{name}:{}: unsafe outside of its places",
                number + 1
            );
            let above = &lines[number.saturating_sub(8)..=number];
            assert!(
                above
                    .iter()
                    .any(|l| l.contains("SAFETY") || l.contains("# Safety")),
                "{name}:{}: unsafe without a SAFETY comment",
                number + 1
            );
        }
    }
}

#[test]
fn no_config_struct_hides_defaults() {
    for path in files("rs") {
        let text = std::fs::read_to_string(&path).unwrap();
        let mut derives = "";
        for line in text.lines() {
            let place = format!("{}: {line}", relative(&path));
            let defines = line.contains("struct ") || line.contains("enum ");
            assert!(
                !(line.starts_with("impl Default for") && line.contains("Config")),
                "{place}"
            );
            assert!(
                !(defines && line.contains("Config") && derives.contains("Default")),
                "{place} derives Default"
            );
            // What may be absent is written as absent; anything else has a value of its own.
            let field_default = ["serde(", "default"].concat();
            assert!(
                !line.contains(&field_default) || line.contains("skip_serializing_if"),
                "{place}"
            );
            match line.trim_start().strip_prefix("#[derive(") {
                Some(list) => derives = list,
                None if defines => derives = "",
                None => {}
            }
        }
    }
}

#[test]
fn links_in_markdown_lead_somewhere() {
    for path in files("md") {
        let text = std::fs::read_to_string(&path).unwrap();
        for piece in text.split("](").skip(1) {
            let target = piece.split(')').next().unwrap().split('#').next().unwrap();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let file = path.parent().unwrap().join(target);
            assert!(file.exists(), "{}: dead link {target}", relative(&path));
        }
    }
}

#[test]
fn paths_and_tests_named_in_the_architecture_exist() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let sources: String = files("rs")
        .iter()
        .map(|p| std::fs::read_to_string(p).unwrap())
        .collect::<Vec<_>>()
        .join("\n");
    for name in text.split('`').skip(1).step_by(2) {
        if let Some(test) = name.strip_prefix("test:") {
            assert!(
                sources.contains(&format!("fn {test}(")),
                "ARCHITECTURE.md names a missing test: {test}"
            );
        } else if name.contains('/')
            && !name.contains([' ', '*', '<', '{'])
            && !name.contains("NAME")
        {
            assert!(
                root().join(name).exists(),
                "ARCHITECTURE.md names a missing path: {name}"
            );
        }
    }
}

#[test]
fn every_run_file_says_what_it_reproduces_and_is_in_the_index() {
    let index = std::fs::read_to_string(root().join("experiments/README.md")).unwrap();
    let mut count = 0;
    for path in files("toml") {
        let name = relative(&path);
        if !name.starts_with("experiments/runs/") {
            continue;
        }
        count += 1;
        let text = std::fs::read_to_string(&path).unwrap();
        for field in ["# reproduces:", "# command:", "# cost:", "# expected:"] {
            assert!(text.contains(field), "{name} lacks the line `{field}`");
        }
        let file = path.file_name().unwrap().to_string_lossy().to_string();
        assert!(
            index.contains(&file),
            "experiments/README.md does not list {file}"
        );
    }
    assert!(count > 0, "no run files found");
}
