//! NaN and infinity stop a run and spoil nothing.

use std::fs;
use std::sync::Arc;

use mr2_data::Split;
use mr2_train::{Error, ObjectiveConfig, OptimizerConfig, Start, TrainConfig};

use crate::support::{
    checkpoint, config, images, process, process_with, remains, training, uninterrupted,
};

#[test]
fn a_nan_stops_the_run_names_step_and_image_and_keeps_the_last_good_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let poisoned = process();
    poisoned.model.poison.set(Some((9, 3)));
    let error = poisoned.run(folder.path(), Start::Fresh).unwrap_err();
    let second_epoch = poisoned.train.epoch(1, 3).next().unwrap().unwrap();
    // The training set of the process is its data set, so the places are the same.
    let image = second_epoch.indices[3];
    let message = error.to_string();
    let expected = format!(
        "a feature became NaN or infinite at step 10 (epoch 2, batch 4), in halves image {image}; \
         training has stopped"
    );
    assert!(message.starts_with(&expected), "{message}");
    checkpoint(&folder.path().join("checkpoint/last-000000008.safetensors"));
    // With the cause gone, the run goes on from there.
    process().run(folder.path(), Start::Resume).unwrap();
    assert_eq!(remains(folder.path()), uninterrupted());
}

#[test]
fn a_nan_of_lffs_twin_stops_the_run_and_names_the_step() {
    let folder = tempfile::tempdir().unwrap();
    let poisoned = process_with(TrainConfig {
        label_smoothing: 0.0,
        objective: ObjectiveConfig::Lff { q: 0.7, decay: 0.7 },
        ..config()
    });
    poisoned.twin.0.poison.set(Some((9, 3)));
    let error = poisoned.run(folder.path(), Start::Fresh).unwrap_err();
    let message = error.to_string();
    assert_eq!(message, "the objective at step 10 (epoch 2, batch 4)");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("sample losses: losses"), "{source}");
    checkpoint(&folder.path().join("checkpoint/last-000000008.safetensors"));
}

#[test]
fn an_image_is_named_by_its_place_in_the_data_set_and_not_in_the_part_that_trains() {
    let all = images(Split::Train, 44);
    let kept: Vec<u32> = (0..44).filter(|image| image % 3 != 0).collect();
    let mut poisoned = process();
    poisoned.train = training(Arc::new(all.subset(Split::Train, &kept).unwrap()), 0);
    poisoned.model.poison.set(Some((1, 2)));
    let folder = tempfile::tempdir().unwrap();
    let error = poisoned.run(folder.path(), Start::Fresh).unwrap_err();
    let second = poisoned.train.epoch(0, 1).next().unwrap().unwrap();
    let place = kept[second.indices[2] as usize];
    assert_ne!(place, second.indices[2]);
    let Error::NotFinite { images, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(images, [format!("halves image {place}")]);
}

#[test]
fn weights_that_overflow_are_never_saved() {
    let folder = tempfile::tempdir().unwrap();
    let exploding = process_with(TrainConfig {
        optimizer: OptimizerConfig::Sgd {
            lr: 1e30,
            momentum: 0.0,
            nesterov: false,
            weight_decay: 1e30,
            decay_norm_and_bias: true,
        },
        objective: ObjectiveConfig::Erm {},
        checkpoint_every_steps: 1,
        ..config()
    });
    let error = exploding.run(folder.path(), Start::Fresh).unwrap_err();
    assert!(matches!(error, Error::NotFinite { .. }), "{error}");
    for entry in fs::read_dir(folder.path().join("checkpoint")).unwrap() {
        for (name, (dtype, _, bytes)) in checkpoint(&entry.unwrap().path()).0 {
            if name.starts_with("model.") && dtype == "F32" {
                let values = bytes
                    .chunks_exact(4)
                    .map(|b| f32::from_le_bytes(b.try_into().unwrap()));
                assert!(values.into_iter().all(f32::is_finite), "{name}");
            }
        }
    }
}
