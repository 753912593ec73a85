//! Runs of a tiny network from start to result, and everything that may happen to them.
#![allow(clippy::unwrap_used)]

/// All that a run leaves, comparable to the bit.
mod remains;
/// The data, and running a job in a folder.
mod support;
/// The network.
mod tiny_net;

/// Every method resumes to the same bits; what is refused; what is plain cross-entropy on balanced data.
mod baselines;
/// Every method's steps against the same steps written out.
mod by_hand;
/// The training images measured as a fixed set.
mod class_measures;
/// Statistics that begin anew with each epoch.
mod epoch_statistics;
/// TensorBoard event files, read back.
mod events;
/// Test sets beyond the test part, and the test part at every epoch.
mod extra_tests;
/// Faults of the file system.
mod faults;
/// Features that are kept on disk.
mod features;
/// What a finished run leaves, and what evaluation and other methods change.
mod finished;
/// The folder: lock, configuration, states.
mod folder;
/// NaN and infinity.
mod not_finite;
/// Stopped, killed and resumed runs end in the same bits.
mod resume;
/// The second pass of sharpness-aware minimisation.
mod sharpness;
/// Runs whose first stage finds the images that the second weighs up.
mod two_stages;
/// Failure signs as a user meets them.
mod warnings;
/// Weights read back from a run's checkpoints.
mod weights;
