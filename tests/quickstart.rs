//! The README's first command at smoke size: run, reuse, stop, resume, restart.

use std::process::Command;

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
    for name in ["ERM", "uniform γ", "MR²"] {
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
