//! What a running training tells its observer.

use std::path::Path;

use crate::metrics_log::StepRecord;
use crate::report::EpochRecord;

/// The images of an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// Those held out of the training set.
    Validation,
    /// The test part.
    Test,
    /// Another test set, by its name.
    ExtraTest(&'a str),
    /// The training images, without augmentation.
    Training,
}

/// Something that happened; borrowed, so an observer copies what it keeps.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Training begins or continues.
    Started {
        /// Steps that are done.
        step: u64,
        /// Steps of the whole run.
        total_steps: u64,
        /// Steps of an epoch.
        steps_per_epoch: u64,
    },
    /// A step is done.
    Step {
        /// Its record.
        record: &'a StepRecord,
        /// Images trained on per second in this epoch so far.
        images_per_second: f64,
    },
    /// An evaluation begins.
    Evaluating(Part<'a>),
    /// An epoch is done.
    Epoch(&'a EpochRecord),
    /// A checkpoint was written.
    Saved(&'a Path),
    /// The stop that was asked for was seen; the run is saved next.
    Stopping,
    /// Something that the user should know.
    Warning(&'a str),
}
