//! Stopped, killed and resumed runs end in the same bits.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use mr2_loss::Positives;
use mr2_nn::rng;
use mr2_train::{
    Event, ObjectiveConfig, OptimizerConfig, Outcome, Part, RunResult, Select, Start, StopFlag,
    TrainConfig,
};

use crate::support::{
    EPOCHS, Process, Remains, STEPS, STEPS_PER_EPOCH, config, objective, process, process_with,
    remains, uninterrupted, uninterrupted_by,
};

/// What ends a process in the middle of a run.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// A stop is asked for: the run saves and returns.
    Stop,
    /// The process dies between two steps, and the last line of metrics is half-written.
    Kill,
}

/// Runs until `step`, where the process ends.
fn run_until(folder: &Path, start: Start, step: u64, end: End) {
    run_process_until(&process(), folder, start, step, end);
}

pub fn run_process_until(process: &Process, folder: &Path, start: Start, step: u64, end: End) {
    let stop = StopFlag::new();
    let asked = stop.clone();
    let mut observer = |event: &Event<'_>| {
        if let Event::Step { record, .. } = event
            && record.step == step
        {
            match end {
                End::Stop => asked.stop(),
                // Not a panic, whose message would litter the output of the tests.
                End::Kill => std::panic::resume_unwind(Box::new("killed")),
            }
        }
    };
    let run = || process.run_watched(folder, start, &stop, &mut observer);
    match (end, catch_unwind(AssertUnwindSafe(run))) {
        (End::Stop, Ok(outcome)) => {
            assert!(matches!(outcome.unwrap(), Outcome::Stopped { step: at } if at == step));
        }
        (End::Kill, Err(_)) => {
            let path = folder.join("metrics.jsonl");
            let mut metrics = OpenOptions::new().append(true).open(path).unwrap();
            metrics.write_all(b"{\"kind\":\"step\",\"step\":").unwrap();
        }
        (end, other) => panic!("{end:?} at step {step} gave {other:?}"),
    }
}

fn resume(folder: &Path) -> Remains {
    resume_by(&process(), folder)
}

pub fn resume_by(process: &Process, folder: &Path) -> Remains {
    let outcome = process.run(folder, Start::Resume).unwrap();
    assert!(matches!(outcome, Outcome::Finished(_)));
    remains(folder)
}

/// Tests the last weights, or those of the best epoch on validation.
fn selecting(select: Select) -> Process {
    process_with(TrainConfig { select, ..config() })
}

/// 20 different steps in random order, none of them the last of an epoch.
fn steps_inside_epochs() -> Vec<u64> {
    let mut steps: Vec<u64> = (1..=STEPS)
        .filter(|step| step % STEPS_PER_EPOCH != 0)
        .collect();
    steps.sort_by_key(|step| rng::hash(2, *step));
    steps.truncate(20);
    steps
}

#[test]
fn a_run_stopped_or_killed_at_any_of_20_random_steps_inside_epochs_resumes_to_the_same_bits() {
    for select in [Select::Last, Select::BestValidation] {
        let expected = uninterrupted_by(&selecting(select));
        for step in steps_inside_epochs() {
            for end in [End::Stop, End::Kill] {
                let folder = tempfile::tempdir().unwrap();
                run_process_until(&selecting(select), folder.path(), Start::Fresh, step, end);
                let resumed = resume_by(&selecting(select), folder.path());
                assert_eq!(resumed, expected, "{select:?}: {end:?} at step {step}");
            }
        }
    }
}

#[test]
fn a_run_with_a_memory_of_features_resumes_to_the_same_bits() {
    let mut objective = objective();
    objective.representation.positives = Positives::Memory(19);
    let process = || {
        process_with(TrainConfig {
            objective: ObjectiveConfig::Mr2(objective.clone()),
            ..config()
        })
    };
    let expected = uninterrupted_by(&process());
    assert!(expected != uninterrupted(), "the memory changes nothing");
    for step in steps_inside_epochs().into_iter().take(4) {
        for end in [End::Stop, End::Kill] {
            let folder = tempfile::tempdir().unwrap();
            run_process_until(&process(), folder.path(), Start::Fresh, step, end);
            let resumed = resume_by(&process(), folder.path());
            assert_eq!(resumed, expected, "{end:?} at step {step}");
        }
    }
}

/// Runs until an evaluation begins, the `nth` (from 0) of validation or that of the test part, and asks
/// for a stop.
fn run_until_evaluation(
    process: &Process,
    folder: &Path,
    of_test: bool,
    nth: usize,
) -> Vec<String> {
    let stop = StopFlag::new();
    let asked = stop.clone();
    let (mut before, mut seen) = (nth, Vec::new());
    let mut observer = |event: &Event<'_>| match event {
        Event::Evaluating(part) if (*part == Part::Test) == of_test => {
            match before.checked_sub(1) {
                Some(left) => before = left,
                None => asked.stop(),
            }
        }
        _ if !asked.is_set() => {}
        Event::Stopping => seen.push("stopping".to_string()),
        Event::Saved(path) => seen.push(path.file_name().unwrap().to_string_lossy().to_string()),
        other => panic!("{other:?} after a stop was asked for"),
    };
    let outcome = process.run_watched(folder, Start::Fresh, &stop, &mut observer);
    let expected = if of_test {
        STEPS
    } else {
        (nth as u64 + 1) * STEPS_PER_EPOCH
    };
    assert!(matches!(outcome.unwrap(), Outcome::Stopped { step } if step == expected));
    seen
}

#[test]
fn a_stop_during_validation_saves_the_state_before_it_and_a_resumed_run_redoes_it() {
    let expected = uninterrupted_by(&selecting(Select::BestValidation));
    for nth in 0..EPOCHS as usize {
        let folder = tempfile::tempdir().unwrap();
        let seen = run_until_evaluation(
            &selecting(Select::BestValidation),
            folder.path(),
            false,
            nth,
        );
        let step = (nth as u64 + 1) * STEPS_PER_EPOCH;
        let saved = format!("last-{step:09}.safetensors");
        assert_eq!(seen, ["stopping".to_string(), saved]);
        let metrics = fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap();
        assert_eq!(metrics.matches("\"kind\":\"epoch\"").count(), nth);
        let resumed = resume_by(&selecting(Select::BestValidation), folder.path());
        assert_eq!(resumed, expected, "validation of epoch {}", nth + 1);
    }
}

#[test]
fn a_validation_that_is_redone_again_and_again_is_logged_once() {
    // Nothing is learned, so no epoch after the first is the best, and none is saved for it.
    let process = || {
        process_with(TrainConfig {
            optimizer: OptimizerConfig::Sgd {
                lr: 1e-9,
                momentum: 0.0,
                nesterov: false,
                weight_decay: 0.0,
                decay_norm_and_bias: false,
            },
            checkpoint_every_steps: 100,
            ..config()
        })
    };
    let folder = tempfile::tempdir().unwrap();
    let of_third_epoch = run_until_evaluation(&process(), folder.path(), false, 2);
    assert_eq!(of_third_epoch.len(), 2, "{of_third_epoch:?}");
    let next = 3 * STEPS_PER_EPOCH + 1;
    for _ in 0..2 {
        run_process_until(&process(), folder.path(), Start::Resume, next, End::Kill);
    }
    let resumed = resume_by(&process(), folder.path());
    assert_eq!(resumed, uninterrupted_by(&process()));
}

#[test]
fn a_stop_during_the_test_leaves_the_run_unfinished_and_a_resumed_one_redoes_it() {
    let folder = tempfile::tempdir().unwrap();
    let seen = run_until_evaluation(&selecting(Select::BestValidation), folder.path(), true, 0);
    assert_eq!(seen, [] as [String; 0]);
    assert!(!folder.path().join("result.json").exists());
    let resumed = resume_by(&selecting(Select::BestValidation), folder.path());
    assert_eq!(
        resumed,
        uninterrupted_by(&selecting(Select::BestValidation))
    );
}

#[test]
fn a_run_ended_again_and_again_resumes_to_the_same_bits() {
    let expected = uninterrupted();
    let folder = tempfile::tempdir().unwrap();
    let ends = [
        (3, End::Stop),
        (5, End::Kill),
        (9, End::Kill),
        (18, End::Stop),
        (29, End::Kill),
    ];
    for (n, (step, end)) in ends.into_iter().enumerate() {
        let start = if n == 0 { Start::Fresh } else { Start::Resume };
        run_until(folder.path(), start, step, end);
    }
    assert_eq!(resume(folder.path()), expected);
    assert_eq!(RunResult::read(folder.path()).unwrap().timings.starts, 6);
}

#[test]
fn a_run_killed_before_its_first_checkpoint_resumes_from_the_beginning() {
    let folder = tempfile::tempdir().unwrap();
    run_until(folder.path(), Start::Fresh, 2, End::Kill);
    assert_eq!(resume(folder.path()), uninterrupted());
}

#[test]
fn a_half_written_newest_checkpoint_falls_back_to_the_one_before_with_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    run_until(folder.path(), Start::Fresh, 14, End::Kill);
    let newest = folder.path().join("checkpoint/last-000000012.safetensors");
    let bytes = fs::read(&newest).unwrap();
    fs::write(&newest, &bytes[..bytes.len() / 2]).unwrap();
    let mut warnings = Vec::new();
    let mut first_step = None;
    let process = process();
    let outcome =
        process.run_watched(
            folder.path(),
            Start::Resume,
            &StopFlag::new(),
            &mut |e| match e {
                Event::Warning(message) => warnings.push(message.to_string()),
                Event::Started { step, .. } => first_step = Some(*step),
                _ => {}
            },
        );
    assert!(matches!(outcome.unwrap(), Outcome::Finished(_)));
    assert_eq!(first_step, Some(8));
    let warning = &warnings[0];
    assert!(
        warning.contains("last-000000012.safetensors: not a usable checkpoint"),
        "{warning}"
    );
    assert!(warning.contains("; continuing from "), "{warning}");
    assert!(warning.ends_with("last-000000008.safetensors"), "{warning}");
    assert_eq!(remains(folder.path()), uninterrupted());
}

#[test]
fn without_any_usable_checkpoint_the_run_says_so_and_begins_nothing() {
    let folder = tempfile::tempdir().unwrap();
    run_until(folder.path(), Start::Fresh, 14, End::Kill);
    for step in [8, 12] {
        let path = folder
            .path()
            .join(format!("checkpoint/last-{step:09}.safetensors"));
        fs::write(path, b"not a checkpoint").unwrap();
    }
    let message = process()
        .run(folder.path(), Start::Resume)
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("none of the checkpoints can be used"),
        "{message}"
    );
    assert!(
        message.contains("last-000000008") && message.contains("last-000000012"),
        "{message}"
    );
}

#[test]
fn metrics_hold_each_step_once_in_order_after_any_interruption() {
    let folder = tempfile::tempdir().unwrap();
    run_until(folder.path(), Start::Fresh, 10, End::Kill);
    let torn = fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap();
    assert!(torn.ends_with("\"step\":"));
    let steps: Vec<u64> = resume(folder.path())
        .metrics
        .iter()
        .filter(|line| line["kind"] == "step")
        .map(|line| line["step"].as_u64().unwrap())
        .collect();
    assert_eq!(steps, (1..=STEPS).collect::<Vec<_>>());
}

#[test]
fn a_damaged_line_of_metrics_is_refused_by_its_number_and_nothing_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    run_until(folder.path(), Start::Fresh, 10, End::Stop);
    let path = folder.path().join("metrics.jsonl");
    let whole = fs::read_to_string(&path).unwrap();
    let damaged = whole.replacen("\"step\":3,", "\"step\":three,", 1);
    fs::write(&path, &damaged).unwrap();
    let message = process().run(folder.path(), Start::Resume).unwrap_err();
    let start = format!("{}: line 3 is no line of metrics: ", path.display());
    assert!(message.to_string().starts_with(&start), "{message}");
    assert_eq!(fs::read_to_string(&path).unwrap(), damaged);
    fs::write(&path, whole).unwrap();
    assert_eq!(resume(folder.path()), uninterrupted());
}
