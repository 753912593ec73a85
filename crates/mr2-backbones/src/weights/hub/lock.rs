//! One process at a time: locks that the system gives back when their holder dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

use super::cache::make_parent;
use super::error::{Error, Result, io};

/// How often a lock that is held is asked for again.
const PAUSE: Duration = Duration::from_millis(100);
/// After how long a message says why nothing happens.
const SILENCE: Duration = Duration::from_secs(3);

/// A lock that is held until it is dropped; none where the file system has no locks.
pub(super) struct Lock(#[expect(dead_code, reason = "held, never read")] Option<File>);

/// Waits for the lock at `path`, which another process may hold while it fetches `id`.
///
/// `moved` returns how far the other one is; it is called every 0.1 s.
///
/// # Errors
/// When that has not changed for `stall`, or the lock's file can't be made.
pub(super) fn wait(
    path: &Path,
    id: &str,
    stall: Duration,
    mut moved: impl FnMut() -> u64,
) -> Result<Lock> {
    make_parent(path)?;
    let file = OpenOptions::new().create(true).append(true).open(path);
    let file = file.map_err(io(path, "the lock can't be opened"))?;
    let began = Instant::now();
    let (mut last, mut since, mut told) = (None, began, false);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Lock(Some(file))),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => {
                tracing::warn!(lock = %path.display(), %error, "the file system has no locks: don't fetch {id} twice at a time");
                return Ok(Lock(None));
            }
        }
        let now = Some(moved());
        if now != last {
            (last, since) = (now, Instant::now());
        }
        if since.elapsed() >= stall {
            return Err(Error::Stalled {
                id: id.to_string(),
                lock: path.to_path_buf(),
                seconds: stall.as_secs(),
            });
        }
        if !told && began.elapsed() >= SILENCE {
            told = true;
            tracing::warn!("another process fetches {id}: waiting for it");
        }
        std::thread::sleep(PAUSE);
    }
}
