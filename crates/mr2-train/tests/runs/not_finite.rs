//! NaN and infinity stop a run and spoil nothing.

use std::fs;

use mr2_train::{Error, ObjectiveConfig, OptimizerConfig, Start, TrainConfig};

use crate::support::{checkpoint, config, process, process_with, remains, uninterrupted};

#[test]
fn a_nan_stops_the_run_names_step_and_image_and_keeps_the_last_good_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let poisoned = process();
    poisoned.model.poison.set(Some((9, 3)));
    let error = poisoned.run(folder.path(), Start::Fresh).unwrap_err();
    let second_epoch = poisoned.train.epoch(1, 3).next().unwrap().unwrap();
    let image = second_epoch.indices[3];
    let message = error.to_string();
    let expected = format!(
        "a feature became NaN or infinite at step 10 (epoch 2, batch 4), image {image}; training \
         has stopped"
    );
    assert!(message.starts_with(&expected), "{message}");
    checkpoint(&folder.path().join("checkpoint/last-000000008.safetensors"));
    // With the cause gone, the run goes on from there.
    process().run(folder.path(), Start::Resume).unwrap();
    assert_eq!(remains(folder.path()), uninterrupted());
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
