//! Ctrl-C and SIGTERM: the first asks the run to save and stop, the second ends the process at once.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use mr2_train::StopFlag;
use signal_hook::consts::TERM_SIGNALS;
use signal_hook::flag;

/// Exit status of a run that was stopped by a signal and saved (as shells report SIGINT).
pub const STOPPED: u8 = 130;

/// Installs the handlers and returns the flag that the training loop polls.
///
/// # Errors
/// When the operating system refuses a handler.
pub fn on_signals() -> Result<StopFlag> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in TERM_SIGNALS {
        // The order matters: on the second signal the flag is already up, so the process ends.
        flag::register_conditional_shutdown(*signal, STOPPED.into(), Arc::clone(&flag))
            .context("cannot install a signal handler")?;
        flag::register(*signal, Arc::clone(&flag)).context("cannot install a signal handler")?;
    }
    Ok(StopFlag::from_atomic(flag))
}
