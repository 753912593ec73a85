//! `mr2 eval`: the class-wise report of a run's weights, from a run folder that it never changes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use mr2_train::{Predictions, RunResult};

use crate::support::{Tiny, expect, mr2};

const CARVED: &str = "data.validation={ kind = \"carved\", per_class = 6, seed = 3 }";

/// Every file of a folder with its content and time.
fn contents(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            let modified = path.metadata().unwrap().modified().unwrap();
            found.insert(path.clone(), (fs::read(&path).unwrap(), modified));
        }
    }
    found
}

fn json(tiny: &Tiny, arguments: &[&str]) -> serde_json::Value {
    let mut command = tiny.command("eval");
    command.arg(tiny.path("run")).args(["--json", "--quiet"]);
    let (stdout, stderr) = expect(command.args(arguments), 0);
    assert_eq!(stderr, "");
    serde_json::from_str(&stdout).unwrap()
}

fn refused(tiny: &Tiny, arguments: &[&str]) -> String {
    let mut command = tiny.command("eval");
    command.arg(tiny.path("run")).args(arguments);
    let (stdout, stderr) = expect(&mut command, 1);
    assert_eq!(stdout, "");
    let (_, message) = stderr.split_once("error: ").unwrap();
    message.to_string()
}

#[test]
fn the_test_part_of_a_finished_run_gives_its_predictions_and_changes_nothing() {
    let tiny = Tiny::new();
    let run = tiny.trained("run");
    let before = contents(&run);
    for name in ["predictions.safetensors", "predictions.csv"] {
        let mut command = tiny.command("eval");
        command.arg(&run).arg("--out").arg(tiny.path(name));
        let (stdout, stderr) = expect(&mut command, 0);
        assert_eq!(stderr, "");
        assert!(stdout.contains("last-000000024.safetensors\n"), "{stdout}");
        let written = fs::read(tiny.path(name)).unwrap();
        assert_eq!(written, fs::read(run.join(name)).unwrap(), "{name}");
    }
    assert_eq!(contents(&run), before);
}

#[test]
fn it_prints_what_an_audit_of_the_predictions_prints() {
    let tiny = Tiny::new();
    let run = tiny.trained("run");
    let (evaluated, _) = expect(tiny.command("eval").arg(&run), 0);
    let (audited, _) = expect(mr2().args(["audit", "--predictions"]).arg(&run), 0);
    let (_, audited) = audited.split_once('\n').unwrap();
    let (title, evaluated) = evaluated.split_once('\n').unwrap();
    assert!(title.ends_with("run: test part, step 24"), "{title}");
    assert!(audited.contains("hard third"), "{audited}");
    let after = evaluated.strip_prefix(audited);
    let after = after.unwrap_or_else(|| panic!("{evaluated}\nisn't\n{audited}"));
    assert!(after.starts_with("\nWeights: "), "{after}");
    let mut command = mr2();
    command.args(["audit", "--json", "--predictions"]).arg(&run);
    let audited: serde_json::Value = serde_json::from_str(&expect(&mut command, 0).0).unwrap();
    let evaluated = json(&tiny, &[]);
    for (key, value) in audited.as_object().unwrap() {
        match key.as_str() {
            "source" => {}
            "format_version" => assert!(evaluated["report"].get(key).is_none(), "help says so"),
            _ => assert_eq!(&evaluated["report"][key], value, "{key}"),
        }
    }
}

#[test]
fn each_part_and_each_checkpoint_can_be_evaluated() {
    let tiny = Tiny::new();
    // Steps too large at the end, so that the best epoch isn't the last.
    let worse = "training.schedule={ kind = \"step\", milestones = [2.0], factor = 20.0, \
                 warmup_epochs = 0.0, start_factor = 1.0 }";
    let mut train = tiny.train("run");
    for change in [CARVED, worse, "training.select=best_validation"] {
        train.args(["--set", change]);
    }
    expect(&mut train, 0);
    let result = RunResult::read(&tiny.path("run")).unwrap();
    assert!(result.selected.epoch <= 2, "{:?}", result.selected);

    let tested = json(&tiny, &[]);
    assert_eq!(tested["format_version"], 1);
    assert_eq!(tested["split"], "test");
    assert_eq!(tested["step"], result.selected.step);
    assert_eq!(tested["epoch"], result.selected.epoch);
    let overall = tested["report"]["measures"]["overall"]["value"].as_f64();
    assert_eq!(overall, result.test.overall);
    let best = json(&tiny, &["--checkpoint", "best"]);
    assert_eq!(best, tested);
    let last = json(&tiny, &["--checkpoint", "last"]);
    assert_eq!(last["step"], 20);
    assert_ne!(last["report"]["classes"], tested["report"]["classes"]);
    let file = tiny.path("run/checkpoint/last-000000015.safetensors");
    let of_file = json(&tiny, &["--checkpoint", &file.display().to_string()]);
    assert_eq!(
        (&of_file["step"], &of_file["epoch"]),
        (&15.into(), &3.into())
    );

    let validation = json(&tiny, &["--split", "validation"]);
    assert_eq!(validation["report"]["images"], 18);
    let overall = validation["report"]["measures"]["overall"]["value"].as_f64();
    assert_eq!(overall, result.validation.unwrap().overall());
    let train = json(&tiny, &["--split", "train"]);
    assert_eq!(train["report"]["images"], 72);
}

#[test]
fn without_a_validation_part_the_configuration_is_named() {
    let tiny = Tiny::new();
    tiny.trained("run");
    let message = refused(&tiny, &["--split", "validation"]);
    assert!(
        message.contains("run/config.toml: data.validation"),
        "{message}"
    );
    let message = refused(&tiny, &["--checkpoint", "best"]);
    let expected = "run/checkpoint: holds no best checkpoint: only a run with a validation part";
    assert!(message.contains(expected), "{message}");
}

#[test]
fn an_unfinished_run_is_evaluated_at_its_newest_checkpoint_and_says_so() {
    let tiny = Tiny::new();
    let run = tiny.trained("run");
    fs::remove_file(run.join("result.json")).unwrap();
    fs::remove_file(run.join("checkpoint/last-000000024.safetensors")).unwrap();
    let (stdout, stderr) = expect(tiny.command("eval").arg(&run), 0);
    let said = format!(
        "{}: the run isn't finished; taking its newest checkpoint\n",
        run.display()
    );
    assert_eq!(stderr, said);
    assert!(stdout.contains("test part, step 20\n"), "{stdout}");
    assert_eq!(json(&tiny, &[])["step"], 20);
    fs::remove_file(run.join("checkpoint/last-000000020.safetensors")).unwrap();
    let message = refused(&tiny, &[]);
    assert!(
        message.contains("run/checkpoint: holds no checkpoint yet"),
        "{message}"
    );
}

#[test]
fn weights_that_cannot_be_used_are_refused_by_their_file() {
    let tiny = Tiny::new();
    let run = tiny.trained("run");
    let other = "model.backbone=resnet20";
    let epochs = "training.epochs=1";
    expect(
        tiny.train("other").args(["--set", other, "--set", epochs]),
        0,
    );
    let file = tiny.path("other/checkpoint/last-000000006.safetensors");
    let message = refused(&tiny, &["--checkpoint", &file.display().to_string()]);
    let start = format!(
        "{}: not a usable checkpoint: the weights don't fit the model:\n  unexpected: ",
        file.display()
    );
    assert!(message.starts_with(&start), "{message}");
    let message = refused(&tiny, &["--checkpoint", "nowhere.safetensors"]);
    assert!(
        message.contains("nowhere.safetensors: cannot read the checkpoint: No such"),
        "{message}"
    );
    let newest = run.join("checkpoint/last-000000024.safetensors");
    let bytes = fs::read(&newest).unwrap();
    fs::write(&newest, &bytes[..bytes.len() / 2]).unwrap();
    let message = refused(&tiny, &[]);
    let start = format!("{}: not a usable checkpoint: incomplete", newest.display());
    assert!(message.starts_with(&start), "{message}");
    fs::remove_file(&newest).unwrap();
    let message = refused(&tiny, &[]);
    let expected = "holds no checkpoint of step 24, which the run tested";
    assert!(message.contains(expected), "{message}");
}

#[test]
fn the_data_can_be_changed_and_nothing_else() {
    let tiny = Tiny::new();
    tiny.trained("run");
    let descriptor = fs::read_to_string(tiny.path("datasets/tiny.toml")).unwrap();
    // The same files under other names for the classes.
    let renamed = descriptor.replace("[\"a\", \"b\", \"c\"]", "[\"a\", \"bee\", \"c\"]");
    fs::write(tiny.path("datasets/renamed.toml"), renamed).unwrap();
    fs::rename(tiny.path("datasets/tiny"), tiny.path("datasets/renamed")).unwrap();
    let mut command = tiny.command("eval");
    command.arg(tiny.path("run"));
    let (stdout, stderr) = expect(command.args(["--set", "data.dataset=renamed"]), 0);
    assert!(stderr.contains("`b` is `bee` here"), "{stderr}");
    assert!(stdout.contains("bee"), "{stdout}");
    let message = refused(&tiny, &["--set", "training.seed=3"]);
    assert!(
        message.contains("--set training.seed=3: only data.* can be changed"),
        "{message}"
    );
    let message = refused(&tiny, &["--set", "data.datasett=x"]);
    assert!(
        message.contains("did you mean `data.dataset`?"),
        "{message}"
    );
}

#[test]
fn predictions_go_to_a_csv_or_safetensors_file_outside_the_run() {
    let tiny = Tiny::new();
    let run = tiny.trained("run");
    let out = |name: &str| tiny.path(name).display().to_string();
    let message = refused(&tiny, &["--out", &out("predictions.npz")]);
    assert!(
        message.contains("must end in .safetensors or .csv"),
        "{message}"
    );
    let message = refused(&tiny, &["--out", &out("run/predictions.csv")]);
    assert!(
        message.contains("nothing in a run folder is changed"),
        "{message}"
    );
    let message = refused(&tiny, &["--out", &out("nowhere/predictions.csv")]);
    assert!(message.contains("no such folder"), "{message}");
    json(
        &tiny,
        &["--split", "train", "--out", &out("train.safetensors")],
    );
    let written = Predictions::read(&tiny.path("train.safetensors")).unwrap();
    assert_eq!(written.labels.len(), 90);
    let message = expect(tiny.command("eval").arg(run.join("tb")), 1).1;
    assert!(
        message.contains("run/tb: no run folder (it has no config.toml)"),
        "{message}"
    );
}
