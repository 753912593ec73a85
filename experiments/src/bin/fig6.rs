//! `experiments/tables/fig6.toml`, trained and reported. See [`mr2::grid`].

use std::process::ExitCode;

fn main() -> ExitCode {
    mr2::grid::main("fig6", include_str!("../../tables/fig6.toml"))
}
