//! Every method as a run: resumed to the same bits, refused where it doesn't fit, and plain
//! cross-entropy where that is what it is.

use mr2_data::{Sampler, Split};
use mr2_train::objective::{AbsentClasses, ObjectiveConfig, Reweight};
use mr2_train::{Clip, RunResult, Sharpness, Start, TrainConfig};

use crate::resume::{End, resume_by, run_process_until};
use crate::support::{
    Process, config, images, process_with, process_with_head, training, training_by,
    uninterrupted_by, weights_of,
};

/// Each method but ERM and MR², with its usual settings.
fn methods() -> Vec<ObjectiveConfig> {
    vec![
        ObjectiveConfig::Focal { focusing: 2.0 },
        ObjectiveConfig::ReWeighting { beta: 0.99 },
        ObjectiveConfig::LogitAdjustment { tau: 1.0 },
        ObjectiveConfig::BalancedSoftmax {},
        ObjectiveConfig::VectorScaling {
            gamma: 0.2,
            tau: 1.0,
        },
        ldam(),
        ObjectiveConfig::GroupDro {
            step_size: 0.1,
            absent: AbsentClasses::Skip,
        },
        ObjectiveConfig::Cvar { alpha: 0.3 },
        ObjectiveConfig::Lff { q: 0.7, decay: 0.7 },
        ObjectiveConfig::Jtt {
            identify_epochs: 2,
            upweight: 4.0,
        },
        ObjectiveConfig::SupCon {
            temperature: 0.1,
            base_temperature: 0.1,
        },
        ObjectiveConfig::CentreLoss {
            weight: 0.01,
            centre_lr: 0.5,
        },
    ]
}

fn ldam() -> ObjectiveConfig {
    ObjectiveConfig::Ldam {
        max_margin: 0.5,
        scale: 10.0,
        reweight: Reweight::Deferred {
            epoch: 1,
            beta: 0.99,
        },
    }
}

fn with(objective: ObjectiveConfig) -> TrainConfig {
    TrainConfig {
        objective,
        label_smoothing: 0.0,
        epochs: 3,
        ..config()
    }
}

#[test]
fn every_method_stopped_or_killed_anywhere_resumes_to_the_same_bits() {
    for objective in methods() {
        let sharp = Sharpness::Sam { rho: 0.05 };
        for sharpness in [Sharpness::Off {}, sharp] {
            let process = || {
                let config = TrainConfig {
                    sharpness,
                    ..with(objective.clone())
                };
                process_with(config).with_images(&imbalanced())
            };
            let expected = uninterrupted_by(&process());
            for (step, end) in [
                (2, End::Kill),
                (5, End::Stop),
                (8, End::Kill),
                (11, End::Stop),
            ] {
                let folder = tempfile::tempdir().unwrap();
                run_process_until(&process(), folder.path(), Start::Fresh, step, end);
                let resumed = resume_by(&process(), folder.path());
                assert_eq!(resumed, expected, "{objective:?}: {end:?} at step {step}");
            }
        }
    }
}

/// 26 images: 11, 8, 5 and 2 of the classes.
pub fn imbalanced() -> Vec<u32> {
    let kept = [11, 8, 5, 2];
    (0..44)
        .filter(|image| image / 4 < kept[*image as usize % 4])
        .collect()
}

#[test]
fn a_method_without_margins_has_none_in_its_record() {
    let process = process_with(with(ObjectiveConfig::Cvar { alpha: 0.5 }));
    let folder = tempfile::tempdir().unwrap();
    process.run(folder.path(), Start::Fresh).unwrap();
    let result = RunResult::read(folder.path()).unwrap();
    assert!(result.classes.gamma.iter().all(Option::is_none));
    assert_eq!(result.correlations.gamma, None);
    assert!(result.classes.v.iter().all(Option::is_some));
}

/// The weights after the first step.
fn after_one_step(process: &Process) -> Vec<(String, Vec<f32>)> {
    let folder = tempfile::tempdir().unwrap();
    run_process_until(process, folder.path(), Start::Fresh, 1, End::Stop);
    weights_of(folder.path())
}

/// The largest difference between two sets of weights.
pub fn difference(a: &[(String, Vec<f32>)], b: &[(String, Vec<f32>)]) -> f32 {
    assert_eq!(a.len(), b.len());
    let pairs = a.iter().zip(b).flat_map(|((of_a, a), (of_b, b))| {
        assert_eq!((of_a, a.len()), (of_b, b.len()));
        a.iter().zip(b)
    });
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn on_balanced_data_weights_and_priors_leave_cross_entropy_and_ldam_does_not() {
    let unclipped = |objective, cosines| {
        let config = TrainConfig {
            clip: Clip::Off {},
            ..with(objective)
        };
        process_with_head(config, cosines)
    };
    let step =
        |objective: ObjectiveConfig, cosines: bool| after_one_step(&unclipped(objective, cosines));
    let plain = step(ObjectiveConfig::Erm {}, false);
    for objective in [
        ObjectiveConfig::ReWeighting { beta: 0.9999 },
        ObjectiveConfig::LogitAdjustment { tau: 1.0 },
        ObjectiveConfig::BalancedSoftmax {},
        ObjectiveConfig::VectorScaling {
            gamma: 0.3,
            tau: 1.0,
        },
    ] {
        let name = format!("{objective:?}");
        let found = difference(&step(objective, false), &plain);
        assert!(found <= 1e-6, "{name}: {found}");
    }
    let mut resampled = unclipped(ObjectiveConfig::Erm {}, false);
    resampled.train = training_by(Sampler::Resampled {}, images(Split::Train, 44), 1);
    assert_eq!(after_one_step(&resampled), plain, "re-sampling");
    // 1 is the scale of the head, so only the margin is left.
    let margin_alone = ObjectiveConfig::Ldam {
        max_margin: 0.5,
        scale: 1.0,
        reweight: Reweight::Off {},
    };
    let of_cosines = step(ObjectiveConfig::Erm {}, true);
    let found = difference(&step(margin_alone, true), &of_cosines);
    assert!(found > 1e-4, "{found}");
}

fn refusal(process: &Process) -> String {
    let folder = tempfile::tempdir().unwrap();
    let error = process.run(folder.path(), Start::Fresh).unwrap_err();
    error.to_string()
}

#[test]
fn a_hyperparameter_out_of_range_is_refused_before_the_first_step() {
    let deferred = |epoch, beta| ObjectiveConfig::Ldam {
        max_margin: 0.5,
        scale: 10.0,
        reweight: Reweight::Deferred { epoch, beta },
    };
    let jtt = |identify_epochs, upweight| ObjectiveConfig::Jtt {
        identify_epochs,
        upweight,
    };
    for (objective, reason) in [
        (ObjectiveConfig::Focal { focusing: -1.0 }, "focusing"),
        (ObjectiveConfig::ReWeighting { beta: 1.0 }, "beta"),
        (ObjectiveConfig::LogitAdjustment { tau: -1.0 }, "tau"),
        (
            ObjectiveConfig::VectorScaling {
                gamma: f64::NAN,
                tau: 1.0,
            },
            "gamma",
        ),
        (deferred(3, 0.9), "less than the 3 epochs, got 3"),
        (deferred(1, 1.5), "beta"),
        (
            ObjectiveConfig::GroupDro {
                step_size: -0.1,
                absent: AbsentClasses::Zero,
            },
            "step_size",
        ),
        (ObjectiveConfig::Cvar { alpha: 0.0 }, "alpha"),
        (ObjectiveConfig::Lff { q: 0.0, decay: 0.7 }, "q must be"),
        (ObjectiveConfig::Lff { q: 0.7, decay: 1.0 }, "decay"),
        (jtt(0, 4.0), "between 1 and the 3 epochs"),
        (jtt(4, 4.0), "between 1 and the 3 epochs"),
        (jtt(1, -1.0), "upweight"),
        (
            ObjectiveConfig::SupCon {
                temperature: 0.0,
                base_temperature: 0.1,
            },
            "temperature",
        ),
        (
            ObjectiveConfig::CentreLoss {
                weight: -1.0,
                centre_lr: 0.5,
            },
            "weight",
        ),
        (
            ObjectiveConfig::CentreLoss {
                weight: 1.0,
                centre_lr: -0.5,
            },
            "lr",
        ),
    ] {
        let message = refusal(&process_with(with(objective)));
        assert!(message.starts_with("config key `objective`: "), "{message}");
        assert!(message.contains(reason), "{message}");
    }
    let sharp = |sharpness| TrainConfig {
        sharpness,
        ..config()
    };
    let message = refusal(&process_with(sharp(Sharpness::Sam { rho: 0.0 })));
    assert!(
        message.starts_with("config key `sharpness`: sam: rho"),
        "{message}"
    );
}

#[test]
fn label_smoothing_beside_hard_targets_is_refused() {
    let mut config = with(ObjectiveConfig::Focal { focusing: 2.0 });
    config.label_smoothing = 0.1;
    let expected =
        "config key `label_smoothing`: must be 0, as the objective has hard targets, got 0.1";
    assert_eq!(refusal(&process_with(config)), expected);
}

#[test]
fn ldam_on_a_linear_head_says_which_head_to_write() {
    let message = refusal(&process_with_head(with(ldam()), false));
    assert!(
        message.contains("head = { kind = \"cosine\", scale = 1.0 }"),
        "{message}"
    );
}

#[test]
fn what_a_method_needs_beside_the_model_must_be_there() {
    let process = process_with(with(ObjectiveConfig::Lff { q: 0.7, decay: 0.7 }));
    let alone = process.with_job(|job| mr2_train::Job { twin: None, ..*job }.check());
    let message = alone.unwrap_err().to_string();
    assert!(message.contains("give the job a twin"), "{message}");

    let two_stages = || {
        process_with(with(ObjectiveConfig::Jtt {
            identify_epochs: 1,
            upweight: 4.0,
        }))
    };
    let process = two_stages();
    let alone = process.with_job(|job| {
        mr2_train::Job {
            train_once: None,
            ..*job
        }
        .check()
    });
    let message = alone.unwrap_err().to_string();
    assert!(
        message.starts_with("config key `train_once`: "),
        "{message}"
    );
    let mut process = two_stages();
    process.train_once = process.test.clone();
    let message = refusal(&process);
    let expected = "config key `train_once`: needs a loader of the train part, got Test";
    assert_eq!(message, expected);
    let mut process = two_stages();
    process.train = training(images(Split::Train, 40), 0);
    let message = refusal(&process);
    assert!(
        message.contains("needs the 40 training images in their order"),
        "{message}"
    );
}
