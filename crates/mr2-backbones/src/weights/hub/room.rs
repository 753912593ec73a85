//! Room on the disk.

use std::io::ErrorKind;
use std::path::Path;

use super::error::{Error, Result, io};

/// What a failed write of `id` to `part` means, with `needed` bytes still to come.
pub(super) fn full(id: &str, part: &Path, needed: u64, error: std::io::Error) -> Error {
    let no_room = [
        ErrorKind::StorageFull,
        ErrorKind::QuotaExceeded,
        ErrorKind::FileTooLarge,
    ];
    match no_room.contains(&error.kind()) {
        true => Error::DiskFull {
            id: id.to_string(),
            path: part.to_path_buf(),
            needed,
            free: format!(" ({error})"),
        },
        false => io(part, "can't be written")(error),
    }
}

/// Refuses to begin what the disk has no room for.
#[cfg(unix)]
pub(super) fn room(id: &str, part: &Path, needed: u64) -> Result<()> {
    let folder = part.parent().unwrap_or(part);
    // A file system that doesn't say is found full when it is.
    let Ok(about) = rustix::fs::statvfs(folder) else {
        return Ok(());
    };
    let free = about.f_bavail.saturating_mul(about.f_frsize);
    match needed > free {
        true => Err(Error::DiskFull {
            id: id.to_string(),
            path: part.to_path_buf(),
            needed,
            free: format!(", {free} are free"),
        }),
        false => Ok(()),
    }
}

#[cfg(not(unix))]
pub(super) fn room(_id: &str, _part: &Path, _needed: u64) -> Result<()> {
    Ok(())
}
