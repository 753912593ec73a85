//! Checkpoints: one file with everything that a run needs to continue to the same bits.

mod container;
mod store;

pub(crate) use container::{checksum, hex};
pub(crate) use store::{FOLDER, Kind, Loaded, best, discard_after, list, newest, read, save};
