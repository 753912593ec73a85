//! `mr2 train`: what a run leaves, and what signals, kills and mistakes do to it.

use std::collections::BTreeSet;
use std::fs;
use std::process::Output;

use mr2_train::{Predictions, RunResult};

use crate::support::{
    STEPS, Tiny, end_by, expect, lines_of_metrics, root, signal, start_until, texts,
};

#[test]
fn a_run_leaves_its_configuration_metrics_result_predictions_checkpoints_and_events() {
    let tiny = Tiny::new();
    let (stdout, stderr) = expect(&mut tiny.train("run"), 0);
    let run = tiny.path("run");
    let result = RunResult::read(&run).unwrap();
    assert_eq!(result.test.per_class.count, [10; 3]);
    assert_eq!(result.curves.len(), 4);
    let predictions = Predictions::read(&run.join("predictions.safetensors")).unwrap();
    assert_eq!(predictions.per_class().unwrap(), result.test.per_class);
    let csv = fs::read_to_string(run.join("predictions.csv")).unwrap();
    assert_eq!(csv, predictions.to_csv());
    assert_eq!(lines_of_metrics(&run) as u64, STEPS + 4);
    for (folder, entries) in [("checkpoint", 2), ("tb", 1)] {
        let found: Vec<_> = fs::read_dir(run.join(folder)).unwrap().collect();
        assert_eq!(found.len(), entries, "{folder}: {found:?}");
    }
    // The saved configuration is the whole run: it trains to the same predictions.
    let mut again = tiny.command("train");
    again.arg("--config").arg(run.join("config.toml"));
    expect(again.arg("--out").arg(tiny.path("again")), 0);
    assert_eq!(tiny.predictions("again"), tiny.predictions("run"));
    let overall = format!("overall {:.1} %\n", result.test.overall.unwrap() * 100.0);
    assert!(stdout.starts_with(&overall), "{stdout}");
    assert!(stdout.contains("run/result.json\n"), "{stdout}");
    assert!(stderr.contains("tiny: epoch 4, loss "), "{stderr}");
}

#[test]
fn every_checkpoint_says_what_its_weights_are_for() {
    let tiny = Tiny::new();
    expect(&mut tiny.train("run"), 0);
    for entry in fs::read_dir(tiny.path("run").join("checkpoint")).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        // A safetensors file begins with its header's length.
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        let text = header["__metadata__"]["mr2_checkpoint"].as_str().unwrap();
        let checkpoint: serde_json::Value = serde_json::from_str(text).unwrap();
        let about = &checkpoint["state"]["about"];
        let layers = serde_json::json!({"activation": "relu", "eps": 1e-5});
        assert_eq!(about["layers"], layers);
        assert_eq!(about["classes"].as_array().unwrap().len(), 3);
        let last = about["preprocessing"].as_array().unwrap().last().unwrap();
        assert_eq!(last["kind"], "normalize");
    }
    // The user is told where images go through something else.
    let mut eval = tiny.command("eval");
    let other = r#"data.evaluation_transforms=[{ kind = "normalize", mean = [0.0], std = [1.0] }]"#;
    let (_, stderr) = expect(eval.arg(tiny.path("run")).args(["--set", other]), 0);
    assert!(
        stderr.contains("the weights are for images after"),
        "{stderr}"
    );
    let mut eval = tiny.command("eval");
    let (_, stderr) = expect(eval.arg(tiny.path("run")), 0);
    assert!(!stderr.contains("the weights are for"), "{stderr}");
}

#[test]
fn a_precision_that_the_cpu_has_not_is_refused_before_anything_is_made() {
    let tiny = Tiny::new();
    let precision = ["--device", "cpu", "--precision", "bf16"];
    let (_, stderr) = expect(tiny.train("run").args(precision), 1);
    assert!(
        stderr.contains("--precision bf16 needs an NVIDIA GPU"),
        "{stderr}"
    );
    assert!(!tiny.path("run").exists());
}

#[test]
fn a_folder_that_holds_a_run_is_refused_and_left_as_it_is() {
    let tiny = Tiny::new();
    let run = tiny.trained("run");
    let before = fs::read(run.join("result.json")).unwrap();
    let (stdout, stderr) = expect(&mut tiny.train("run"), 1);
    assert_eq!(stdout, "");
    let message = format!("error: {} holds a run: add --resume", run.display());
    assert!(stderr.starts_with(&message), "{stderr}");
    let (_, stderr) = expect(tiny.train("other").arg("--resume"), 1);
    let message = format!(
        "error: {} holds no run to resume",
        tiny.path("other").display()
    );
    assert!(stderr.starts_with(&message), "{stderr}");
    assert!(!tiny.path("other").exists());
    assert_eq!(fs::read(run.join("result.json")).unwrap(), before);
}

#[test]
fn a_finished_run_resumed_says_so_and_prints_its_result_again() {
    let tiny = Tiny::new();
    let (first, _) = expect(&mut tiny.train("run"), 0);
    let before = fs::read(tiny.path("run/result.json")).unwrap();
    let (second, stderr) = expect(tiny.train("run").arg("--resume"), 0);
    assert_eq!(first, second);
    assert!(stderr.contains("run was finished before\n"), "{stderr}");
    assert_eq!(fs::read(tiny.path("run/result.json")).unwrap(), before);
}

#[test]
fn a_dry_run_prints_the_run_its_steps_and_parameters_and_trains_nothing() {
    let tiny = Tiny::new();
    let (stdout, stderr) = expect(tiny.train("run").arg("--dry-run"), 0);
    assert_eq!(stderr, "");
    assert!(!tiny.path("run").exists());
    let size =
        "# 90 training, 0 validation and 30 test images, 3 classes; 74547 parameters; 24 steps";
    assert!(stdout.ends_with(&format!("{size}\n")), "{stdout}");
    // What it prints is a run file.
    fs::write(tiny.path("printed.toml"), &stdout).unwrap();
    let mut again = tiny.command("train");
    again.arg("--config").arg(tiny.path("printed.toml"));
    again.arg("--out").arg(tiny.path("run")).arg("--dry-run");
    assert_eq!(expect(&mut again, 0).0, stdout);
    let (json, _) = expect(tiny.train("run").args(["--dry-run", "--json"]), 0);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["steps"], STEPS);
    assert_eq!(json["parameters"], 74547);
    assert_eq!(json["config"]["training"]["epochs"], 4);
}

#[test]
fn quiet_says_nothing_on_stderr_and_json_prints_one_object() {
    let tiny = Tiny::new();
    let (json, stderr) = expect(tiny.train("run").args(["--quiet", "--json"]), 0);
    assert_eq!(stderr, "");
    let printed: RunResult = serde_json::from_str(&json).unwrap();
    assert_eq!(printed, RunResult::read(&tiny.path("run")).unwrap());
    let (again, stderr) = expect(tiny.train("run").args(["--quiet", "--json", "--resume"]), 0);
    assert_eq!((again, stderr), (json, String::new()));
}

#[test]
fn a_run_ended_by_a_signal_is_saved_and_resumes_to_the_same_bits() {
    let tiny = Tiny::new();
    tiny.trained("whole");
    for name in ["TERM", "INT"] {
        let (code, stdout, stderr) = end_by(name, &tiny, name, |run| lines_of_metrics(run) >= 3);
        assert_eq!(code, Some(130), "{stderr}");
        assert_eq!(stdout, "");
        assert!(stderr.contains("tiny: stopping, saving …\n"), "{stderr}");
        assert!(stderr.contains("stopped and saved at step "), "{stderr}");
        let (_, stderr) = expect(tiny.train(name).arg("--resume"), 0);
        let resumed = stderr.contains("tiny: resumed at step ") && stderr.contains(" of 24\n");
        assert!(resumed, "{stderr}");
        assert_eq!(tiny.predictions(name), tiny.predictions("whole"), "{name}");
        assert_eq!(lines_of_metrics(&tiny.path(name)) as u64, STEPS + 4);
    }
}

#[test]
fn a_killed_run_with_dropout_resumes_to_the_same_bits_wherever_it_was() {
    let tiny = Tiny::with_dropout();
    tiny.trained("whole");
    for moment in [0, 6, 13] {
        let out = format!("killed-{moment}");
        let (code, ..) = end_by("KILL", &tiny, &out, |run| {
            run.join("config.toml").exists() && lines_of_metrics(run) >= moment
        });
        assert_eq!(code, None);
        expect(tiny.train(&out).arg("--resume"), 0);
        assert_eq!(tiny.predictions(&out), tiny.predictions("whole"), "{out}");
    }
}

#[test]
fn a_signal_during_the_test_is_obeyed_and_the_run_resumes_to_the_same_bits() {
    let tiny = Tiny::new();
    // Image by image, so that the test takes longer than the signal.
    let long = "data.evaluation_images_per_batch=1";
    expect(tiny.train("whole").args(["--set", long]), 0);
    let run = tiny.path("run");
    let saved = run.join(format!("checkpoint/last-{STEPS:09}.safetensors"));
    for _ in 0..20 {
        let child = start_until(tiny.train("run").args(["--set", long]), || saved.exists());
        signal(&child, "INT");
        let output = child.wait_with_output().unwrap();
        if !run.join("result.json").exists() {
            assert_eq!(output.status.code(), Some(130), "{:?}", texts(&output));
            break;
        }
        fs::remove_dir_all(&run).unwrap();
    }
    expect(tiny.train("run").args(["--resume", "--set", long]), 0);
    assert_eq!(tiny.predictions("run"), tiny.predictions("whole"));
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let tiny = Tiny::new();
    let run = tiny.path("run");
    // A first step of seconds, so that both signals come before its end.
    let mut slow = tiny.train("run");
    slow.args(["--set", "model.backbone=wrn-28-10"]);
    slow.args(["--set", "data.images_per_batch=90", "--threads", "1"]);
    let child = start_until(&mut slow, || run.join("config.toml").exists());
    signal(&child, "TERM");
    std::thread::sleep(std::time::Duration::from_millis(50));
    signal(&child, "TERM");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{:?}", texts(&output));
    let saved = fs::read_dir(run.join("checkpoint")).unwrap().count();
    assert_eq!(saved, 0, "one signal would have saved the step");
    // Nothing is lost by it: there is a run to resume.
    assert!(run.join("config.toml").exists() && !run.join("result.json").exists());
}

#[test]
fn a_resumed_run_with_another_configuration_is_refused_with_the_difference() {
    let tiny = Tiny::new();
    tiny.trained("run");
    let mut changed = tiny.train("run");
    changed.args(["--resume", "--set", "training.optimizer.lr=0.2"]);
    let (_, stderr) = expect(&mut changed, 1);
    assert!(stderr.contains("the configuration differs"), "{stderr}");
    for line in [
        "\n- training.optimizer.lr = 0.1\n",
        "\n+ training.optimizer.lr = 0.2\n",
    ] {
        assert!(stderr.contains(line), "{stderr}");
    }
}

#[test]
fn a_warning_is_shown_once_and_neither_with_quiet_nor_in_the_place_of_an_error() {
    // Averages over 1000 updates lag in every epoch.
    let tiny = Tiny::with_preset("official_imagenet");
    let (_, stderr) = expect(&mut tiny.train("run"), 0);
    let warning =
        "tiny: warning: epoch 1: 3 of 3 classes had fewer updates in the epoch than the 1000";
    assert_eq!(stderr.matches(warning).count(), 1, "{stderr}");
    assert_eq!(stderr.matches("3 of 3 classes").count(), 1, "{stderr}");
    let mut quiet = tiny.train("quiet");
    quiet.arg("--quiet").env("RUST_LOG", "trace");
    assert_eq!(expect(&mut quiet, 0).1, "");
}

#[test]
fn random_transforms_are_refused_where_images_are_evaluated() {
    let tiny = Tiny::new();
    let crop = "data.evaluation_transforms=[{ kind = \"random_crop\", size = 16, padding = 1 }]";
    let text = message(tiny.train("run").args(["--set", crop]));
    let expected = "evaluation images: `transforms`: random_crop is random; evaluation must not be";
    assert!(text.contains(expected), "{text}");
    assert!(!tiny.path("run").exists());
}

/// The names of all keys in a value, but for those inside one of `own_rows`.
fn keys(value: &serde_json::Value, own_rows: &[&str], found: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(map) => {
            for (key, inner) in map {
                found.insert(key.clone());
                if !own_rows.contains(&key.as_str()) {
                    keys(inner, own_rows, found);
                }
            }
        }
        serde_json::Value::Array(items) => {
            items.iter().for_each(|item| keys(item, own_rows, found));
        }
        _ => {}
    }
}

/// The names in backticks.
fn names(cell: &str) -> BTreeSet<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(String::from)
        .collect()
}

#[test]
fn the_schema_of_a_result_names_every_key_that_its_version_has() {
    // A run in which nothing is null: with validation, two terms of a loss, and warnings.
    let tiny = Tiny::with_preset("official_imagenet");
    let carved = "data.validation={ kind = \"carved\", per_class = 6, seed = 3 }";
    let mut command = tiny.train("run");
    for set in [
        carved,
        "training.test_every_epoch=true",
        "training.class_measures=every_epoch",
    ] {
        command.args(["--set", set]);
    }
    expect(&mut command, 0);
    let result = fs::read(tiny.path("run/result.json")).unwrap();
    let result: serde_json::Value = serde_json::from_slice(&result).unwrap();

    let readme = fs::read_to_string(root().join("experiments/README.md")).unwrap();
    let version = result["format_version"].as_u64().unwrap();
    let (_, schema) = readme
        .split_once(&format!("## result.json, version {version}\n"))
        .expect("the version of the schema in experiments/README.md");
    let rows: Vec<(&str, BTreeSet<String>)> = schema
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            (cells[1].trim_matches('`'), names(cells[2]))
        })
        .collect();
    let change = "a key has come or gone: change the schema in experiments/README.md, and RESULT_FORMAT_VERSION with it";
    let written: Vec<&str> = rows.iter().map(|(key, _)| *key).collect();
    let found: Vec<&String> = result.as_object().unwrap().keys().collect();
    assert_eq!(written, found, "{change}");
    for (key, named) in rows {
        let mut inner = BTreeSet::new();
        // The configuration is that of the run file, the versions are names of programs.
        if key != "config" && key != "versions" {
            keys(&result[key], &written, &mut inner);
        }
        assert_eq!(named, inner, "{key}: {change}");
    }
}

#[test]
fn every_preset_trains() {
    for name in mr2_loss::Preset::ALL.map(|preset| preset.name()) {
        let tiny = Tiny::with_preset(name);
        expect(tiny.train("run").args(["--set", "training.epochs=1"]), 0);
        let result = RunResult::read(&tiny.path("run")).unwrap();
        let gamma = result.classes.gamma;
        assert!(gamma.iter().all(|gamma| gamma.unwrap() > 0.0), "{gamma:?}");
        assert!(result.curves[0].representation_loss > 0.0, "{name}");
    }
}

#[test]
fn every_rival_method_trains_from_its_run_file() {
    for keys in [
        "kind = \"focal\"\nfocusing = 2.0",
        "kind = \"re_weighting\"\nbeta = 0.99",
        "kind = \"logit_adjustment\"\ntau = 1.0",
        "kind = \"balanced_softmax\"",
        "kind = \"vector_scaling\"\ngamma = 0.2\ntau = 1.0",
        "kind = \"ldam\"\nmax_margin = 0.5\nscale = 10.0\nreweight = { kind = \"deferred\", epoch = 1, beta = 0.99 }",
        "kind = \"group_dro\"\nstep_size = 0.01\nabsent = \"skip\"",
        "kind = \"cvar\"\nalpha = 0.2",
        "kind = \"lff\"\nq = 0.7\ndecay = 0.7",
        "kind = \"jtt\"\nidentify_epochs = 1\nupweight = 4.0",
        "kind = \"sup_con\"\ntemperature = 0.1\nbase_temperature = 0.1",
        "kind = \"centre_loss\"\nweight = 0.01\ncentre_lr = 0.5",
    ] {
        let tiny = Tiny::with_objective(&format!("[training.objective]\n{keys}\n"));
        let mut train = tiny.train("run");
        train.args(["--set", "training.epochs=2"]);
        let sharpness = "training.sharpness={ kind = \"sam\", rho = 0.05 }";
        train.args(["--set", sharpness]);
        if keys.contains("ldam") {
            train.args(["--set", "model.head={ kind = \"cosine\", scale = 1.0 }"]);
        }
        expect(&mut train, 0);
        let result = RunResult::read(&tiny.path("run")).unwrap();
        let first_stage = u64::from(keys.contains("jtt"));
        assert_eq!(result.curves.len() as u64, 2 + first_stage, "{keys}");
        assert!(result.classes.gamma.iter().all(Option::is_none), "{keys}");
    }
}

#[test]
fn a_carved_validation_part_is_measured_and_can_select_the_tested_weights() {
    let tiny = Tiny::new();
    let carved = "data.validation={ kind = \"carved\", per_class = 6, seed = 3 }";
    let mut train = tiny.train("run");
    train.args(["--set", carved, "--set", "training.select=best_validation"]);
    let (_, stderr) = expect(&mut train, 0);
    assert!(stderr.contains(" %, validation "), "{stderr}");
    let result = RunResult::read(&tiny.path("run")).unwrap();
    let of_epoch: Vec<f64> = result
        .curves
        .iter()
        .map(|epoch| epoch.validation_accuracy.unwrap())
        .collect();
    let best = of_epoch.iter().copied().fold(0.0, f64::max);
    let first = of_epoch.iter().position(|accuracy| *accuracy == best);
    assert_eq!(result.selected.epoch, first.unwrap() as u64 + 1);
    let validation = result.validation.unwrap();
    assert_eq!(validation.count, [6; 3]);
    assert_eq!(validation.overall(), Some(best));
    let trained = &result.curves[0].train_classes.count;
    assert_eq!(trained, &[24; 3]);
}

/// Runs the command, which must fail, and returns its one message.
fn message(command: &mut std::process::Command) -> String {
    let output: Output = command.output().unwrap();
    let (stdout, stderr) = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(stdout, "");
    assert!(stderr.starts_with("error: "), "{stderr}");
    stderr
}

#[test]
fn an_error_names_the_file_and_each_reason_once() {
    let tiny = Tiny::new();
    let once = |message: &str, part: &str| {
        assert_eq!(message.matches(part).count(), 1, "{part}: {message}");
    };

    let mut missing = tiny.command("train");
    missing.args(["--config", "nowhere/run.toml", "--out"]);
    let text = message(missing.arg(tiny.path("run")));
    once(&text, "cannot read the run file nowhere/run.toml");
    once(&text, "No such file or directory");

    let text = message(tiny.train("run").args(["--set", "model.backbone=resnet9"]));
    once(&text, "resnet9");
    for (change, key) in [
        ("training.clip={ kind = \"norm\", max = 0.0 }", "`clip.max`"),
        (
            "training.schedule.warmup_epochs=4",
            "`schedule.warmup_epochs`",
        ),
        ("training.optimizer.momentum=-1", "momentum"),
        ("training.select=best_validation", "`select`"),
    ] {
        once(&message(tiny.train("run").args(["--set", change])), key);
        once(
            &message(tiny.train("run").args(["--dry-run", "--set", change])),
            key,
        );
    }
    let text = message(tiny.train("run").args(["--set", "data.dataset=tinier"]));
    once(&text, "tinier.toml");
    assert!(text.contains("valid: tiny"), "{text}");
    assert!(!tiny.path("run").exists(), "nothing was begun");

    fs::write(tiny.path("file"), "not a folder").unwrap();
    let text = message(&mut tiny.train("file/run"));
    once(&text, "file/run");
    once(&text, "Not a directory");

    let run = tiny.trained("run");
    fs::write(run.join("result.json"), "{").unwrap();
    once(&message(tiny.train("run").arg("--resume")), "result.json");
    fs::remove_file(run.join("result.json")).unwrap();
    for entry in fs::read_dir(run.join("checkpoint")).unwrap() {
        fs::write(entry.unwrap().path(), "not a checkpoint").unwrap();
    }
    let text = message(tiny.train("run").arg("--resume"));
    once(&text, "last-000000024.safetensors");
    once(&text, "last-000000020.safetensors");
}
