//! Results made of counts: six classes with 100 test images each, two epochs.

use std::sync::OnceLock;

use mr2_metrics::PerClass;
use mr2_train::RunResult;

use super::super::CollectedRun;
use super::NAME;

const IMAGES: u64 = 100;

/// A run: correct test images of each class at the end, and after the epoch before.
pub struct Runs {
    pub last: [u64; 6],
    pub before: [u64; 6],
}

/// A run whose epoch before the last is no better.
pub fn run(last: [u64; 6]) -> Runs {
    Runs {
        last,
        before: last.map(|correct| correct - 10),
    }
}

/// The committed result that every made-up one starts from, read as any result is.
fn template() -> &'static RunResult {
    static TEMPLATE: OnceLock<RunResult> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let committed = root.join("experiments/results/quickstart/runs/erm-seed1.json");
        std::fs::copy(committed, folder.path().join("result.json")).expect("a committed result");
        RunResult::read(folder.path()).expect("a result")
    })
}

fn counts(correct: [u64; 6]) -> PerClass {
    PerClass {
        correct: correct.into(),
        count: vec![IMAGES; 6],
    }
}

impl Runs {
    /// The run as a report reads it.
    pub fn of_seed(&self, seed: u64) -> CollectedRun {
        let mut result = template().clone();
        result.seed = seed;
        result.config.seed = seed;
        result.class_names = ["zero", NAME, "two", "three", "four", "five"]
            .map(String::from)
            .into();
        let test = &mut result.test;
        test.per_class = counts(self.last);
        test.class_accuracy = test.per_class.accuracies();
        test.overall = test.per_class.overall();
        test.mean_recall = test.overall;
        test.top5 = Some(0.99);
        test.ece = 0.01 * seed as f64;
        // Falls as the accuracies of the reference rise.
        result.classes.second_moment = [6.0, 5.0, 4.0, 3.0, 2.0, 1.0].map(Some).into();
        result.classes.v = [1.5, 1.0, 0.5, 1.5, 1.0, 0.5].map(Some).into();
        result.classes.m = [4.5, 4.0, 3.5, 1.5, 1.0, 0.5].map(Some).into();
        result.classes.head_norm.truncate(6);
        result.classes.gamma.truncate(6);
        result.curves.truncate(2);
        for (epoch, correct) in result.curves.iter_mut().zip([self.before, self.last]) {
            epoch.test_classes = Some(counts(correct));
        }
        result.versions = [("mr2", "0.1.0"), ("code", "abc")]
            .map(|(name, version)| (name.to_string(), version.to_string()))
            .into();
        CollectedRun {
            key: format!("{:016x}", self.last.iter().sum::<u64>() * 10 + seed),
            seed,
            result,
        }
    }
}
