//! `experiments/tables/table3.toml`, trained and reported. See [`mr2::grid`].

use std::process::ExitCode;

fn main() -> ExitCode {
    mr2::grid::main("table3", include_str!("../../tables/table3.toml"))
}
