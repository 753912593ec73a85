//! What choosing on test images seems to gain: its rules at the edges.
#![allow(clippy::unwrap_used)]

use mr2_metrics::{ClassGroup, best_on_test, phantom_gain};

#[test]
fn phantom_gains_need_two_runs_and_a_group() {
    let run = vec![Some(0.5), Some(0.7), None];
    let gain = |runs: &[Vec<Option<f64>>], group| phantom_gain(runs, group, 0.95).unwrap();
    assert_eq!(gain(&[], ClassGroup::Hard), None);
    assert_eq!(
        gain(std::slice::from_ref(&run), ClassGroup::WorstClass),
        None
    );
    assert_eq!(gain(&[run.clone(), run.clone()], ClassGroup::Hard), None);
    let same = gain(&[run.clone(), run.clone()], ClassGroup::WorstClass).unwrap();
    assert_eq!((same.per_run, same.interval), (vec![0.0, 0.0], None));
    let other = vec![None, Some(0.7), Some(0.2)];
    assert_eq!(gain(&[run, other], ClassGroup::WorstClass), None);
}

#[test]
fn the_best_epoch_is_the_first_of_the_highest_and_untested_ones_are_left_out() {
    let best = |accuracies: &[Option<f64>]| {
        best_on_test(accuracies)
            .unwrap()
            .map(|best| (best.position, best.accuracy))
    };
    assert_eq!(
        best(&[None, Some(0.7), Some(0.72), Some(0.72)]),
        Some((2, 0.72))
    );
    assert_eq!(best(&[None, None]), None);
    assert_eq!(best(&[]), None);
}
