//! `experiments/tables/shift.toml`, trained and reported. See [`mr2::grid`].

use std::process::ExitCode;

fn main() -> ExitCode {
    mr2::grid::main("shift", include_str!("../../tables/shift.toml"))
}
