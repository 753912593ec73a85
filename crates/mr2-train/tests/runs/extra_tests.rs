//! Test sets beyond the test part, and the test part at every epoch: recorded, never selecting.

use mr2_data::Split;
use mr2_train::candle_core::DType;
use mr2_train::{Event, Part, RunResult, Select, Start, StopFlag, TrainConfig, evaluate};

use crate::resume::resume_by;
use crate::support::{
    EPOCHS, Process, config, evaluation, images, process, process_with, uninterrupted_by,
    weights_of,
};

fn with_extra_tests() -> Process {
    let mut process = process();
    process.extra_tests = vec![
        ("blurred".to_string(), evaluation(images(Split::Test, 12))),
        ("noisy".to_string(), evaluation(images(Split::Test, 8))),
    ];
    process
}

#[test]
fn every_extra_test_set_is_evaluated_once_with_the_tested_weights() {
    let process = with_extra_tests();
    let folder = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    let mut observer = |event: &Event<'_>| {
        if let Event::Evaluating(Part::ExtraTest(name)) = event {
            seen.push(name.to_string());
        }
    };
    process
        .run_watched(folder.path(), Start::Fresh, &StopFlag::new(), &mut observer)
        .unwrap();
    assert_eq!(seen, ["blurred", "noisy"]);
    let result = RunResult::read(folder.path()).unwrap();
    assert_eq!(result.extra_tests.len(), 2);
    for (name, loader) in &process.extra_tests {
        let classes = process.train.set().classes();
        let again = evaluate(&process.model, loader, classes, DType::F32).unwrap();
        assert_eq!(
            result.extra_tests[name],
            again.per_class().unwrap(),
            "{name}"
        );
    }
}

#[test]
fn a_stop_during_an_extra_test_is_resumed_with_the_test() {
    let expected = uninterrupted_by(&with_extra_tests());
    let folder = tempfile::tempdir().unwrap();
    let stop = StopFlag::new();
    let asked = stop.clone();
    let mut observer = |event: &Event<'_>| {
        if matches!(event, Event::Evaluating(Part::ExtraTest("noisy"))) {
            asked.stop();
        }
    };
    with_extra_tests()
        .run_watched(folder.path(), Start::Fresh, &stop, &mut observer)
        .unwrap();
    assert!(!folder.path().join("result.json").exists());
    assert_eq!(resume_by(&with_extra_tests(), folder.path()), expected);
}

#[test]
fn an_extra_test_set_must_be_one_and_have_a_name_of_its_own() {
    let refusal = |extra| {
        let mut process = process();
        process.extra_tests = extra;
        let folder = tempfile::tempdir().unwrap();
        let error = process.run(folder.path(), Start::Fresh).unwrap_err();
        error.to_string()
    };
    let part = |name: &str, split| (name.to_string(), evaluation(images(split, 8)));
    assert_eq!(
        refusal(vec![part("noisy", Split::Train)]),
        "config key `extra_tests`: needs a loader of the test part, got Train"
    );
    assert_eq!(
        refusal(vec![part("noisy", Split::Test), part("noisy", Split::Test)]),
        "config key `extra_tests`: two are named noisy"
    );
}

#[test]
fn accuracy_on_the_test_part_at_every_epoch_is_recorded_and_changes_nothing() {
    let testing = |test_every_epoch| {
        let folder = tempfile::tempdir().unwrap();
        let process = process_with(TrainConfig {
            test_every_epoch,
            select: Select::BestValidation,
            ..config()
        });
        process.run(folder.path(), Start::Fresh).unwrap();
        (
            RunResult::read(folder.path()).unwrap(),
            weights_of(folder.path()),
        )
    };
    let (tested, weights) = testing(true);
    let (plain, plain_weights) = testing(false);
    assert_eq!(weights, plain_weights);
    assert_eq!(tested.selected, plain.selected);
    assert_eq!(tested.test, plain.test);
    assert_eq!(tested.curves.len() as u64, EPOCHS);
    assert!(
        plain
            .curves
            .iter()
            .all(|record| record.test_classes.is_none())
    );
    let selected = tested
        .curves
        .iter()
        .find(|r| r.step == tested.selected.step);
    let of_selected = selected.unwrap().test_classes.as_ref();
    assert_eq!(of_selected, Some(&tested.test.per_class));
}

#[test]
fn a_result_from_before_these_keys_is_read_as_without_them() {
    let folder = tempfile::tempdir().unwrap();
    process().run(folder.path(), Start::Fresh).unwrap();
    let path = folder.path().join("result.json");
    let now = RunResult::read(folder.path()).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    value
        .as_object_mut()
        .unwrap()
        .remove("extra_tests")
        .unwrap();
    let config = value["config"].as_object_mut().unwrap();
    config.remove("sharpness").unwrap();
    config.remove("test_every_epoch").unwrap();
    for record in value["curves"].as_array_mut().unwrap() {
        record
            .as_object_mut()
            .unwrap()
            .remove("test_classes")
            .unwrap();
    }
    std::fs::write(&path, value.to_string()).unwrap();
    assert_eq!(RunResult::read(folder.path()).unwrap(), now);
}
