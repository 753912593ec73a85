//! The grid: every run of a table, trained where it is missing, and the table made of their results.
//!
//! A table is a file in `experiments/tables/` ([`table_file`]): settings (data, network, length, seeds) times
//! blocks of arms. [`plan`] resolves it into runs, each named by the hash of its resolved configuration, so
//! that a run which several tables need is trained once ([`store`]). [`execute`] trains what is missing, over
//! several workers, resuming what was killed; [`tuning`] chooses settings on validation images first;
//! [`estimate`] says what a grid would cost. [`report`] renders the results.

mod args;
mod bases;
pub mod cost;
mod estimate;
mod execute;
pub mod plan;
mod program;
pub mod report;
pub mod store;
pub mod table_file;
mod tuning;
mod view;

pub use args::Args;
pub use program::main;
