//! Stopped, killed and resumed runs end in the same bits.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use mr2_nn::rng;
use mr2_train::{Event, Outcome, RunResult, Start, StopFlag};

use crate::support::{Remains, STEPS, process, remains, uninterrupted};

/// What ends a process in the middle of a run.
#[derive(Clone, Copy, Debug)]
enum End {
    /// A stop is asked for: the run saves and returns.
    Stop,
    /// The process dies between two steps, and the last line of metrics is half-written.
    Kill,
}

/// Runs until `step`, where the process ends.
fn run_until(folder: &Path, start: Start, step: u64, end: End) {
    let process = process();
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
    let outcome = process().run(folder, Start::Resume).unwrap();
    assert!(matches!(outcome, Outcome::Finished(_)));
    remains(folder)
}

#[test]
fn a_run_ended_at_any_of_20_random_steps_resumes_to_the_same_bits() {
    let expected = uninterrupted();
    for trial in 0..20 {
        let step = 1 + rng::hash(2, trial) % STEPS;
        let end = if trial % 2 == 0 { End::Stop } else { End::Kill };
        let folder = tempfile::tempdir().unwrap();
        run_until(folder.path(), Start::Fresh, step, end);
        assert_eq!(resume(folder.path()), expected, "{end:?} at step {step}");
    }
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
fn each_start_has_an_event_file_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    run_until(folder.path(), Start::Fresh, 7, End::Stop);
    resume(folder.path());
    let files: Vec<_> = fs::read_dir(folder.path().join("tb")).unwrap().collect();
    assert_eq!(files.len(), 2);
    for file in files {
        assert!(file.unwrap().metadata().unwrap().len() > 100);
    }
}
