//! The quickstart: ERM, the uniform-margin control and MR² on the carried data. See [`mr2::quickstart`].

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    mr2::allocator::keep_freed_memory();
    let args = mr2::quickstart::Args::parse();
    let stdout = std::io::stdout();
    match mr2::quickstart::run(&args, &mut stdout.lock()) {
        Ok(code) => ExitCode::from(code),
        Err(error) if mr2::commands::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
