//! The experiments of mr2: configuration, assembly of runs, commands, the quickstart and the reports.
//!
//! A run file (TOML) resolves to a [`config::RunConfig`]; [`assemble`] turns its names into data, model
//! and loaders; `mr2-train` trains them into a run folder; [`report`] renders folders into tables and plots.
//! [`pretrained`] opens published backbones, [`probing`] measures what their features are worth.
//! Only this package knows TOML, the command line, standard output and published numbers.

pub mod allocator;
pub mod assemble;
pub mod choice;
pub mod commands;
pub mod config;
pub mod device;
pub mod grid;
#[cfg(feature = "hub")]
pub mod hub;
pub mod pretrained;
pub mod probing;
pub mod progress;
pub mod quickstart;
pub mod report;
pub mod run;
pub mod stop;
