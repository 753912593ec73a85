//! Which arm of a stage wins, and which classes are hard.

use anyhow::{Context, Result};
use mr2_metrics::{PerClass, group_accuracy, mean_sd, thirds};

use super::plan::{Arm, Score};
use super::results::TunedArm;

/// An arm's score from what its runs measured on validation images, one a seed; `hard` are the hard
/// classes, where a stage has chosen them.
pub(super) fn judge(
    arm: &Arm,
    score: Score,
    per_seed: &[PerClass],
    hard: Option<&[usize]>,
) -> Result<TunedArm> {
    let class_accuracy: Vec<_> = per_seed.iter().map(PerClass::accuracies).collect();
    let overall: Vec<f64> = per_seed.iter().filter_map(PerClass::overall).collect();
    let hard: Option<Vec<f64>> = hard.map(|hard| {
        let of_seeds = class_accuracy.iter().map(|a| group_accuracy(a, hard));
        of_seeds.flatten().collect()
    });
    let mean = |values: &[f64]| {
        mean_sd(values)
            .map(|m| m.mean)
            .with_context(|| format!("arm `{}`: accuracies", arm.name))
    };
    let score = match (score, &hard) {
        (Score::OverallAndHard, Some(hard)) => (mean(&overall)? + mean(hard)?) / 2.0,
        _ => mean(&overall)?,
    };
    Ok(TunedArm {
        name: arm.name.clone(),
        set: arm.set.clone(),
        score,
        overall,
        hard,
        class_accuracy,
    })
}

/// The arm with the highest score; the first of equals.
pub(super) fn winner(arms: &[TunedArm]) -> Option<&TunedArm> {
    // Of equals, `max_by` takes the last.
    arms.iter().rev().max_by(|a, b| a.score.total_cmp(&b.score))
}

/// The hard third by the arm's class accuracies, averaged over its seeds.
pub(super) fn hard_classes(arm: &TunedArm) -> Result<Vec<usize>> {
    let classes = arm.class_accuracy.first().map_or(0, Vec::len);
    let mean: Vec<Option<f64>> = (0..classes)
        .map(|k| {
            let of_seeds: Vec<f64> = arm.class_accuracy.iter().filter_map(|a| a[k]).collect();
            mean_sd(&of_seeds).ok().map(|m| m.mean)
        })
        .collect();
    let thirds = thirds(&mean)?.context("thirds need at least 3 classes")?;
    Ok(thirds.hard)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A seed's validation: images right of ten in each of three classes.
    fn seed(right: [u64; 3]) -> PerClass {
        PerClass {
            correct: right.to_vec(),
            count: vec![10; 3],
        }
    }

    fn judged(name: &str, score: Score, hard: &[usize], seeds: &[[u64; 3]]) -> TunedArm {
        let arm = Arm {
            name: name.into(),
            set: Vec::new(),
        };
        let per_seed: Vec<PerClass> = seeds.iter().copied().map(seed).collect();
        judge(&arm, score, &per_seed, Some(hard)).unwrap()
    }

    #[test]
    fn the_highest_mean_over_seeds_wins_and_the_first_of_equals() {
        let overall = |name, seeds| judged(name, Score::Overall, &[0], seeds);
        let arms = [
            overall("one good seed", &[[10, 10, 10], [3, 3, 3]]),
            overall("best", &[[7, 7, 7], [7, 7, 7]]),
            overall("best again", &[[8, 8, 8], [6, 6, 6]]),
        ];
        assert_eq!(winner(&arms).unwrap().name, "best");
    }

    #[test]
    fn the_hard_third_counts_as_much_as_all_classes_where_the_stage_says_so() {
        let seeds = [[9, 9, 2], [9, 9, 4]];
        let overall = judged("a", Score::Overall, &[2], &seeds);
        assert!((overall.score - 0.7).abs() < 1e-12, "{}", overall.score);
        let both = judged("a", Score::OverallAndHard, &[2], &seeds);
        assert!((both.score - 0.5).abs() < 1e-12, "{}", both.score);
        assert_eq!(both.hard, Some(vec![0.2, 0.4]));
    }

    #[test]
    fn the_hard_classes_are_those_of_the_mean_over_seeds() {
        // The lowest of the first seed is class 0, of both together class 1.
        let arm = judged("a", Score::Overall, &[0], &[[4, 5, 9], [9, 5, 9]]);
        assert_eq!(hard_classes(&arm).unwrap(), [1]);
    }
}
