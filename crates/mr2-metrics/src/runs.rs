//! The runs that go into a table, and whether they can stand in one.

use std::collections::BTreeSet;

use crate::confusion::Confusion;
use crate::error::{Error, check_finite, check_length};
use crate::per_class::PerClass;

/// The test images of a run, one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Images<'a> {
    /// The class of every test image.
    pub labels: &'a [u32],
    /// The predicted class of every test image.
    pub predictions: &'a [u32],
}

/// One trained network on the test images.
#[derive(Debug, Clone, PartialEq)]
pub struct SeedRun<'a> {
    /// The seed that pairs it with the other methods' runs.
    pub seed: u64,
    /// Correct and all test images of each class.
    pub per_class: PerClass,
    /// Mean per-class F1, where it is known ([`Confusion::macro_f1`]).
    pub macro_f1: Option<f64>,
    /// Top-5 accuracy, where scores are at hand ([`top_k`](fn@crate::top_k)).
    pub top5: Option<f64>,
    /// Expected calibration error, where probabilities are at hand
    /// ([`calibration`](fn@crate::calibration)).
    pub ece: Option<f64>,
    /// The images that were counted, where they are at hand; without them there is no interval
    /// over test images.
    pub images: Option<Images<'a>>,
}

impl<'a> SeedRun<'a> {
    /// A run of which labels and predictions are known.
    ///
    /// # Errors
    /// Lengths that differ, no image, or a label or prediction not below `classes`.
    pub fn new(
        seed: u64,
        labels: &'a [u32],
        predictions: &'a [u32],
        classes: usize,
    ) -> Result<Self, Error> {
        let images = Images {
            labels,
            predictions,
        };
        Ok(Self {
            macro_f1: Confusion::from_predictions(labels, predictions, classes)?.macro_f1(),
            images: Some(images),
            ..Self::from_counts(
                seed,
                PerClass::from_predictions(labels, predictions, classes)?,
            )
        })
    }

    /// A run of which only the counts of each class are known, as a saved result has them.
    ///
    /// ```
    /// use mr2_metrics::{ClassReport, MethodRuns, Metric, PerClass, ReportConfig, SeedRun};
    ///
    /// let run = |seed, correct: [u64; 3]| {
    ///     let (correct, count) = (correct.to_vec(), vec![10; 3]);
    ///     SeedRun::from_counts(seed, PerClass { correct, count })
    /// };
    /// let erm = MethodRuns {
    ///     name: "ERM".into(),
    ///     runs: vec![run(0, [9, 7, 5]), run(1, [9, 8, 4])],
    /// };
    /// let report = ClassReport::new(&erm, &[], 3, &ReportConfig::standard())?;
    /// let hard = report.rows[0].cell(Metric::Hard).expect("three classes");
    /// assert_eq!(hard.per_seed, [0.5, 0.4]);
    /// # Ok::<(), mr2_metrics::Error>(())
    /// ```
    pub fn from_counts(seed: u64, per_class: PerClass) -> Self {
        Self {
            seed,
            per_class,
            macro_f1: None,
            top5: None,
            ece: None,
            images: None,
        }
    }

    /// Refuses a run that contradicts itself.
    fn check(&self, classes: usize) -> Result<(), Error> {
        let PerClass { correct, count } = &self.per_class;
        check_length("correct images of each class", classes, correct.len())?;
        check_length("images of each class", classes, count.len())?;
        if let Some(class) = (0..classes).find(|&class| correct[class] > count[class]) {
            return Err(Error::MoreCorrectThanImages {
                class,
                correct: correct[class],
                count: count[class],
            });
        }
        if count.iter().all(|&count| count == 0) {
            let what = "images of each class";
            return Err(Error::Empty { what, minimum: 1 });
        }
        check_finite("macro_f1", self.macro_f1)?;
        check_finite("top5", self.top5)?;
        check_finite("ece", self.ece)?;
        let Some(images) = self.images else {
            return Ok(());
        };
        let counted = PerClass::from_predictions(images.labels, images.predictions, classes)?;
        let differs = |&class: &usize| {
            (counted.correct[class], counted.count[class]) != (correct[class], count[class])
        };
        match (0..classes).find(differs) {
            Some(class) => Err(Error::CountsOfOtherImages { class }),
            None => Ok(()),
        }
    }
}

/// All runs of one method.
#[derive(Debug, Clone, PartialEq)]
pub struct MethodRuns<'a> {
    /// Its name in the table.
    pub name: String,
    /// Its runs, one per seed.
    pub runs: Vec<SeedRun<'a>>,
}

/// Refuses methods that can't stand in one table; returns the class counts that all runs share.
pub(crate) fn check_methods(
    reference: &MethodRuns<'_>,
    others: &[MethodRuns<'_>],
    classes: usize,
) -> Result<Vec<u64>, Error> {
    let mut names = BTreeSet::new();
    let mut first = None;
    let mut labels = None;
    for method in std::iter::once(reference).chain(others) {
        let name = || method.name.clone();
        if !names.insert(&method.name) {
            return Err(Error::DuplicateMethod { name: name() });
        }
        if method.runs.is_empty() {
            return Err(Error::NoRuns { method: name() });
        }
        let mut seeds = BTreeSet::new();
        for run in &method.runs {
            let (method, seed) = (name(), run.seed);
            if !seeds.insert(seed) {
                return Err(Error::DuplicateSeed { method, seed });
            }
            let in_run = |source| Error::Run {
                method: name(),
                seed,
                source: Box::new(source),
            };
            run.check(classes).map_err(in_run)?;
            if let Some(images) = run.images {
                let labels = *labels.get_or_insert(images.labels);
                check_length("labels", labels.len(), images.labels.len()).map_err(in_run)?;
                if let Some(index) = (0..labels.len()).find(|&i| labels[i] != images.labels[i]) {
                    return Err(Error::DifferentTestSet {
                        method,
                        seed,
                        index,
                    });
                }
            }
            let counts = *first.get_or_insert(&run.per_class.count);
            if let Some(class) = (0..classes).find(|&k| counts[k] != run.per_class.count[k]) {
                return Err(Error::DifferentCounts {
                    method,
                    seed,
                    class,
                    expected: counts[class],
                    got: run.per_class.count[class],
                });
            }
        }
    }
    Ok(first.cloned().unwrap_or_default())
}
