//! What a finished run leaves, and what evaluation and other methods change.

use std::fs;

use mr2_loss::Preset;
use mr2_metrics::SplitSource;
use mr2_train::candle_core::DType;
use mr2_train::report::MeasuredOn;
use mr2_train::{
    Clip, Event, ObjectiveConfig, OptimizerConfig, Outcome, Part, Predictions, RunResult, Select,
    Start, StopFlag, TrainConfig, evaluate, summarise,
};

use crate::support::{
    CLASSES, EPOCHS, Process, STEPS, STEPS_PER_EPOCH, config, process, process_with, remains,
    training, uninterrupted,
};

fn finish(process: &Process) -> (tempfile::TempDir, RunResult) {
    let folder = tempfile::tempdir().unwrap();
    match process.run(folder.path(), Start::Fresh).unwrap() {
        Outcome::Finished(result) => (folder, *result),
        other => panic!("{other:?}"),
    }
}

#[test]
fn evaluation_changes_nothing() {
    let process = process();
    let folder = tempfile::tempdir().unwrap();
    let state = || -> Vec<Vec<u32>> {
        let bits = |t: mr2_train::candle_core::Tensor| -> Vec<u32> {
            let values: Vec<f32> = t.flatten_all().unwrap().to_vec1().unwrap();
            values.into_iter().map(f32::to_bits).collect()
        };
        process
            .params
            .tensors()
            .into_iter()
            .map(|(_, tensor)| bits(tensor))
            .collect()
    };
    // After every step: weights and batch norm are as before, and (as dropout, statistics and
    // batches come out the same) so are statistics and random streams.
    let mut observer = |event: &Event<'_>| {
        if matches!(event, Event::Step { .. }) {
            let before = state();
            let names = process.train.set().classes();
            let first = evaluate(&process.model, &process.test, names, DType::F32).unwrap();
            let second = evaluate(&process.model, &process.test, names, DType::F32).unwrap();
            assert_eq!(first, second);
            assert_eq!(state(), before);
        }
    };
    process
        .run_watched(folder.path(), Start::Fresh, &StopFlag::new(), &mut observer)
        .unwrap();
    assert_eq!(remains(folder.path()), uninterrupted());
}

#[test]
fn the_test_part_is_evaluated_once_and_last() {
    let (mut of_test, mut of_validation) = (Vec::new(), 0);
    let mut steps = 0;
    let folder = tempfile::tempdir().unwrap();
    let process = process();
    process
        .run_watched(
            folder.path(),
            Start::Fresh,
            &StopFlag::new(),
            &mut |event| match event {
                Event::Step { .. } => steps += 1,
                Event::Evaluating(Part::Test) => of_test.push(steps),
                Event::Evaluating(Part::Validation) => of_validation += 1,
                _ => {}
            },
        )
        .unwrap();
    assert_eq!(of_test, [STEPS]);
    assert_eq!(of_validation, EPOCHS);
}

#[test]
fn the_result_holds_what_tables_and_plots_read() {
    let process = process();
    let (folder, result) = finish(&process);
    assert_eq!(RunResult::read(folder.path()).unwrap(), result);
    assert_eq!(result.config, process.config);
    assert_eq!(result.test.per_class.count, [6; CLASSES]);
    assert!(
        result.test.overall.unwrap() > 0.5,
        "{:?}",
        result.test.overall
    );
    let thirds = result.thirds.as_ref().unwrap();
    assert_eq!(thirds.chosen_on, SplitSource::SameRunOptimistic);
    assert_eq!(thirds.classes.medium.len(), 2);
    assert_eq!(result.selected.epoch, EPOCHS);
    assert_eq!(result.curves.len() as u64, EPOCHS);
    assert_eq!(result.correlations.measured_on, MeasuredOn::Test);
    assert_eq!(result.premise.classes, CLASSES);
    for record in &result.curves {
        assert_eq!(record.train_classes.count.iter().sum::<u64>(), 44);
        assert!((0.0..=1.0).contains(&record.share_with_positive));
        assert!(record.validation_accuracy.is_some());
        assert_eq!(record.correlations.measured_on, MeasuredOn::Validation);
        for series in [&record.classes.m, &record.classes.v, &record.classes.gamma] {
            assert!(series.iter().all(Option::is_some), "{series:?}");
        }
        let sum = |i: usize| record.classes.m[i].unwrap() + record.classes.v[i].unwrap();
        for i in 0..CLASSES {
            let whole = record.classes.second_moment[i].unwrap();
            assert!(
                (sum(i) - whole).abs() <= 1e-4 * whole,
                "{} and {whole}",
                sum(i)
            );
        }
    }
    let saved = Predictions::read(&folder.path().join(&result.predictions)).unwrap();
    assert_eq!(saved.per_class().unwrap(), result.test.per_class);
    assert_eq!(summarise(&saved).unwrap(), result.test);
    let csv = fs::read_to_string(folder.path().join("predictions.csv")).unwrap();
    let mut lines = csv.lines();
    assert_eq!(
        lines.next().unwrap(),
        "index,label,prediction,label_name,prediction_name"
    );
    assert!(lines.next().unwrap().starts_with("0,0,"));
    assert!(csv.contains("\"upper, solid\""));
}

/// Spearman's ρ of class accuracy with a quantity, over the classes that have it.
fn rho(accuracies: &[Option<f64>], values: &[Option<f64>]) -> Option<f64> {
    let both = accuracies.iter().zip(values);
    let (x, y): (Vec<f64>, Vec<f64>) = both.filter_map(|(x, y)| (*x).zip(*y)).unzip();
    mr2_metrics::spearman(&x, &y).unwrap()
}

#[test]
fn each_epoch_logs_how_class_accuracy_goes_with_every_quantity() {
    let (_folder, result) = finish(&process());
    for record in &result.curves {
        let accuracies = record.validation_classes.as_ref().unwrap().accuracies();
        let (classes, logged) = (&record.classes, &record.correlations);
        let of = |values: &[Option<f64>]| rho(&accuracies, values);
        assert_eq!(logged.m, of(&classes.m));
        assert_eq!(logged.v, of(&classes.v));
        assert_eq!(logged.second_moment, of(&classes.second_moment));
        assert_eq!(logged.relative_spread, of(&classes.relative_spread()));
        assert_eq!(logged.gamma, of(&classes.gamma));
        assert_eq!(logged.head_norm, of(&classes.head_norm));
    }
    let some_differ = result.curves.iter().any(|record| {
        let rho = &record.correlations;
        rho.m.is_some() && rho.m != rho.v && rho.v != rho.gamma && rho.gamma != rho.head_norm
    });
    assert!(some_differ, "mixed up, they would pass");
}

#[test]
fn each_epoch_logs_the_share_of_images_with_another_of_their_class_in_the_batch() {
    let process = process();
    let (_folder, result) = finish(&process);
    let mut shares = Vec::new();
    for (epoch, record) in result.curves.iter().enumerate() {
        let (mut images, mut with_another) = (0, 0);
        for batch in process.train.epoch(epoch as u64, 0) {
            let labels = batch.unwrap().labels;
            let others = |label: &u32| labels.iter().filter(|other| *other == label).count() - 1;
            images += labels.len();
            with_another += labels.iter().filter(|label| others(label) > 0).count();
        }
        let expected = with_another as f64 / images as f64;
        assert_eq!(record.share_with_positive, expected);
        shares.push(expected);
    }
    assert!(shares.iter().all(|share| *share < 1.0), "{shares:?}");
}

#[test]
fn the_last_two_checkpoints_and_the_best_on_validation_are_kept() {
    let (folder, result) = finish(&process());
    let mut names: Vec<_> = fs::read_dir(folder.path().join("checkpoint"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let best = result
        .curves
        .iter()
        .rev()
        .max_by(|a, b| {
            a.validation_accuracy
                .partial_cmp(&b.validation_accuracy)
                .unwrap()
        })
        .unwrap();
    assert!(
        names.contains(&format!("best-{:09}.safetensors", best.step)),
        "{names:?}"
    );
    let last: Vec<_> = names
        .iter()
        .filter(|name| name.starts_with("last"))
        .collect();
    assert_eq!(
        last,
        ["last-000000028.safetensors", "last-000000030.safetensors"]
    );
}

#[test]
fn best_validation_tests_the_weights_of_the_best_epoch() {
    let chosen = process_with(TrainConfig {
        select: Select::BestValidation,
        ..config()
    });
    let (_folder, result) = finish(&chosen);
    let best = result
        .curves
        .iter()
        .filter_map(|r| r.validation_accuracy)
        .fold(0.0, f64::max);
    let epoch = result
        .curves
        .iter()
        .find(|r| r.validation_accuracy == Some(best))
        .unwrap();
    assert_eq!(
        (result.selected.epoch, result.selected.step),
        (epoch.epoch, epoch.step)
    );
    assert_eq!(result.validation, epoch.validation_classes);
    assert_eq!(result.classes, epoch.classes);
    let validation = chosen.validation.as_ref().unwrap();
    let again = evaluate(
        &chosen.model,
        validation,
        chosen.train.set().classes(),
        DType::F32,
    )
    .unwrap();
    assert_eq!(Some(again.per_class().unwrap()), epoch.validation_classes);
}

#[test]
fn every_preset_trains_and_resumes_to_the_same_bits() {
    for preset in Preset::ALL {
        let config = TrainConfig {
            objective: ObjectiveConfig::Mr2(preset.config()),
            optimizer: OptimizerConfig::Adamw {
                lr: 0.01,
                beta1: 0.9,
                beta2: 0.999,
                eps: 1e-8,
                weight_decay: 0.1,
                decay_norm_and_bias: false,
            },
            clip: Clip::Off {},
            label_smoothing: 0.0,
            ..config()
        };
        let (whole, _) = finish(&process_with(config.clone()));
        let folder = tempfile::tempdir().unwrap();
        let stop = StopFlag::new();
        let asked = stop.clone();
        let mut observer = |event: &Event<'_>| {
            if let Event::Step { record, .. } = event
                && record.step == STEPS_PER_EPOCH + 1
            {
                asked.stop();
            }
        };
        process_with(config.clone())
            .run_watched(folder.path(), Start::Fresh, &stop, &mut observer)
            .unwrap();
        process_with(config)
            .run(folder.path(), Start::Resume)
            .unwrap();
        assert_eq!(
            remains(folder.path()),
            remains(whole.path()),
            "{}",
            preset.name()
        );
    }
}

#[test]
fn plain_cross_entropy_has_statistics_too_and_margin_one() {
    let mut erm = process_with(TrainConfig {
        objective: ObjectiveConfig::Erm {},
        ..config()
    });
    erm.validation = None;
    let (_folder, result) = finish(&erm);
    assert_eq!(result.classes.gamma, [Some(1.0); CLASSES]);
    assert!(result.classes.v.iter().all(|v| v.unwrap() > 0.0));
    assert_eq!(result.spread_threshold, None);
    let record = &result.curves[0];
    assert_eq!(record.correlations.measured_on, MeasuredOn::RunningTraining);
    assert_eq!(record.correlations.gamma, None);
    assert_eq!(record.validation_accuracy, None);
    assert_eq!(record.representation_loss, 0.0);
}

#[test]
fn the_number_of_loader_threads_changes_nothing() {
    let mut many = process();
    many.train = training(many.train.set().clone(), 3);
    let (folder, _) = finish(&many);
    assert_eq!(remains(folder.path()), uninterrupted());
}
