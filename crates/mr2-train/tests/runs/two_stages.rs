//! Just train twice: a first stage finds errors, and the second is a plain run with weights.

use mr2_train::candle_core::DType;
use mr2_train::{
    Event, ObjectiveConfig, Outcome, Part, RunResult, Select, Start, StopFlag, TrainConfig,
    evaluate,
};

use crate::baselines::difference;
use crate::resume::{End, resume_by, run_process_until};
use crate::support::{
    EPOCHS, Process, STEPS, STEPS_PER_EPOCH, checkpoint, config, newest_checkpoint, process_with,
    uninterrupted_by, weights_of,
};

const FIRST: u64 = 2;

fn jtt(upweight: f64) -> Process {
    process_with(TrainConfig {
        objective: ObjectiveConfig::Jtt {
            identify_epochs: FIRST,
            upweight,
        },
        ..config()
    })
}

fn erm() -> Process {
    process_with(TrainConfig {
        objective: ObjectiveConfig::Erm {},
        ..config()
    })
}

#[test]
fn without_upweighting_the_second_stage_is_a_plain_run_with_its_batches_masks_and_rates() {
    let (twice, plain) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    jtt(0.0).run(twice.path(), Start::Fresh).unwrap();
    erm().run(plain.path(), Start::Fresh).unwrap();
    let found = difference(&weights_of(twice.path()), &weights_of(plain.path()));
    assert!(found < 1e-4, "{found}");
    let (twice, plain) = (
        RunResult::read(twice.path()).unwrap(),
        RunResult::read(plain.path()).unwrap(),
    );
    assert_eq!(twice.curves.len() as u64, FIRST + EPOCHS);
    assert_eq!(twice.selected.step, FIRST * STEPS_PER_EPOCH + STEPS);
    for (twice, plain) in twice.curves[FIRST as usize..].iter().zip(&plain.curves) {
        assert_eq!(twice.lr, plain.lr);
        assert_eq!(twice.share_with_positive, plain.share_with_positive);
        assert!((twice.loss - plain.loss).abs() < 1e-4);
        let (twice, plain) = (&twice.classes.v, &plain.classes.v);
        for (twice, plain) in twice.iter().zip(plain) {
            assert!((twice.unwrap() - plain.unwrap()).abs() < 1e-3);
        }
    }
    for (first, plain) in twice.curves[..FIRST as usize].iter().zip(&plain.curves) {
        assert_eq!(
            first.loss, plain.loss,
            "the first stage is a plain run's beginning"
        );
    }
}

#[test]
fn the_error_set_is_what_a_plain_run_of_the_first_stages_length_gets_wrong() {
    let plain = erm();
    let folder = tempfile::tempdir().unwrap();
    let until = FIRST * STEPS_PER_EPOCH;
    run_process_until(&plain, folder.path(), Start::Fresh, until, End::Stop);
    let classes = plain.train.set().classes();
    let predicted = evaluate(&plain.model, &plain.train_once, classes, DType::F32).unwrap();
    let pairs = predicted.labels.iter().zip(&predicted.predictions);
    let expected: Vec<u8> = pairs
        .map(|(label, found)| u8::from(label != found))
        .collect();
    assert!(
        expected.contains(&0) && expected.contains(&1),
        "{expected:?}"
    );

    let folder = tempfile::tempdir().unwrap();
    jtt(4.0).run(folder.path(), Start::Fresh).unwrap();
    let (tensors, _) = checkpoint(&newest_checkpoint(folder.path()));
    assert_eq!(tensors["objective.errors"].2, expected);
}

#[test]
fn a_stop_while_the_errors_are_found_is_resumed_with_finding_them() {
    let expected = uninterrupted_by(&jtt(4.0));
    let folder = tempfile::tempdir().unwrap();
    let stop = StopFlag::new();
    let asked = stop.clone();
    let mut observer = |event: &Event<'_>| {
        if matches!(event, Event::Evaluating(Part::Training)) {
            asked.stop();
        }
    };
    let stopped = jtt(4.0).run_watched(folder.path(), Start::Fresh, &stop, &mut observer);
    let at = FIRST * STEPS_PER_EPOCH;
    assert!(matches!(stopped.unwrap(), Outcome::Stopped { step } if step == at));
    assert_eq!(resume_by(&jtt(4.0), folder.path()), expected);
    for (step, end) in [
        (at - 1, End::Kill),
        (at, End::Stop),
        (at, End::Kill),
        (at + 1, End::Kill),
    ] {
        let folder = tempfile::tempdir().unwrap();
        run_process_until(&jtt(4.0), folder.path(), Start::Fresh, step, end);
        assert_eq!(
            resume_by(&jtt(4.0), folder.path()),
            expected,
            "{end:?} at {step}"
        );
    }
}

#[test]
fn an_epoch_of_the_first_stage_is_never_tested() {
    let mut process = jtt(4.0);
    process.config.select = Select::BestValidation;
    let folder = tempfile::tempdir().unwrap();
    let mut best = Vec::new();
    let mut observer = |event: &Event<'_>| {
        if let Event::Saved(path) = event {
            let name = path.file_stem().unwrap().to_string_lossy();
            best.extend(
                name.strip_prefix("best-")
                    .map(|step| step.parse::<u64>().unwrap()),
            );
        }
    };
    process
        .run_watched(folder.path(), Start::Fresh, &StopFlag::new(), &mut observer)
        .unwrap();
    assert!(
        !best.is_empty() && best.iter().all(|step| *step > FIRST * STEPS_PER_EPOCH),
        "{best:?}"
    );
    let result = RunResult::read(folder.path()).unwrap();
    let second = &result.curves[FIRST as usize..];
    let best = second
        .iter()
        .filter_map(|record| record.validation_accuracy);
    let best = best.fold(0.0, f64::max);
    let expected = second.iter().find(|r| r.validation_accuracy == Some(best));
    assert_eq!(result.selected.epoch, expected.unwrap().epoch);
}

#[test]
fn a_first_stage_without_errors_is_told_and_the_run_goes_on() {
    let mut process = jtt(4.0);
    process.config.epochs = 30;
    process.config.objective = ObjectiveConfig::Jtt {
        identify_epochs: 30,
        upweight: 4.0,
    };
    let folder = tempfile::tempdir().unwrap();
    let mut told = Vec::new();
    let mut observer = |event: &Event<'_>| {
        if let Event::Warning(message) = event {
            told.push(message.to_string());
        }
    };
    let run = process.run_watched(folder.path(), Start::Fresh, &StopFlag::new(), &mut observer);
    assert!(matches!(run.unwrap(), Outcome::Finished(_)));
    let expected = "the first stage gets no training image wrong";
    assert!(
        told.iter().any(|message| message.starts_with(expected)),
        "{told:?}"
    );
}
