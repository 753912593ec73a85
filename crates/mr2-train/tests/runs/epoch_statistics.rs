//! Statistics that begin anew with each epoch, as the official CIFAR code's do.

use mr2_train::{Event, ObjectiveConfig, Start, StopFlag, TrainConfig};

use crate::support::{
    CLASSES, EPOCHS, STEPS_PER_EPOCH, checkpoint, config, objective, process_with,
};

/// How many batches the margins of each class are made of, after each step of a run.
fn batches_behind_the_margins(restart_every_epoch: bool) -> Vec<Vec<f64>> {
    let mut objective = objective();
    objective.restart_every_epoch = restart_every_epoch;
    let process = process_with(TrainConfig {
        objective: ObjectiveConfig::Mr2(objective),
        checkpoint_every_steps: 1,
        ..config()
    });
    let mut after = Vec::new();
    let mut observer = |event: &Event<'_>| {
        let Event::Saved(path) = event else { return };
        if path.to_string_lossy().contains("last-") {
            let (tensors, _) = checkpoint(path);
            let (dtype, shape, bytes) = &tensors["objective.batches"];
            assert_eq!((dtype.as_str(), shape.as_slice()), ("F64", &[CLASSES][..]));
            let (numbers, _) = bytes.as_chunks();
            after.push(numbers.iter().map(|&x| f64::from_le_bytes(x)).collect());
        }
    };
    let folder = tempfile::tempdir().unwrap();
    process
        .run_watched(folder.path(), Start::Fresh, &StopFlag::new(), &mut observer)
        .unwrap();
    after
}

#[test]
fn margins_after_an_epochs_first_step_depend_on_that_batch_alone() {
    let restarted = batches_behind_the_margins(true);
    assert_eq!(restarted.len() as u64, EPOCHS * STEPS_PER_EPOCH);
    for epoch in restarted.chunks(STEPS_PER_EPOCH as usize) {
        assert!(epoch[0].iter().all(|&batches| batches <= 1.0), "{epoch:?}");
        // Six batches of eight images: each of the four classes comes again.
        assert!(epoch[5].iter().all(|&batches| batches > 1.0), "{epoch:?}");
    }
    let kept = batches_behind_the_margins(false);
    assert!(kept[6].iter().any(|&batches| batches > 1.0), "{kept:?}");
}
