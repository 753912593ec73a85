//! `experiments/tables/fig3.toml`, trained and reported. See [`mr2::grid`].

use std::process::ExitCode;

fn main() -> ExitCode {
    mr2::grid::main("fig3", include_str!("../../tables/fig3.toml"))
}
