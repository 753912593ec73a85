//! `experiments/tables/table1.toml`, trained and reported. See [`mr2::grid`].

use std::process::ExitCode;

fn main() -> ExitCode {
    mr2::grid::main("table1", include_str!("../../tables/table1.toml"))
}
