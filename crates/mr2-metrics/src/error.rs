//! What can be wrong with the numbers handed in.

use thiserror::Error;

/// A refused input. Every message names the argument, what was expected and what came.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum Error {
    /// Two slices that belong together differ in length.
    #[error(
        "{what}: expected {expected} values, got {got}; pass slices that describe the same items"
    )]
    Length {
        /// Which argument.
        what: &'static str,
        /// The length that the other argument asks for.
        expected: usize,
        /// The length that came.
        got: usize,
    },
    /// There is nothing to measure.
    #[error("{what} is empty; pass at least {minimum}")]
    Empty {
        /// Which argument.
        what: &'static str,
        /// The smallest number that has a result.
        minimum: usize,
    },
    /// A class index at or beyond the number of classes.
    #[error(
        "{what}[{index}] is class {class}, but there are {classes} classes (0 to {last}); \
         check the number of classes or the data",
        last = classes.saturating_sub(1)
    )]
    ClassOutOfRange {
        /// Which argument.
        what: &'static str,
        /// Position in it.
        index: usize,
        /// The class found there.
        class: u32,
        /// The number of classes.
        classes: usize,
    },
    /// A NaN or infinite number.
    #[error("{what}[{index}] is {value}; every number must be finite")]
    NotFinite {
        /// Which argument.
        what: &'static str,
        /// Position in it.
        index: usize,
        /// The number found there.
        value: f64,
    },
    /// A row of probabilities with a negative entry or a sum other than 1.
    #[error(
        "probabilities of image {row} {problem}; expected values in [0, 1] that sum to 1 \
         (for logits, take softmax first)"
    )]
    NotProbabilities {
        /// The image.
        row: usize,
        /// What is wrong with its row.
        problem: String,
    },
    /// A setting outside its range.
    #[error("{name} is {value}, expected {expected}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: f64,
        /// The range.
        expected: &'static str,
    },
    /// Runs that are to be compared were evaluated on different labels.
    #[error(
        "{method}, seed {seed}: its labels differ from the first run's at image {index}; \
         only runs evaluated on the same test images in the same order can be compared"
    )]
    DifferentTestSet {
        /// The method whose run differs.
        method: String,
        /// The seed of that run.
        seed: u64,
        /// The first image where they differ.
        index: usize,
    },
    /// Runs that are to be compared were evaluated on different numbers of images.
    #[error(
        "{method}, seed {seed}: {got} images of class {class}, where the first run has \
         {expected}; only runs evaluated on the same test images can be compared"
    )]
    DifferentCounts {
        /// The method whose run differs.
        method: String,
        /// The seed of that run.
        seed: u64,
        /// The first class where they differ.
        class: usize,
        /// Its images in the first run.
        expected: u64,
        /// Its images in this run.
        got: u64,
    },
    /// A class with more correct images than images.
    #[error("class {class}: {correct} correct images of {count}; expected at most {count}")]
    MoreCorrectThanImages {
        /// The class.
        class: usize,
        /// Its correct images.
        correct: u64,
        /// Its images.
        count: u64,
    },
    /// The counts of a run are not those of its labels and predictions.
    #[error(
        "class {class}: per_class does not count the labels and predictions in images; make the \
         run with SeedRun::new"
    )]
    CountsOfOtherImages {
        /// The first class where they differ.
        class: usize,
    },
    /// A method lists one seed twice.
    #[error("{method}: seed {seed} is listed twice; give each seed of a method once")]
    DuplicateSeed {
        /// The method.
        method: String,
        /// The seed.
        seed: u64,
    },
    /// Two methods of one report share a name.
    #[error("two methods are named {name}; give each method of a report its own name")]
    DuplicateMethod {
        /// The name.
        name: String,
    },
    /// A method without runs.
    #[error("{method} has no runs; give it at least one seed")]
    NoRuns {
        /// The method.
        method: String,
    },
    /// One run of a report is invalid.
    #[error("{method}, seed {seed}: {source}")]
    Run {
        /// The method.
        method: String,
        /// The seed of the run.
        seed: u64,
        /// What is wrong with it.
        source: Box<Error>,
    },
}

/// Refuses slices of different lengths.
pub(crate) fn check_length(what: &'static str, expected: usize, got: usize) -> Result<(), Error> {
    if expected == got {
        Ok(())
    } else {
        Err(Error::Length {
            what,
            expected,
            got,
        })
    }
}

/// Refuses class indices outside `0..classes`.
pub(crate) fn check_classes(
    what: &'static str,
    values: &[u32],
    classes: usize,
) -> Result<(), Error> {
    match values.iter().position(|&class| class as usize >= classes) {
        None => Ok(()),
        Some(index) => Err(Error::ClassOutOfRange {
            what,
            index,
            class: values[index],
            classes,
        }),
    }
}

/// Refuses NaN and infinity.
pub(crate) fn check_finite(
    what: &'static str,
    values: impl IntoIterator<Item = f64>,
) -> Result<(), Error> {
    match values
        .into_iter()
        .enumerate()
        .find(|(_, value)| !value.is_finite())
    {
        None => Ok(()),
        Some((index, value)) => Err(Error::NotFinite { what, index, value }),
    }
}

/// Refuses NaN and infinity where a class may be absent.
pub(crate) fn check_finite_present(
    what: &'static str,
    values: &[Option<f64>],
) -> Result<(), Error> {
    check_finite(what, values.iter().map(|value| value.unwrap_or(0.0)))
}

/// Refuses a fraction outside the open interval (0, 1).
pub(crate) fn check_open_unit(name: &'static str, value: f64) -> Result<(), Error> {
    if value > 0.0 && value < 1.0 {
        Ok(())
    } else {
        Err(Error::Setting {
            name,
            value,
            expected: "a fraction between 0 and 1, both excluded",
        })
    }
}
