//! What the intervals and the cross-fitted split promise, on simulated runs whose truth is
//! known: 20,000 seeded replicates.
#![allow(clippy::unwrap_used)]

use mr2_metrics::{
    ClassGroup, PhantomGain, cross_fitted, group_accuracy, paired_interval, phantom_gain, thirds,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const REPLICATES: usize = 20_000;
/// Standard deviation over seeds of one class's accuracy, in percentage points.
const SEED_SD: f64 = 3.0;

/// Marsaglia's polar method, both variates used.
struct Normal {
    rng: ChaCha8Rng,
    spare: Option<f64>,
}

impl Normal {
    fn new(seed: u64) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            spare: None,
        }
    }

    fn draw(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        loop {
            let (a, b) = (
                self.rng.random_range(-1.0..1.0),
                self.rng.random_range(-1.0..1.0),
            );
            let square: f64 = a * a + b * b;
            if square > 0.0 && square < 1.0 {
                let scale = (-2.0 * square.ln() / square).sqrt();
                self.spare = Some(b * scale);
                return a * scale;
            }
        }
    }
}

/// Per-class accuracies of `seeds` runs of a method whose classes have the given means.
fn runs(normal: &mut Normal, truth: &[f64], seeds: usize) -> Vec<Vec<Option<f64>>> {
    let mut run = || {
        truth
            .iter()
            .map(|mean| Some(mean + SEED_SD * normal.draw()))
            .collect()
    };
    (0..seeds).map(|_| run()).collect()
}

/// Hard-third accuracy of seed i of both methods, on the classes that `reference` chooses.
fn hard_third(
    erm: &[Vec<Option<f64>>],
    other: &[Vec<Option<f64>>],
    seed: usize,
    reference: &[Option<f64>],
) -> (f64, f64) {
    let hard = thirds(reference).unwrap().unwrap().hard;
    let mean = |run: &[Option<f64>]| group_accuracy(run, &hard).unwrap();
    (mean(&other[seed]), mean(&erm[seed]))
}

/// What one simulation of ERM against ERM found on the hard third.
struct HardThird {
    cross_fitted_gain: f64,
    standard_error: f64,
    same_run_gain: f64,
    coverage: f64,
}

fn erm_against_erm(classes: usize, seeds: usize, class_sd: f64) -> HardThird {
    let mut normal = Normal::new(1000 * seeds as u64 + class_sd as u64);
    let (mut sum, mut squares, mut same_run, mut covered) = (0.0, 0.0, 0.0, 0usize);
    for _ in 0..REPLICATES {
        let truth: Vec<f64> = (0..classes)
            .map(|_| 70.0 + class_sd * normal.draw())
            .collect();
        let erm = runs(&mut normal, &truth, seeds);
        let again = runs(&mut normal, &truth, seeds);
        let (mut method, mut base) = (Vec::new(), Vec::new());
        for seed in 0..seeds {
            let reference = cross_fitted(&erm, Some(seed)).unwrap().accuracy;
            let (other, own) = hard_third(&erm, &again, seed, &reference);
            method.push(other);
            base.push(own);
            let (other, own) = hard_third(&erm, &again, seed, &erm[seed]);
            same_run += (other - own) / seeds as f64;
        }
        let paired = paired_interval(&method, &base, 0.95).unwrap();
        sum += paired.mean;
        squares += paired.mean * paired.mean;
        let interval = paired.interval.unwrap();
        covered += usize::from(interval.low <= 0.0 && 0.0 <= interval.high);
    }
    let n = REPLICATES as f64;
    let mean = sum / n;
    HardThird {
        cross_fitted_gain: mean,
        standard_error: ((squares / n - mean * mean) / n).sqrt(),
        same_run_gain: same_run / n,
        coverage: covered as f64 / n,
    }
}

/// Standard errors within which a mean counts as 0: one in 150,000 under the null.
const NULL_ERRORS: f64 = 4.5;

fn assert_nominal(coverage: f64, what: &str) {
    assert!(
        (0.93..=0.97).contains(&coverage),
        "{what}: 95 % intervals cover {coverage}"
    );
}

#[test]
fn nominal_95_percent_intervals_cover_93_to_97_percent_at_3_and_5_seeds() {
    let mut normal = Normal::new(7);
    for seeds in [3, 5] {
        let mut covered = 0usize;
        for _ in 0..REPLICATES {
            let mut draw = |mean| (0..seeds).map(|_| mean + SEED_SD * normal.draw()).collect();
            let (method, reference): (Vec<f64>, Vec<f64>) = (draw(72.0), draw(70.0));
            let interval = paired_interval(&method, &reference, 0.95)
                .unwrap()
                .interval
                .unwrap();
            covered += usize::from(interval.low <= 2.0 && 2.0 <= interval.high);
        }
        assert_nominal(covered as f64 / REPLICATES as f64, &format!("n = {seeds}"));
    }
}

#[test]
fn erm_against_erm_gains_nothing_cross_fitted_and_something_on_the_same_run() {
    for class_sd in [12.0, 6.0] {
        let hard = erm_against_erm(100, 3, class_sd);
        let error = hard.standard_error;
        let gain = hard.cross_fitted_gain;
        assert!(
            gain.abs() <= NULL_ERRORS * error,
            "class s.d. {class_sd}: {gain} +- {error}"
        );
        // 0.80 and 1.46 points: the regression to the mean that cross-fitting removes.
        let expected = if class_sd > 10.0 { 0.6..1.0 } else { 1.2..1.7 };
        assert!(
            expected.contains(&hard.same_run_gain),
            "{class_sd}: {}",
            hard.same_run_gain
        );
    }
}

#[test]
fn ten_classes_gain_nothing_cross_fitted_either() {
    for seeds in [2, 3, 5] {
        let hard = erm_against_erm(10, seeds, 6.0);
        let (gain, error) = (hard.cross_fitted_gain, hard.standard_error);
        assert!(
            gain.abs() <= NULL_ERRORS * error,
            "n = {seeds}: {gain} +- {error}"
        );
        assert!(
            hard.same_run_gain > 1.0,
            "n = {seeds}: {}",
            hard.same_run_gain
        );
    }
}

/// The seeds of a cross-fitted metric are not quite independent: seed 1's classes are chosen
/// with the run of seed 2, which is scored as well. The interval has to hold all the same.
#[test]
fn intervals_of_the_cross_fitted_hard_third_cover_93_to_97_percent() {
    for seeds in [3, 5] {
        for class_sd in [12.0, 6.0] {
            let coverage = erm_against_erm(10, seeds, class_sd).coverage;
            assert_nominal(coverage, &format!("n = {seeds}, class s.d. {class_sd}"));
        }
    }
}

/// Mean phantom gain on a group over the replicates, and how often the 95 % interval holds it.
fn phantom(class_sd: f64, seed_sd: f64, seeds: usize, group: ClassGroup) -> (f64, f64) {
    let mut normal = Normal::new(11);
    let gains: Vec<PhantomGain> = (0..REPLICATES / 10)
        .map(|_| {
            let truth: Vec<f64> = (0..99).map(|_| 70.0 + class_sd * normal.draw()).collect();
            let mut run = || -> Vec<Option<f64>> {
                let accuracy = |mean| Some(mean + seed_sd * normal.draw());
                truth.iter().map(accuracy).collect()
            };
            let runs: Vec<_> = (0..seeds).map(|_| run()).collect();
            phantom_gain(&runs, group, 0.95).unwrap().unwrap()
        })
        .collect();
    let n = gains.len() as f64;
    let mean = gains.iter().map(|gain| gain.mean).sum::<f64>() / n;
    let holds = |gain: &&PhantomGain| {
        let interval = gain.interval;
        interval.is_some_and(|interval| interval.low <= mean && mean <= interval.high)
    };
    (mean, gains.iter().filter(holds).count() as f64 / n)
}

#[test]
fn fresh_runs_of_the_same_method_gain_on_hard_classes_of_one_run_and_lose_on_easy_ones() {
    // The mean of the lowest third of normal numbers lies 1.09 standard deviations low.
    for seeds in [2, 5] {
        let of = |group| phantom(0.0, SEED_SD, seeds, group).0 / SEED_SD;
        let (hard, easy) = (of(ClassGroup::Hard), of(ClassGroup::Easy));
        assert!((hard - 1.08).abs() < 0.02, "{hard}");
        assert!((easy + 1.08).abs() < 0.02, "{easy}");
        assert!(of(ClassGroup::Medium).abs() < 0.02);
        assert!(of(ClassGroup::WorstClass) > 2.3, "the lowest of 99");
    }
    let (hard, _) = phantom(12.0, SEED_SD, 3, ClassGroup::Hard);
    assert!(
        (0.6..1.0).contains(&hard),
        "{hard}: as on the same run above"
    );
}

#[test]
fn runs_without_noise_have_no_phantom_gain() {
    for group in ClassGroup::ALL {
        assert_eq!(phantom(12.0, 0.0, 3, group).0, 0.0);
    }
}

/// The gains share runs, which makes their intervals too wide, not too narrow.
#[test]
fn nominal_95_percent_intervals_of_phantom_gains_cover_more() {
    for (class_sd, seeds) in [(0.0, 3), (12.0, 3), (0.0, 5), (12.0, 5)] {
        let (_, coverage) = phantom(class_sd, SEED_SD, seeds, ClassGroup::Hard);
        assert!(
            (0.95..0.995).contains(&coverage),
            "n = {seeds}, class s.d. {class_sd}: {coverage}"
        );
    }
}
