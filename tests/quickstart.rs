//! The README's first command at smoke size: run, reuse, stop, resume, restart.

use std::path::Path;
use std::process::Command;

use mr2_train::{Predictions, RunDir};

use crate::support::{
    expect, folder, lines_of_metrics, quickstart, signal, start_until, texts, tiny_data,
};

/// A folder for the quickstart's runs, with data for it.
struct Place {
    folder: tempfile::TempDir,
    data: std::path::PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = folder();
        let data = tiny_data(folder.path());
        Self { folder, data }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// `seeds` runs of every arm, two epochs of three steps each, into `out`.
    fn quickstart(&self, out: &str, seeds: usize) -> Command {
        let mut command = quickstart();
        command.arg("--out").arg(self.path(out));
        command.arg("--data-root").arg(&self.data);
        command.args(["--seeds", &seeds.to_string()]);
        for change in [
            "data.dataset=tiny",
            "data.images_per_batch=30",
            "data.train_transforms=[]",
            "training.epochs=2",
        ] {
            command.args(["--set", change]);
        }
        command
    }
}

const ARMS: [&str; 3] = ["erm", "uniform", "mr2"];
const NAMES: [&str; 3] = ["ERM", "uniform γ", "MR²"];

/// The numbers of each method's row in the table `title`; columns are two spaces or more apart.
fn table(text: &str, title: &str, methods: &[&str]) -> Vec<Vec<String>> {
    let mut lines = text
        .lines()
        .skip_while(|line| !line.starts_with(title))
        .skip(1);
    let cells = |line: Option<&str>| -> Vec<String> {
        let line = line.unwrap_or_else(|| panic!("no {title} in {text}"));
        let cells = line
            .split("  ")
            .map(str::trim)
            .filter(|cell| !cell.is_empty());
        cells.map(String::from).collect()
    };
    let columns = [
        "method",
        "overall",
        "easy",
        "medium",
        "hard",
        "worst class",
        "own minimum",
        "easy−hard gap",
    ];
    assert_eq!(cells(lines.next()), columns, "{text}");
    lines.next();
    let rows: Vec<Vec<String>> = methods.iter().map(|_| cells(lines.next())).collect();
    let names: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(names, methods, "{text}");
    rows.into_iter().map(|row| row[1..].to_vec()).collect()
}

/// Makes the first `right` images of each class those that the finished run has right.
fn rewrite(run: &Path, right: [usize; 3]) {
    let file = run.join("predictions.safetensors");
    let mut written = Predictions::read(&file).unwrap();
    let mut seen = [0; 3];
    for (label, prediction) in written.labels.iter().zip(&mut written.predictions) {
        let class = *label as usize;
        seen[class] += 1;
        *prediction = if seen[class] <= right[class] {
            *label
        } else {
            (label + 1) % 3
        };
    }
    std::fs::write(&file, written.to_safetensors().unwrap()).unwrap();
}

#[test]
fn it_ends_with_the_table_the_differences_with_their_intervals_and_what_they_say_in_a_line() {
    let place = Place::new();
    expect(&mut place.quickstart("runs", 2), 0);
    // Images right of ten of each class; MR² has 2 and 1 more than ERM of the last.
    for (arm, first, second) in [
        ("erm", [9, 7, 4], [9, 8, 5]),
        ("uniform", [9, 7, 4], [9, 8, 5]),
        ("mr2", [9, 7, 6], [9, 8, 6]),
    ] {
        rewrite(&place.path(&format!("runs/{arm}-seed1")), first);
        rewrite(&place.path(&format!("runs/{arm}-seed2")), second);
    }
    let (text, progress) = expect(&mut place.quickstart("runs", 2), 0);
    let [main, differences] = ["Accuracy in %", "Difference to ERM in percentage points"];
    let rows = table(&text, main, &NAMES);
    let erm = "70.0 ± 4.7 (2), 90.0 ± 0.0 (2), 75.0 ± 7.1 (2), 45.0 ± 7.1 (2), 45.0 ± 7.1 (2), 45.0 ± 7.1 (2), \
               45.0 ± 7.1 (2)";
    assert_eq!(rows[0].join(", "), erm);
    let rows = table(&text, differences, &NAMES[1..]);
    assert_eq!(rows[0], ["identical"; 7]);
    // t = 12.71 for two seeds: 12.71 · 7.07 / √2 = 63.5.
    let hard = "+15.0 [-48.5, +78.5]";
    let mr2 = [
        "+5.0 [-16.2, +26.2]",
        "identical",
        "identical",
        hard,
        hard,
        hard,
        "-15.0 [-78.5, +48.5]",
    ];
    assert_eq!(rows[1], mr2);
    for note in [
        "cross-fitted",
        "Student's t interval at 95 %",
        "ρ(test accuracy, m + v) = ",
    ] {
        assert!(text.contains(note), "{note}: {text}");
    }
    let last = text.lines().last().unwrap();
    let says = [
        "In short: ",
        "premise",
        "no difference to ERM in overall accuracy, hard third or worst class",
    ];
    assert!(
        says.iter().all(|part| last.contains(part)) && last.starts_with(says[0]),
        "{text}"
    );
    // After seed 1 only that run could choose the classes, and one seed has no spread.
    let (_, first) = progress.split_once("After seed 1").unwrap();
    let erm = "66.7 (1), 90.0 (1), 70.0 (1), 40.0 (1), 40.0 (1), 40.0 (1), 50.0 (1)";
    assert_eq!(table(first, main, &NAMES)[0].join(", "), erm);
    let mr2 = [
        "+6.7",
        "identical",
        "identical",
        "+20.0",
        "+20.0",
        "+20.0",
        "-20.0",
    ];
    assert_eq!(table(first, differences, &NAMES[1..])[1], mr2);
    assert!(first.contains("same run, optimistic"), "{first}");
    let mut json = place.quickstart("runs", 2);
    let (printed, _) = expect(json.args(["--json", "--quiet"]), 0);
    let written = std::fs::read_to_string(place.path("runs/report/report.json")).unwrap();
    assert_eq!(printed, written);
}

#[test]
fn the_result_is_printed_even_where_the_report_cannot_be_written() {
    let place = Place::new();
    std::fs::create_dir_all(place.path("runs")).unwrap();
    std::fs::write(place.path("runs/report"), "mine").unwrap();
    let (text, stderr) = expect(&mut place.quickstart("runs", 1), 1);
    table(&text, "Accuracy in %", &NAMES);
    assert!(
        text.lines().last().unwrap().starts_with("In short: "),
        "{text}"
    );
    assert!(!text.contains("report.html"), "{text}");
    assert!(
        stderr.contains("runs/report: is a file; name a folder"),
        "{stderr}"
    );
}

#[test]
fn the_first_table_comes_with_the_first_seed_and_finished_runs_are_reused() {
    let place = Place::new();
    let (first, progress) = expect(&mut place.quickstart("runs", 2), 0);
    let (before, after) = progress
        .split_once("After seed 1 (more seeds follow):\n")
        .unwrap_or_else(|| panic!("{progress}"));
    assert!(before.contains("MR² seed 1: epoch 2"), "{before}");
    assert!(!before.contains("seed 2"), "{before}");
    let (table, rest) = after.split_once("ERM seed 2: epoch 1").unwrap();
    assert!(rest.contains("MR² seed 2: epoch 2"), "{rest}");
    for name in NAMES {
        assert!(table.contains(name), "{name}: {table}");
        assert!(first.contains(name), "{name}: {first}");
    }
    assert!(place.path("runs/report/report.html").is_file());
    let (second, progress) = expect(&mut place.quickstart("runs", 2), 0);
    for arm in ARMS {
        for seed in [1, 2] {
            let run = place.path("runs").join(format!("{arm}-seed{seed}"));
            let reused = format!("reused {}\n", run.display());
            assert!(progress.contains(&reused), "{progress}");
        }
    }
    assert_eq!(first, second);
}

#[test]
fn stopped_in_the_middle_the_same_command_goes_on_to_the_same_bits() {
    let place = Place::new();
    expect(&mut place.quickstart("whole", 1), 0);
    let middle = place.path("runs/uniform-seed1");
    let child = start_until(&mut place.quickstart("runs", 1), || {
        lines_of_metrics(&middle) > 0
    });
    signal(&child, "TERM");
    let output = child.wait_with_output().unwrap();
    let (stdout, stderr) = texts(&output);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert_eq!(stdout, "");
    let said = "stopped and saved; the same command continues";
    assert!(stderr.contains(said), "{stderr}");
    let (_, stderr) = expect(&mut place.quickstart("runs", 1), 0);
    assert!(stderr.contains("ERM seed 1: reused"), "{stderr}");
    for arm in ARMS {
        let predictions = |out: &str| {
            let name = format!("{out}/{arm}-seed1/predictions.safetensors");
            std::fs::read(place.path(&name)).unwrap()
        };
        assert_eq!(predictions("runs"), predictions("whole"), "{arm}");
    }
}

#[test]
fn restart_begins_anew() {
    let place = Place::new();
    expect(&mut place.quickstart("runs", 1), 0);
    let mut other = place.quickstart("runs", 1);
    other.args(["--quiet", "--set", "training.label_smoothing=0.1"]);
    let (_, stderr) = expect(&mut other, 1);
    assert!(stderr.contains("the configuration differs"), "{stderr}");
    assert!(stderr.contains("--restart begins anew"), "{stderr}");
    std::fs::write(place.path("runs/notes.txt"), "mine").unwrap();
    let (_, stderr) = expect(other.arg("--restart"), 0);
    assert_eq!(stderr, "", "--quiet says nothing");
    for arm in ARMS {
        let path = place.path(&format!("runs/{arm}-seed1/config.toml"));
        let saved = std::fs::read_to_string(path).unwrap();
        assert!(saved.contains("label_smoothing = 0.1"), "{saved}");
    }
    assert!(place.path("runs/notes.txt").is_file());
}

#[test]
fn restart_deletes_nothing_before_data_and_settings_are_right_and_no_run_is_in_use() {
    let place = Place::new();
    expect(&mut place.quickstart("runs", 1), 0);
    let refused = |changes: &[&str], message: &str| {
        let mut command = place.quickstart("runs", 1);
        command.arg("--restart");
        changes.iter().for_each(|change| {
            command.args(["--set", change]);
        });
        let (_, stderr) = expect(&mut command, 1);
        assert!(stderr.contains(message), "{message}: {stderr}");
        for arm in ARMS {
            let result = place.path(&format!("runs/{arm}-seed1/result.json"));
            assert!(result.is_file(), "{message}: {arm} is gone");
        }
    };
    refused(&["data.dataset=typo"], "unknown data set `typo`");
    refused(
        &["training.select=best_validation"],
        "needs a validation part",
    );
    let other = RunDir::open(&place.path("runs/mr2-seed1")).unwrap();
    refused(&[], "the run folder is in use by process");
    drop(other);
    expect(
        place.quickstart("runs", 1).args(["--restart", "--quiet"]),
        0,
    );
}

#[test]
fn restart_takes_a_run_that_was_killed_at_its_start_or_lost_its_configuration() {
    let place = Place::new();
    let lost = place.path("runs/mr2-seed1");
    std::fs::create_dir_all(&lost).unwrap();
    std::fs::write(lost.join("metrics.jsonl"), "").unwrap();
    let (_, stderr) = expect(&mut place.quickstart("runs", 1), 1);
    assert!(
        stderr.contains("MR² seed 1 (--restart begins anew)"),
        "{stderr}"
    );
    let killed = place.path("runs/erm-seed1");
    std::fs::remove_dir_all(&killed).unwrap();
    drop(RunDir::open(&killed).unwrap());
    expect(
        place.quickstart("runs", 1).args(["--restart", "--quiet"]),
        0,
    );
    assert!(lost.join("result.json").is_file());
}

#[test]
fn restart_deletes_nothing_where_a_folder_is_not_a_run_folder() {
    let place = Place::new();
    let run = place.path("runs/erm-seed1/config.toml");
    let mine = place.path("runs/mr2-seed1");
    std::fs::create_dir_all(run.parent().unwrap()).unwrap();
    std::fs::write(&run, "").unwrap();
    std::fs::create_dir_all(&mine).unwrap();
    std::fs::write(mine.join("thesis.tex"), "years of work").unwrap();
    let (_, stderr) = expect(place.quickstart("runs", 1).arg("--restart"), 1);
    let message = format!("{} is no run folder, so nothing is deleted", mine.display());
    assert!(stderr.contains(&message), "{stderr}");
    assert!(mine.join("thesis.tex").is_file());
    assert!(run.is_file());
}
