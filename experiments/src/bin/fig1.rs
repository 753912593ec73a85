//! `experiments/tables/fig1.toml`, trained and reported. See [`mr2::grid`].

use std::process::ExitCode;

fn main() -> ExitCode {
    mr2::grid::main("fig1", include_str!("../../tables/fig1.toml"))
}
