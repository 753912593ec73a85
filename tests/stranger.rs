//! What the crates' READMEs promise to someone outside this workspace: paste the dependency lines and the
//! example, and it builds and runs, without the network and with the versions that we test.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use toml::{Table, Value};

use crate::support::{expect, folder, root};

const CRATES: [&str; 8] = [
    "mr2-pickle",
    "mr2-stats",
    "mr2-loss",
    "mr2-nn",
    "mr2-backbones",
    "mr2-data",
    "mr2-metrics",
    "mr2-train",
];

/// Lines of a README at most.
const MOST_LINES: usize = 80;

/// Nothing is optimised: the examples are small, and building their dependencies is what takes time.
const PROFILE: &str = "[profile.dev]\ndebug = false\nincremental = false\n";

fn readme(name: &str) -> String {
    std::fs::read_to_string(root().join("crates").join(name).join("README.md")).unwrap()
}

/// The only code block of a README in `language`.
fn block(name: &str, language: &str) -> String {
    let text = readme(name);
    let fence = format!("```{language}\n");
    let mut blocks = text.split(&fence).skip(1);
    let block = blocks
        .next()
        .unwrap_or_else(|| panic!("{name}: the README has no block of {language}"));
    assert!(
        blocks.next().is_none(),
        "{name}: the README has two blocks of {language}"
    );
    block.split("```").next().unwrap().to_string()
}

/// The packages of `[dependencies]` in `text`.
fn dependencies(name: &str, text: &str) -> Table {
    let table: Table = toml::from_str(text).unwrap_or_else(|e| panic!("{name}: {e}"));
    table["dependencies"].as_table().unwrap().clone()
}

/// The manifest that a stranger makes of a README's lines, with the path of this checkout in them.
fn manifest(name: &str) -> String {
    let mut dependencies = dependencies(name, &block(name, "toml"));
    for (dependency, form) in &mut dependencies {
        let path = form.as_table_mut().unwrap().get_mut("path").unwrap();
        let written = path.as_str().unwrap();
        assert_eq!(
            written,
            format!("path/to/mr2/crates/{dependency}"),
            "{name}"
        );
        let here = root().join("crates").join(dependency);
        *path = Value::String(here.to_str().unwrap().to_string());
    }
    let package = Table::from_iter([
        ("name".to_string(), Value::String(example(name))),
        ("edition".to_string(), Value::String("2024".to_string())),
    ]);
    let manifest = Table::from_iter([
        ("package".to_string(), Value::Table(package)),
        ("dependencies".to_string(), Value::Table(dependencies)),
    ]);
    toml::to_string(&manifest).unwrap()
}

fn example(name: &str) -> String {
    format!("example-of-{name}")
}

/// A workspace with a package for each README, so that each has the dependencies that it names and no others.
fn write_project(project: &Path) {
    let members: Vec<String> = CRATES.map(example).to_vec();
    let workspace = format!("[workspace]\nresolver = \"3\"\nmembers = {members:?}\n\n{PROFILE}");
    std::fs::write(project.join("Cargo.toml"), workspace).unwrap();
    std::fs::copy(root().join("Cargo.lock"), project.join("Cargo.lock")).unwrap();
    for name in CRATES {
        let package = project.join(example(name));
        std::fs::create_dir_all(package.join("src")).unwrap();
        std::fs::write(package.join("Cargo.toml"), manifest(name)).unwrap();
        std::fs::write(package.join("src/main.rs"), block(name, "rust")).unwrap();
    }
}

fn cargo(project: &Path, arguments: &[&str]) -> Command {
    // Beside the workspace's own build, and kept: only the crates that changed are built again.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stranger");
    let mut cargo = Command::new(env!("CARGO"));
    // Rustup's `rustc` obeys the toolchain file of whatever package it compiles; the compiler beside cargo doesn't.
    let rustc = Path::new(env!("CARGO")).with_file_name("rustc");
    if rustc.is_file() {
        cargo.env("RUSTC", rustc);
    }
    cargo
        .args(arguments)
        .args(["--offline", "--quiet", "--target-dir"])
        .arg(target)
        .env("TMPDIR", project) // what an example leaves behind goes with the project
        .current_dir(project);
    cargo
}

/// Name, version and checksum of every package that comes from a registry.
fn locked(folder: &Path) -> BTreeSet<(String, String, String)> {
    let text = std::fs::read_to_string(folder.join("Cargo.lock")).unwrap();
    let lock: Table = toml::from_str(&text).unwrap();
    let field = |package: &Value, key: &str| Some(package.get(key)?.as_str()?.to_string());
    lock["package"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|p| {
            Some((
                field(p, "name")?,
                field(p, "version")?,
                field(p, "checksum")?,
            ))
        })
        .collect()
}

#[test]
fn every_readme_example_builds_and_runs_in_a_strangers_project() {
    let project = folder();
    write_project(project.path());
    expect(&mut cargo(project.path(), &["build", "--workspace"]), 0);
    for name in CRATES {
        let (shown, _) = expect(
            &mut cargo(project.path(), &["run", "--bin", &example(name)]),
            0,
        );
        assert!(!shown.is_empty(), "{name}: the example shows nothing");
    }
    let ours = locked(&root());
    let theirs = locked(project.path());
    assert!(theirs.len() > 50, "{theirs:?}");
    let others: Vec<_> = theirs.difference(&ours).collect();
    assert!(others.is_empty(), "other versions than ours: {others:?}");
}

#[test]
fn every_readme_is_short_and_gives_its_dependencies_by_path_and_by_repository() {
    for name in CRATES {
        let lines = readme(name).lines().count();
        assert!(lines < MOST_LINES, "{name}: {lines} lines");
        let text = block(name, "toml");
        let by_repository: String = text
            .lines()
            .filter_map(|line| line.strip_prefix("# "))
            .filter(|line| line.contains(" = "))
            .map(|line| format!("{line}\n"))
            .collect();
        let by_repository = dependencies(name, &format!("[dependencies]\n{by_repository}"));
        for (dependency, form) in &by_repository {
            // The project has no published address yet.
            assert_eq!(form["git"].as_str(), Some("<repository>"), "{dependency}");
        }
        let by_path = dependencies(name, &text);
        assert!(by_path.contains_key(name), "{name} is not in its own lines");
        assert!(
            by_path.keys().eq(by_repository.keys()),
            "{name}: {:?} by path, {:?} by repository",
            by_path.keys().collect::<Vec<_>>(),
            by_repository.keys().collect::<Vec<_>>()
        );
    }
}
