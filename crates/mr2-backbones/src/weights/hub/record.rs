//! The record of what was fetched under names that may move: a JSON file beside the cache, so that a branch whose
//! weights are replaced is noticed.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cache::{beside, make_parent};
use super::error::{Error, Result, io};
use super::lock::{self, Lock};

/// The form of the file; another one is refused.
const VERSION: u32 = 1;

/// A file as it was when it was first fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// The commit that the revision was.
    pub commit: String,
    /// Its bytes.
    pub size: u64,
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// The Hub's name for them.
    pub etag: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    version: u32,
    /// By `hf:ORG/NAME@REVISION:FILE`.
    files: BTreeMap<String, Recorded>,
}

/// The file of records.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub path: PathBuf,
}

impl Record {
    /// All entries by id; none where there is no file yet.
    pub fn read(&self) -> Result<BTreeMap<String, Recorded>> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(BTreeMap::new());
            }
            Err(error) => return Err(io(&self.path, "can't be read")(error)),
        };
        let wrong = |reason| Error::Record {
            path: self.path.clone(),
            reason,
        };
        let contents: Contents =
            serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        match contents.version {
            VERSION => Ok(contents.files),
            other => Err(wrong(format!("version {other}, expected {VERSION}"))),
        }
    }

    /// Holds `file`, which lies at `path`, to what is recorded for `id`; records it where nothing is.
    ///
    /// Another commit with the same bytes is no change: the entry moves with it.
    pub fn admit(&self, id: &str, path: &Path, file: Recorded) -> Result<()> {
        let held = self.read()?.get(id).cloned();
        if held.as_ref() == Some(&file) {
            return Ok(());
        }
        let added = self.update(|files| match files.get(id) {
            Some(old) if old.sha256 != file.sha256 => {
                let found = format!("SHA-256 {}", file.sha256);
                Err(self.changed(id, old, &file.commit, &found))
            }
            Some(old) if old.size != file.size => Err(Error::Damaged {
                id: id.to_string(),
                path: fs::canonicalize(path).unwrap_or(path.to_path_buf()),
                expected: old.size,
                found: file.size,
            }),
            _ => {
                files.insert(id.to_string(), file);
                Ok(())
            }
        });
        match added {
            // A cache that others keep.
            Err(Error::Io { cause, .. }) if held.is_none() && is_read_only(&cause) => {
                tracing::warn!(record = %self.path.display(), %cause, "{id} can't be recorded: a later change would not be noticed");
                Ok(())
            }
            added => added,
        }
    }

    /// Forgets `id`; returns what was recorded.
    pub fn forget(&self, id: &str) -> Result<Option<Recorded>> {
        match self.read()?.contains_key(id) {
            true => self.update(|files| Ok(files.remove(id))),
            false => Ok(None),
        }
    }

    /// The error for a file that is no longer the recorded one.
    pub fn changed(&self, id: &str, old: &Recorded, commit: &str, found: &str) -> Error {
        Error::Changed {
            id: id.to_string(),
            recorded: format!("commit {}, SHA-256 {}", old.commit, old.sha256),
            found: format!("commit {commit}, {found}"),
            record: self.path.clone(),
        }
    }

    fn update<T>(
        &self,
        change: impl FnOnce(&mut BTreeMap<String, Recorded>) -> Result<T>,
    ) -> Result<T> {
        let _lock = self.lock()?;
        let mut files = self.read()?;
        let result = change(&mut files)?;
        let contents = Contents {
            version: VERSION,
            files,
        };
        let text = serde_json::to_string_pretty(&contents).map_err(|error| Error::Record {
            path: self.path.clone(),
            reason: error.to_string(),
        })?;
        write_whole(&self.path, &(text + "\n"))?;
        Ok(result)
    }

    fn lock(&self) -> Result<Lock> {
        let path = beside(&self.path, ".lock");
        lock::wait(
            &path,
            "the record of downloads",
            Duration::from_secs(60),
            || 0,
        )
    }
}

/// Aside, synced and renamed: nobody sees half of it.
fn write_whole(path: &Path, text: &str) -> Result<()> {
    make_parent(path)?;
    let aside = beside(path, ".new");
    fs::File::create(&aside)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&aside, path))
        .map_err(io(path, "can't be written"))
}

fn is_read_only(cause: &std::io::Error) -> bool {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    [PermissionDenied, ReadOnlyFilesystem].contains(&cause.kind())
}
