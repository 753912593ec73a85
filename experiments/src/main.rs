//! `mr2`: train, evaluate, report and audit, class by class.

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    mr2::allocator::keep_freed_memory();
    let stdout = std::io::stdout();
    let result = mr2::commands::main(&mut stdout.lock());
    finish(result)
}

/// Prints an error with its chain of causes; a closed pipe (`mr2 … | head`) is not one.
fn finish(result: anyhow::Result<u8>) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) if mr2::commands::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
