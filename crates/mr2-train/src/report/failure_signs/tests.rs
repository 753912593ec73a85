//! Each sign is shown by an epoch that has it and by no other.
#![allow(clippy::unwrap_used)]

use mr2_metrics::PerClass;

use super::*;
use crate::report::{ClassSeries, Correlations, Pulls};

const WATCHED: Watched = Watched {
    representation_weight: 0.3,
    decay: 0.9,
};

/// An epoch in which nothing is wrong.
fn healthy(epoch: u64) -> EpochRecord {
    let known = |values: [f64; 3]| values.map(Some).to_vec();
    let classes = ClassSeries {
        m: known([1.0, 1.0, 1.0]),
        v: known([0.5, 1.0, 2.0]),
        second_moment: known([1.5, 2.0, 3.0]),
        gamma: known([0.8, 1.0, 1.2]),
        head_norm: known([1.0, 1.1, 0.9]),
    };
    let accuracy = [0.9, 0.8, 0.7].map(Some);
    let on = MeasuredOn::Validation;
    EpochRecord {
        epoch,
        step: 10 * epoch,
        lr: 0.1,
        loss: 1.0,
        classification_loss: 0.9,
        representation_loss: 0.3,
        images_per_second: 1.0,
        share_with_positive: 1.0,
        train_accuracy: Some(0.8),
        train_classes: counts([90, 80, 70]),
        validation_accuracy: Some(0.8),
        validation_classes: Some(counts([90, 80, 70])),
        validation_loss: Some(0.7),
        test_classes: None,
        training_set: None,
        correlations: Correlations::new(on, &accuracy, &classes).unwrap(),
        classes,
        spread_threshold: Some(1.0),
        pulls: None,
        signs: Vec::new(),
    }
}

fn counts(correct: [u64; 3]) -> PerClass {
    PerClass {
        correct: correct.to_vec(),
        count: vec![100; 3],
    }
}

#[track_caller]
fn check(change: impl FnOnce(&mut EpochRecord), expected: &[FailureSign], message: &str) {
    let mut now = healthy(2);
    change(&mut now);
    let found = signs(&now, &[healthy(1)], Some(WATCHED)).unwrap();
    assert_eq!(
        found.iter().map(|sign| sign.sign).collect::<Vec<_>>(),
        expected
    );
    if let Some(first) = found.first() {
        assert!(first.message.contains(message), "{}", first.message);
    }
}

fn pulls(classification: f64, representation: f64) -> Option<Pulls> {
    Some(Pulls {
        classification,
        representation,
    })
}

#[test]
fn a_healthy_epoch_shows_no_sign() {
    check(|_| {}, &[], "");
    assert_eq!(signs(&healthy(1), &[], None).unwrap(), []);
}

#[test]
fn each_sign_is_seen_with_its_numbers() {
    use FailureSign::*;
    let known = |values: [f64; 3]| values.map(Some).to_vec();
    check(
        |now| now.classes.head_norm = known([1.0, 3.0, 1.0]),
        &[UnequalHeadNorms],
        "from 1.000 to 3.000",
    );
    check(
        |now| now.pulls = pulls(0.5, 0.6),
        &[RepresentationDominates],
        "is 1.20 times the classification term's: λ = 0.3",
    );
    let gamma: Vec<Option<f64>> = (0..30)
        .map(|k| Some(if k == 0 { 30.0 } else { 1.0 }))
        .collect();
    check(
        |now| {
            now.classes.gamma = gamma;
            now.validation_classes = Some(PerClass {
                correct: vec![90; 30],
                count: vec![100; 30],
            });
        },
        &[MarginsExplode],
        "is 30.000, the mean 1.967",
    );
    check(
        |now| now.train_classes.count[2] = 9,
        &[StaleStatistics],
        "1 of 3 classes had fewer updates in the epoch than the 10 that",
    );
    // However many images they have, nine steps are nine updates.
    check(
        |now| now.step = 9 * now.epoch,
        &[StaleStatistics],
        "3 of 3 classes had fewer updates in the epoch than the 10 that",
    );
    check(
        |now| now.classes.v[1] = None,
        &[StaleStatistics],
        "and 1 have no spread yet",
    );
    check(
        |now| now.validation_classes = Some(counts([90, 80, 60])),
        &[HardClassesDrop],
        "lost 10.0 points since epoch 1",
    );
    check(
        |now| {
            now.validation_classes = Some(counts([80, 80, 70]));
            now.classes.v = known([0.01, 0.01, 0.02]);
        },
        &[OverCompression],
        "lost 10.0 points since epoch 1 while v fell to 0.006",
    );
}

#[test]
fn as_many_updates_as_the_averages_span_are_not_stale() {
    // 1 / (1 − 0.9) is 10.000000000000002.
    check(|now| now.train_classes.count = vec![10; 3], &[], "");
    check(|now| now.step = 10 * now.epoch, &[], "");
}

#[test]
fn plain_cross_entropy_is_not_told_about_margins() {
    let mut now = healthy(2);
    now.representation_loss = 9.0;
    now.validation_classes = Some(counts([90, 80, 10]));
    assert_eq!(signs(&now, &[healthy(1)], None).unwrap(), []);
}

#[test]
fn a_large_term_with_a_gentle_pull_does_not_dominate() {
    // The value is D/10 · ln(1 + positives) for the published reduction, whatever the features are.
    let change = |now: &mut EpochRecord| {
        now.representation_loss = 16.0;
        now.loss = 5.2;
        now.pulls = pulls(0.09, 0.002);
    };
    check(change, &[], "");
    // Without a classification gradient there is nothing to compare with.
    check(|now| now.pulls = pulls(0.0, 0.0), &[], "");
}

/// An epoch of six classes.
fn six_classes(correct: [u64; 6], second_moment: [f64; 6], gamma: [f64; 6]) -> EpochRecord {
    let mut now = healthy(2);
    let one = vec![Some(1.0); 6];
    let counted = |correct: [u64; 6]| PerClass {
        correct: correct.to_vec(),
        count: vec![100; 6],
    };
    now.train_classes = counted([50; 6]);
    now.validation_classes = Some(counted(correct));
    now.classes = ClassSeries {
        m: one.clone(),
        v: one.clone(),
        second_moment: second_moment.map(Some).to_vec(),
        gamma: gamma.map(Some).to_vec(),
        head_norm: one,
    };
    now
}

#[test]
fn the_premise_is_a_sign_only_where_its_reverse_is_significant() {
    let rising = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    let easier = [50, 60, 70, 80, 90, 95];
    let found = |correct, second_moment, gamma| {
        let now = six_classes(correct, second_moment, gamma);
        let signs = signs(&now, &[], None).unwrap().into_iter();
        let messages = signs.map(|sign| {
            assert_eq!(sign.sign, FailureSign::SpreadWithoutDifficulty);
            sign.message
        });
        messages.collect::<Vec<_>>()
    };
    // Equal margins: of m + v.
    let reversed = found(easier, rising, [1.0; 6]);
    let expected = "harder classes have the smaller m + v here: Spearman's ρ of validation accuracy \
                    with it is +1.00 (p = 0.0028), so margins that grow with it would favour easy \
                    classes";
    assert_eq!(reversed, [expected]);
    // ρ is +0.54, which chance gives often (p = 0.3).
    assert!(found([60, 50, 90, 80, 95, 70], rising, [1.0; 6]).is_empty());
    assert!(found([95, 90, 80, 70, 60, 50], rising, [1.0; 6]).is_empty());
    // Different margins: of them, whatever m + v is.
    let falling = [1.5, 1.4, 1.2, 0.8, 0.6, 0.5];
    assert!(found(easier, rising, falling).is_empty());
    let reversed = found(easier, falling, rising);
    let expected = "harder classes have the smaller margin γ here";
    assert!(reversed[0].starts_with(expected), "{reversed:?}");
    assert!(reversed[0].ends_with("so the margins favour easy classes"));
}

/// Signs of an epoch of `classes` classes whose accuracy has nothing to do with m + v, after another.
fn signs_without_correlation(classes: usize, before: &[EpochRecord]) -> (EpochRecord, Vec<Sign>) {
    let mut now = healthy(2);
    let of_classes = |value: fn(usize) -> f64| (0..classes).map(|k| Some(value(k))).collect();
    let counted = |correct: fn(usize) -> u64| PerClass {
        correct: (0..classes).map(correct).collect(),
        count: vec![1000; classes],
    };
    now.train_classes = counted(|_| 500);
    // Up and down by turns: ρ with a rising quantity is near 0.
    now.validation_classes = Some(counted(|k| match k % 2 {
        0 => 500 - k as u64,
        _ => 500 + k as u64,
    }));
    now.classes = ClassSeries {
        m: of_classes(|_| 1.0),
        v: of_classes(|_| 1.0),
        second_moment: of_classes(|k| 1.0 + k as f64),
        gamma: of_classes(|_| 1.0),
        head_norm: of_classes(|_| 1.0),
    };
    let found = signs(&now, before, None).unwrap();
    (now, found)
}

#[test]
fn among_many_classes_no_correlation_in_two_epochs_is_a_sign() {
    let (first, found) = signs_without_correlation(60, &[]);
    assert_eq!(found, [], "one early epoch is noise");
    let (_, found) = signs_without_correlation(60, std::slice::from_ref(&first));
    let [sign] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(sign.sign, FailureSign::SpreadWithoutDifficulty);
    let expected = "harder classes have neither the smaller nor the larger m + v here: Spearman's ρ of \
                    validation accuracy with it is ";
    assert!(sign.message.starts_with(expected), "{}", sign.message);
    let end = "so margins that grow with it would have little to do with difficulty";
    assert!(sign.message.ends_with(end), "{}", sign.message);
    // Few classes can't show it.
    let (few, _) = signs_without_correlation(40, &[]);
    let (_, found) = signs_without_correlation(40, &[few]);
    assert_eq!(found, []);
}
