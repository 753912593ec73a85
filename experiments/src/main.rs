//! `mr2`: train, evaluate, report and audit, class by class.

use std::io::Write;
use std::process::ExitCode;

/// Keeps freed memory for the next step. The C library's allocator gives every large tensor back to the
/// system, so that each step of a loss over 1000 classes spends most of its time on fresh pages.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
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
