//! Which arm of a stage wins, and which classes are hard.

use anyhow::{Context, Result};
use mr2_metrics::{PerClass, group_accuracy, holm, mean_sd, paired_interval, thirds};

use super::plan::{Arm, Choose, Score};
use super::results::{Difference, TunedArm};
use crate::choice::{highest, overall_and_hard};

/// The level of the intervals.
const LEVEL: f64 = 0.95;

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
    let scores: Vec<f64> = match (score, &hard) {
        (Score::OverallAndHard, Some(hard)) => {
            let pairs = overall.iter().zip(hard);
            pairs
                .map(|(&overall, &hard)| overall_and_hard(overall, hard))
                .collect()
        }
        _ => overall.clone(),
    };
    let score = mean_sd(&scores).with_context(|| format!("arm `{}`: accuracies", arm.name))?;
    Ok(TunedArm {
        name: arm.name.clone(),
        set: arm.set.clone(),
        score: score.mean,
        scores,
        difference: None,
        overall,
        hard,
        class_accuracy,
    })
}

/// Sets how the score of each arm but the first differs from the first's, seed by seed.
pub(super) fn compare(arms: &mut [TunedArm]) -> Result<()> {
    let Some((first, others)) = arms.split_first_mut() else {
        return Ok(());
    };
    let paired = others
        .iter()
        .map(|arm| Ok(paired_interval(&arm.scores, &first.scores, LEVEL)?))
        .collect::<Result<Vec<_>>>()?;
    let p: Vec<Option<f64>> = paired.iter().map(|paired| paired.p).collect();
    for ((arm, paired), p) in others.iter_mut().zip(paired).zip(holm(&p)?) {
        arm.difference = Some(Difference {
            mean: paired.mean,
            interval: paired.interval.map(|i| [i.low, i.high]),
            p,
        });
    }
    Ok(())
}

/// The arm that the scores choose; the first of equals.
pub(super) fn winner(arms: &[TunedArm], choose: Choose) -> Option<&TunedArm> {
    let decided = |arm: &TunedArm| match &arm.difference {
        Some(found) => found.mean > 0.0 && found.p.is_some_and(|p| p <= 1.0 - LEVEL),
        None => true,
    };
    let candidates = arms
        .iter()
        .filter(|arm| choose == Choose::Highest || decided(arm));
    highest(candidates.map(|arm| (arm, arm.score)))
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
        assert_eq!(winner(&arms, Choose::Highest).unwrap().name, "best");
    }

    #[test]
    fn the_first_arm_stays_unless_a_gain_is_decided() {
        let overall = |name, right: &[[u64; 3]]| judged(name, Score::Overall, &[0], right);
        let choose = |other: TunedArm, third: TunedArm| {
            let mut arms = [
                overall("now", &[[5, 5, 5], [6, 6, 6], [5, 5, 5]]),
                other,
                third,
            ];
            compare(&mut arms).unwrap();
            let chosen = winner(&arms, Choose::HighestDecided).unwrap().name.clone();
            (chosen, arms)
        };
        let lucky = || overall("lucky", &[[6, 5, 5], [10, 10, 10], [5, 5, 5]]);
        let worse = || overall("worse", &[[3, 3, 3], [4, 4, 4], [3, 3, 4]]);
        let (chosen, arms) = choose(lucky(), worse());
        assert_eq!(chosen, "now");
        assert!(arms[0].difference.is_none());
        // Differences of 1/30, 12/30 and 0: mean 0.1444, s.d. 0.2219; t = 1.128 with 2 degrees of freedom.
        let found = arms[1].difference.as_ref().unwrap();
        let [low, high] = found.interval.unwrap();
        assert!((found.mean - 0.144_444).abs() < 1e-5);
        assert!(
            (low + 0.406_8).abs() < 1e-3 && (high - 0.695_7).abs() < 1e-3,
            "{low} {high}"
        );
        let steady = overall("steady", &[[8, 8, 8], [9, 9, 9], [8, 8, 7]]);
        assert_eq!(choose(lucky(), steady).0, "steady");
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
