//! `experiments/tables/augment.toml`, trained and reported. See [`mr2::grid`].

use std::process::ExitCode;

fn main() -> ExitCode {
    mr2::grid::main("augment", include_str!("../../tables/augment.toml"))
}
