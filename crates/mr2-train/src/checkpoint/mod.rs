//! Checkpoints: one file with everything that a run needs to continue to the same bits.

mod container;
mod store;

pub(crate) use store::{Kind, Loaded, best, discard_after, newest, save};
