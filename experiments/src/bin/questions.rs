//! `experiments/tables/questions.toml`, trained and reported. See [`mr2::grid`].

use std::process::ExitCode;

fn main() -> ExitCode {
    mr2::grid::main("questions", include_str!("../../tables/questions.toml"))
}
