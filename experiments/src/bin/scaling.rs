//! `experiments/tables/scaling.toml`, trained and reported. See [`mr2::grid`].

use std::process::ExitCode;

fn main() -> ExitCode {
    mr2::grid::main("scaling", include_str!("../../tables/scaling.toml"))
}
