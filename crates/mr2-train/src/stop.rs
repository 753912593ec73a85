//! A flag that asks a running training to save and return.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Shared flag; clones are the same flag.
///
/// The loop reads it between steps, and between the batches of an evaluation. A signal handler sets it, and so may any observer.
#[derive(Clone, Debug, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// A flag that isn't set.
    pub fn new() -> Self {
        Self::default()
    }

    /// The flag over an atomic that someone else sets, such as a signal handler.
    pub fn from_atomic(flag: Arc<AtomicBool>) -> Self {
        Self(flag)
    }

    /// Asks for a stop.
    pub fn stop(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether a stop was asked for.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
