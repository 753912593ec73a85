//! `experiments/tables/ema.toml`, trained and reported. See [`mr2::grid`].

use std::process::ExitCode;

fn main() -> ExitCode {
    mr2::grid::main("ema", include_str!("../../tables/ema.toml"))
}
