//! Tables at smoke size: trained once, shared, killed and resumed, sharded, reported.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{expect, folder, root, table_program, texts};

/// Every table: its file, and what `--help` must say it reproduces.
fn tables() -> Vec<String> {
    let entries = std::fs::read_dir(root().join("experiments/tables")).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().to_string())
        .collect();
    names.sort();
    names
}

fn smoke(table: &str, runs: &Path, out: &Path) -> Command {
    let mut command = table_program(table);
    command.args(["--scale", "smoke", "--threads", "1"]);
    command.arg("--runs").arg(runs).arg("--out").arg(out);
    // Committed results must not stand in for what is tested here.
    command.arg("--results").arg(runs.join("none"));
    command
}

fn run_folders(runs: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(runs).unwrap().map(|entry| entry.unwrap());
    let finished = entries.filter(|entry| entry.path().join("result.json").is_file());
    finished
        .map(|entry| entry.file_name().to_string_lossy().to_string())
        .collect()
}

/// The files of a report but its plots.
fn pages(out: &Path, table: &str) -> Vec<(PathBuf, Vec<u8>)> {
    ["json", "md", "tex", "html"]
        .map(|ending| {
            let path = out.join(format!("{table}-SMOKE.{ending}"));
            let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            (path.strip_prefix(out).unwrap().to_path_buf(), bytes)
        })
        .into()
}

#[test]
fn every_table_has_a_program_an_index_row_and_runs_at_smoke_size() {
    let index = std::fs::read_to_string(root().join("experiments/README.md")).unwrap();
    let place = folder();
    let runs = place.path().join("runs");
    let begun = Instant::now();
    for table in tables() {
        assert!(
            index.contains(&format!("tables/{table}.toml")),
            "experiments/README.md doesn't list tables/{table}.toml"
        );
        let out = place.path().join(&table);
        let (stdout, _) = expect(&mut smoke(&table, &runs, &out), 0);
        assert!(stdout.starts_with("SMOKE"), "{table}: {stdout}");
        let page = String::from_utf8(pages(&out, &table)[1].1.clone()).unwrap();
        assert!(page.contains("its numbers mean nothing"), "{table}: {page}");
    }
    let seconds = begun.elapsed().as_secs();
    assert!(
        seconds < 180,
        "the smoke runs of all tables took {seconds} s"
    );
}

#[test]
fn a_run_that_two_tables_need_is_trained_once() {
    let place = folder();
    let runs = place.path().join("runs");
    expect(&mut smoke("table1", &runs, &place.path().join("a")), 0);
    let trained = run_folders(&runs);
    assert_eq!(trained.len(), 6, "two arms, three seeds");
    let (_, stderr) = expect(&mut smoke("fig1", &runs, &place.path().join("b")), 0);
    assert_eq!(stderr, "", "table1's ERM runs are all that fig1 needs");
    assert_eq!(run_folders(&runs), trained);
}

#[test]
fn a_grid_killed_at_ten_moments_gives_the_same_table_to_the_byte() {
    let place = folder();
    let (whole, killed) = (place.path().join("whole"), place.path().join("killed"));
    let out = |name: &str| place.path().join(name);
    expect(&mut smoke("table1", &whole, &out("a")), 0);
    // Spread over what the grid takes, by a generator with a fixed seed.
    let mut state = 0x9e37_79b9_u64;
    for _ in 0..10 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let wait = Duration::from_millis(50 + (state >> 33) % 700);
        let mut command = smoke("table1", &killed, &out("b"));
        let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = quiet.spawn().unwrap();
        std::thread::sleep(wait);
        // SIGKILL; it may have ended before.
        let _ = child.kill();
        child.wait().unwrap();
    }
    expect(&mut smoke("table1", &killed, &out("b")), 0);
    assert_eq!(pages(&out("a"), "table1"), pages(&out("b"), "table1"));
}

#[test]
fn shards_share_the_runs_and_their_folders_together_are_the_whole() {
    let place = folder();
    let runs = [place.path().join("1"), place.path().join("2")];
    for (number, runs) in runs.iter().enumerate() {
        let shard = format!("{}/2", number + 1);
        let mut command = smoke("table1", runs, &place.path().join("out"));
        let output = command.args(["--shard", &shard]).output().unwrap();
        // A share without any run of the reference has no table yet.
        assert!(
            [Some(0), Some(1)].contains(&output.status.code()),
            "{:?}",
            texts(&output)
        );
    }
    let (first, second) = (run_folders(&runs[0]), run_folders(&runs[1]));
    assert!(first.is_disjoint(&second));
    assert_eq!(first.len() + second.len(), 6);
    for name in &second {
        std::fs::rename(runs[1].join(name), runs[0].join(name)).unwrap();
    }
    let out = place.path().join("out");
    let (_, stderr) = expect(&mut smoke("table1", &runs[0], &out), 0);
    assert_eq!(stderr, "", "nothing is left to train");
}

#[test]
fn a_failed_run_is_tried_again_listed_and_the_table_has_the_others() {
    let place = folder();
    let (runs, out) = (place.path().join("runs"), place.path().join("out"));
    expect(&mut smoke("table1", &runs, &out), 0);
    let json = std::fs::read(out.join("table1-SMOKE.json")).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let key = json["data"]["blocks"][0]["runs"]["MR² recommended"]["2"]
        .as_str()
        .unwrap();
    // A file where the folder is to be: the run can't be trained.
    std::fs::remove_dir_all(runs.join(key)).unwrap();
    std::fs::write(runs.join(key), "in the way").unwrap();
    let (stdout, stderr) = expect(&mut smoke("table1", &runs, &out), 3);
    assert!(stderr.contains("tried once more"), "{stderr}");
    assert!(stderr.contains("given up"), "{stderr}");
    assert!(stdout.contains("(2)"), "two seeds are left: {stdout}");
    let page = std::fs::read_to_string(out.join("table1-SMOKE.md")).unwrap();
    assert!(
        page.contains("MR² recommended: no result of seed 2."),
        "{page}"
    );
    assert!(page.contains("Failed runs"), "{page}");
}

#[test]
fn a_dry_run_lists_what_is_missing_with_its_cost_and_trains_nothing() {
    let place = folder();
    let runs = place.path().join("runs");
    let mut command = smoke("table1", &runs, &place.path().join("out"));
    let (stdout, _) = expect(command.arg("--dry-run"), 0);
    assert!(stdout.contains("   3 × ERM seed 1: 7 steps of"), "{stdout}");
    assert!(stdout.contains("6 runs to do:"), "{stdout}");
    assert!(!runs.exists(), "nothing is trained");
}

#[test]
fn an_arm_that_is_not_there_is_named_with_those_that_are() {
    let place = folder();
    let mut command = smoke("table1", place.path(), place.path());
    let (_, stderr) = expect(command.args(["--only", "ERN"]), 1);
    assert!(
        stderr.contains("--only ERN: no such arm; there are ERM,"),
        "{stderr}"
    );
}
