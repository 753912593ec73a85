//! Weights read back from a run's checkpoints.

use std::fs;

use mr2_train::candle_core::DType;
use mr2_train::{Predictions, Select, Start, TrainConfig, Weights, evaluate, load_weights};

use crate::support::{Process, STEPS, config, process, process_with};

fn predictions(process: &Process) -> Predictions {
    let names = process.train.set().classes();
    evaluate(&process.model, &process.test, names, DType::F32).unwrap()
}

#[test]
fn each_choice_gives_the_weights_of_its_step() {
    let folder = tempfile::tempdir().unwrap();
    let select = Select::BestValidation;
    let config = TrainConfig { select, ..config() };
    let trained = process_with(config);
    trained.run(folder.path(), Start::Fresh).unwrap();
    let tested = predictions(&trained);
    let other = process();
    let load = |which| load_weights(folder.path(), &which, &other.params).unwrap();

    let selected = load(Weights::Tested);
    assert_eq!(predictions(&other), tested);
    assert!(selected.step < STEPS, "the best epoch must not be the last");
    let last = load(Weights::Last);
    assert_eq!((last.step, last.epoch), (STEPS, 5));
    assert_ne!(predictions(&other), tested);
    assert_eq!(load(Weights::Best).step, selected.step);
    assert_eq!(predictions(&other), tested);
    load(Weights::File(last.path));
    assert_ne!(predictions(&other), tested);
}

#[test]
fn weights_that_do_not_fit_are_listed_with_their_file_and_nothing_is_set() {
    let folder = tempfile::tempdir().unwrap();
    process().run(folder.path(), Start::Fresh).unwrap();
    let other = process();
    let before = predictions(&other);
    let more = other.params.var_builder().get((2, 3), "extra.weight");
    more.unwrap();
    let error = load_weights(folder.path(), &Weights::Last, &other.params).unwrap_err();
    let newest = folder
        .path()
        .join(format!("checkpoint/last-{STEPS:09}.safetensors"));
    let expected = format!(
        "{}: not a usable checkpoint: the weights don't fit the model:\n  \
         missing: extra.weight [2, 3]",
        newest.display()
    );
    assert_eq!(error.to_string(), expected);
    assert_eq!(predictions(&other), before);
}

#[test]
fn a_run_without_the_checkpoint_says_so_by_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    process().run(folder.path(), Start::Fresh).unwrap();
    let checkpoints = folder.path().join("checkpoint");
    for entry in fs::read_dir(&checkpoints).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let other = process();
    let refused = |which| {
        let error = load_weights(folder.path(), &which, &other.params).unwrap_err();
        error.to_string()
    };
    let at = checkpoints.display();
    assert_eq!(
        refused(Weights::Last),
        format!("{at}: holds no checkpoint yet")
    );
    let expected = "holds no checkpoint of step 30, which the run tested";
    assert_eq!(refused(Weights::Tested), format!("{at}: {expected}"));
    fs::remove_file(folder.path().join("result.json")).unwrap();
    assert!(refused(Weights::Tested).ends_with("result.json: cannot read the result"));
}
