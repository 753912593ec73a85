//! Runs of a tiny network from start to result, and everything that may happen to them.
#![allow(clippy::unwrap_used)]

/// All that a run leaves, comparable to the bit.
mod remains;
/// The network, the data, and running a job in a folder.
mod support;

/// Statistics that begin anew with each epoch.
mod epoch_statistics;
/// TensorBoard event files, read back.
mod events;
/// Faults of the file system.
mod faults;
/// What a finished run leaves, and what evaluation and other methods change.
mod finished;
/// The folder: lock, configuration, states.
mod folder;
/// NaN and infinity.
mod not_finite;
/// Stopped, killed and resumed runs end in the same bits.
mod resume;
/// Failure signs as a user meets them.
mod warnings;
/// Weights read back from a run's checkpoints.
mod weights;
