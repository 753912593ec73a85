//! Sharpness-aware steps: the second pass is seen in the weights and nowhere else.

use std::collections::HashMap;

use mr2_train::{Sharpness, Start, TrainConfig};

use crate::remains::Tensors;
use crate::resume::{End, run_process_until};
use crate::support::{checkpoint, config, newest_checkpoint, process_with};

/// All tensors after the first step.
fn after_one_step(sharpness: Sharpness) -> Tensors {
    let process = process_with(TrainConfig {
        sharpness,
        ..config()
    });
    let folder = tempfile::tempdir().unwrap();
    run_process_until(&process, folder.path(), Start::Fresh, 1, End::Stop);
    checkpoint(&newest_checkpoint(folder.path())).0
}

#[test]
fn the_second_pass_moves_no_running_statistics_no_class_statistics_and_no_state() {
    let plain = after_one_step(Sharpness::Off {});
    for sharpness in [
        Sharpness::Sam { rho: 0.05 },
        Sharpness::Asam {
            rho: 0.5,
            eta: 0.01,
        },
    ] {
        let sharp = after_one_step(sharpness);
        let mut kept = 0;
        let mut moved = HashMap::new();
        for (name, tensor) in &plain {
            let of_state = name.contains(".running_")
                || name.starts_with("objective.")
                || name.starts_with("statistics.");
            if of_state {
                assert_eq!(&sharp[name], tensor, "{sharpness:?}: {name}");
                kept += 1;
            } else if &sharp[name] != tensor {
                moved.insert(name, ());
            }
        }
        assert!(kept > 8, "{kept}");
        assert!(moved.len() > 8, "{sharpness:?} changes the step: {moved:?}");
    }
}

#[test]
fn a_radius_of_almost_nothing_is_a_plain_step() {
    let values = |tensors: &Tensors| -> Vec<f32> {
        let mut names: Vec<_> = tensors.keys().filter(|n| n.starts_with("model.")).collect();
        names.sort();
        let bytes = names.into_iter().flat_map(|name| tensors[name].2.clone());
        let bytes: Vec<u8> = bytes.collect();
        let (values, _) = bytes.as_chunks();
        values.iter().map(|x| f32::from_le_bytes(*x)).collect()
    };
    let plain = values(&after_one_step(Sharpness::Off {}));
    let sharp = values(&after_one_step(Sharpness::Sam { rho: 1e-7 }));
    let pairs = plain.iter().zip(&sharp);
    let difference = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(difference < 1e-5, "{difference}");
}
