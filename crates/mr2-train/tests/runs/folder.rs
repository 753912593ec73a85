//! The folder: lock, configuration, states.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use mr2_data::Split;
use mr2_train::{Outcome, Predictions, RunDir, RunResult, RunState, Select, Start, StopFlag};

use crate::support::{config, images, process, process_with, training};

const CHILD: &str = "MR2_TRAIN_TEST_LOCK_FOLDER";

#[test]
fn a_second_process_is_kept_out_by_a_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let _held = RunDir::open(folder.path()).unwrap();
    let message = RunDir::open(folder.path()).unwrap_err().to_string();
    let expected = format!(
        "{}: the run folder is in use by process {}; wait until it ends, or choose another folder",
        folder.path().display(),
        std::process::id()
    );
    assert_eq!(message, expected);
}

#[test]
fn a_killed_process_leaves_no_lock() {
    if let Ok(folder) = std::env::var(CHILD) {
        let _held = RunDir::open(Path::new(&folder)).unwrap();
        fs::write(Path::new(&folder).join("locked"), "").unwrap();
        std::thread::sleep(std::time::Duration::from_secs(60));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "folder::a_killed_process_leaves_no_lock",
            "--nocapture",
        ])
        .env(CHILD, folder.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while !folder.path().join("locked").exists() {
        assert!(
            child.try_wait().unwrap().is_none(),
            "the child ended without the lock"
        );
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let message = RunDir::open(folder.path()).unwrap_err().to_string();
    assert!(
        message.contains(&format!("process {}", child.id())),
        "{message}"
    );
    child.kill().unwrap(); // SIGKILL
    child.wait().unwrap();
    RunDir::open(folder.path()).unwrap();
}

#[test]
fn a_new_run_is_refused_where_there_is_one_and_a_resume_where_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    assert_eq!(RunDir::state_of(folder.path()), RunState::Empty);
    let message = process()
        .run(folder.path(), Start::Resume)
        .unwrap_err()
        .to_string();
    let nothing = "the folder holds no run to resume; start a new one there";
    assert_eq!(message, format!("{path}: {nothing}"));
    let stop = StopFlag::new();
    stop.stop();
    process()
        .run_watched(folder.path(), Start::Fresh, &stop, &mut |_| {})
        .unwrap();
    assert_eq!(RunDir::state_of(folder.path()), RunState::Started);
    let message = process()
        .run(folder.path(), Start::Fresh)
        .unwrap_err()
        .to_string();
    let holds = "the folder already holds a run; resume it, or choose another folder";
    assert_eq!(message, format!("{path}: {holds}"));
}

#[test]
fn a_finished_run_resumed_says_so_and_computes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Outcome::Finished(first) = process().run(folder.path(), Start::Fresh).unwrap() else {
        panic!("nobody asked for a stop");
    };
    let before = fs::read(folder.path().join("result.json")).unwrap();
    let again = process();
    let mut events = 0;
    let outcome = again.run_watched(folder.path(), Start::Resume, &StopFlag::new(), &mut |_| {
        events += 1
    });
    let Outcome::AlreadyFinished(second) = outcome.unwrap() else {
        panic!("the run is finished");
    };
    assert_eq!(first, second);
    assert_eq!(events, 0);
    assert_eq!(fs::read(folder.path().join("result.json")).unwrap(), before);
}

#[test]
fn a_changed_configuration_is_refused_with_the_difference() {
    let folder = tempfile::tempdir().unwrap();
    let stop = StopFlag::new();
    stop.stop();
    process()
        .run_watched(folder.path(), Start::Fresh, &stop, &mut |_| {})
        .unwrap();
    let mut changed = process();
    changed.config_text = changed.config_text.replace("seed = 11", "seed = 12");
    let message = changed
        .run(folder.path(), Start::Resume)
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("config.toml: the configuration differs"),
        "{message}"
    );
    assert!(
        message.contains("\n- train.seed = 11\n+ train.seed = 12\n"),
        "{message}"
    );
    process().run(folder.path(), Start::Resume).unwrap();
}

#[test]
fn checkpoints_without_a_configuration_are_no_place_for_a_new_run() {
    let folder = tempfile::tempdir().unwrap();
    process().run(folder.path(), Start::Fresh).unwrap();
    for name in ["config.toml", "result.json"] {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    let message = process()
        .run(folder.path(), Start::Fresh)
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("the folder already holds a run"),
        "{message}"
    );
    let message = process()
        .run(folder.path(), Start::Resume)
        .unwrap_err()
        .to_string();
    assert!(message.contains("config.toml: cannot read it"), "{message}");
}

#[test]
fn values_that_can_not_be_used_are_refused_by_their_key() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |change: fn(&mut mr2_train::TrainConfig)| {
        let mut config = config();
        change(&mut config);
        process_with(config)
            .run(folder.path(), Start::Fresh)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        refused(|c| c.log_every_steps = 0),
        "config key `log_every_steps`: must be at least 1, got 0"
    );
    assert_eq!(
        refused(|c| c.label_smoothing = 1.0),
        "config key `label_smoothing`: must be in [0, 1), got 1"
    );
    assert_eq!(
        refused(|c| c.clip = mr2_train::Clip::Norm { max: 0.0 }),
        "config key `clip.max`: must be finite and positive, got 0; write kind = \"off\" for no \
         clipping"
    );
    let mut without = process_with(mr2_train::TrainConfig {
        select: Select::BestValidation,
        ..config()
    });
    without.validation = None;
    let message = without
        .run(folder.path(), Start::Fresh)
        .unwrap_err()
        .to_string();
    assert!(
        message.starts_with("config key `select`: best_validation needs a"),
        "{message}"
    );
    assert_eq!(RunDir::state_of(folder.path()), RunState::Empty);
}

#[test]
fn nothing_but_validation_data_can_select() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = process();
    process.validation = Some(process.test.clone());
    let message = process
        .run(folder.path(), Start::Fresh)
        .unwrap_err()
        .to_string();
    assert_eq!(
        message,
        "config key `validation`: needs a loader of the validation part, got Test"
    );
}

#[test]
fn nothing_but_the_training_part_can_train() {
    let folder = tempfile::tempdir().unwrap();
    for split in [Split::Validation, Split::Test] {
        let mut process = process();
        process.train = training(images(split, 44), 0);
        let error = process.run(folder.path(), Start::Fresh).unwrap_err();
        let expected =
            format!("config key `train`: needs a loader of the train part, got {split:?}");
        assert_eq!(error.to_string(), expected);
    }
    assert_eq!(RunDir::state_of(folder.path()), RunState::Empty);
}

#[test]
fn a_file_of_another_version_is_refused_by_its_version_whatever_else_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    process().run(folder.path(), Start::Fresh).unwrap();
    let result = folder.path().join("result.json");
    fs::write(&result, r#"{"format_version": 7, "answer": 42}"#).unwrap();
    let message = RunResult::read(folder.path()).unwrap_err().to_string();
    let refused = "format version 7, and this program reads version 1";
    assert_eq!(message, format!("{}: {refused}", result.display()));

    let predictions = folder.path().join("predictions.safetensors");
    let header = r#"{"format_version":7,"answer":42}"#.to_string();
    let metadata = HashMap::from([("mr2_predictions".to_string(), header)]);
    let none: [(&str, safetensors::tensor::TensorView<'_>); 0] = [];
    fs::write(
        &predictions,
        safetensors::serialize(none, Some(metadata)).unwrap(),
    )
    .unwrap();
    let message = Predictions::read(&predictions).unwrap_err().to_string();
    assert_eq!(message, format!("{}: {refused}", predictions.display()));
}
