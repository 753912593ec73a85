//! `experiments/tables/fig5.toml`, trained and reported. See [`mr2::grid`].

use std::process::ExitCode;

fn main() -> ExitCode {
    mr2::grid::main("fig5", include_str!("../../tables/fig5.toml"))
}
