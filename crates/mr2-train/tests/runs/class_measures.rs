//! The training images measured as a fixed set, at the end of epochs and before the first.

use mr2_nn::graph::{Ctx, Mode};
use mr2_nn::model::Backbone;
use mr2_stats::{Centre, exact};
use mr2_train::candle_core::{DType, Device, Tensor};
use mr2_train::report::ExactClasses;
use mr2_train::{ClassMeasures, RunResult, Start, TrainConfig};

use crate::resume::{End, resume_by, run_process_until};
use crate::support::{CLASSES, EPOCHS, Process, config, process_with, uninterrupted_by};

fn measured(class_measures: ClassMeasures) -> Process {
    process_with(TrainConfig {
        class_measures,
        ..config()
    })
}

/// m and v of rows by class.
fn of(rows: &Tensor, labels: &[u32]) -> ExactClasses {
    let statistics = exact(rows, labels, CLASSES, 2.0, Centre::None).unwrap();
    let known = |values: &Tensor| -> Vec<Option<f64>> {
        let values = values.to_dtype(DType::F64).unwrap().to_vec1().unwrap();
        values.into_iter().map(Some).collect()
    };
    ExactClasses {
        m: known(&statistics.m),
        v: known(&statistics.v),
    }
}

/// Pixels and features of the process' training images, with its weights as they are.
fn by_hand(process: &Process) -> (ExactClasses, ExactClasses) {
    let (mut pixels, mut features, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    let context = Ctx::new(&Device::Cpu, DType::F32, Mode::Eval).unwrap();
    for batch in process.train_once.epoch(0, 0) {
        let batch = batch.unwrap();
        pixels.push(batch.images.flatten_from(1).unwrap());
        let images = context.enter(&batch.images).unwrap();
        features.push(process.model.features(&context, &images).unwrap());
        labels.extend(batch.labels);
    }
    let joined = |rows: &[Tensor]| of(&Tensor::cat(rows, 0).unwrap(), &labels);
    (joined(&pixels), joined(&features))
}

#[test]
fn the_last_epochs_measures_are_those_of_the_final_weights_and_the_first_of_the_initial_ones() {
    let process = measured(ClassMeasures::LastEpoch);
    let (pixels, initial) = by_hand(&process);
    let folder = tempfile::tempdir().unwrap();
    process.run(folder.path(), Start::Fresh).unwrap();
    let result = RunResult::read(folder.path()).unwrap();
    let diversity = result.diversity.unwrap();
    assert_eq!(diversity.pixels, pixels);
    assert_eq!(diversity.initial_features, initial);
    let epochs = result.curves.iter();
    let measured: Vec<bool> = epochs.map(|epoch| epoch.training_set.is_some()).collect();
    assert_eq!(measured, [false, false, false, false, true]);
    let last = result.curves.last().unwrap().training_set.as_ref().unwrap();
    assert_eq!(last.classes, by_hand(&process).1);
    assert!(last.collapse.nc1.is_some_and(f64::is_finite), "{last:?}");
}

#[test]
fn every_epoch_is_measured_where_that_is_asked_for_and_none_where_it_is_not() {
    for (class_measures, expected) in [
        (ClassMeasures::EveryEpoch, EPOCHS as usize),
        (ClassMeasures::Off, 0),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let process = measured(class_measures);
        process.run(folder.path(), Start::Fresh).unwrap();
        let result = RunResult::read(folder.path()).unwrap();
        let epochs = result.curves.iter();
        assert_eq!(
            epochs.filter(|e| e.training_set.is_some()).count(),
            expected
        );
        assert_eq!(result.diversity.is_some(), expected > 0);
    }
}

#[test]
fn measures_change_nothing_of_the_training() {
    let losses = |class_measures| -> Vec<f64> {
        let folder = tempfile::tempdir().unwrap();
        let process = measured(class_measures);
        process.run(folder.path(), Start::Fresh).unwrap();
        let result = RunResult::read(folder.path()).unwrap();
        result.curves.iter().map(|epoch| epoch.loss).collect()
    };
    assert_eq!(
        losses(ClassMeasures::EveryEpoch),
        losses(ClassMeasures::Off)
    );
}

#[test]
fn measures_need_the_training_images_in_order() {
    let process = measured(ClassMeasures::LastEpoch);
    let message = process.with_job(|job| {
        let mut job = *job;
        job.train_once = None;
        job.check().unwrap_err().to_string()
    });
    assert!(
        message.starts_with("config key `train_once`: "),
        "{message}"
    );
}

#[test]
fn a_measured_run_that_is_killed_resumes_to_the_same_bits() {
    let whole = uninterrupted_by(&measured(ClassMeasures::EveryEpoch));
    let folder = tempfile::tempdir().unwrap();
    let process = measured(ClassMeasures::EveryEpoch);
    run_process_until(&process, folder.path(), Start::Fresh, 15, End::Kill);
    let resumed = resume_by(&measured(ClassMeasures::EveryEpoch), folder.path());
    assert_eq!(resumed, whole);
}
