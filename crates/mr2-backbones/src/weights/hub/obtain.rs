//! How a file is had: ask the Hub what it is, take or fetch its blob, hold it to the pin or the record, link it.

use std::path::{Path, PathBuf};

use super::access::{Hub, HubFile};
use super::cache::CachedFile;
use super::digest::{self, Kind};
use super::error::{Error, Result};
use super::id::is_commit;
use super::protocol::{self, Answer, Asked, Metadata};
use super::record::Recorded;
use super::{Pin, Progress, fetch, lock};

/// Files of like names in a message.
const NEAR: usize = 5;

/// A blob of the cache, whether or not it is linked at the commit.
pub(super) struct Blob {
    path: PathBuf,
    commit: String,
    etag: Option<String>,
    size: u64,
}

impl From<CachedFile> for Blob {
    fn from(file: CachedFile) -> Self {
        Self {
            path: file.path,
            commit: file.commit,
            etag: file.etag,
            size: file.size,
        }
    }
}

impl Hub {
    /// Asks the Hub what `asked` is now, and fetches it if it isn't what is held.
    pub(super) fn ask(
        &self,
        asked: Asked<'_>,
        expected: Option<&Pin>,
        held: Option<Blob>,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<HubFile> {
        let etag = held.as_ref().and_then(|held| held.etag.as_deref());
        let answer = match (protocol::metadata(&self.client, asked, etag), held) {
            (Ok(answer), held) => (answer, held),
            (Err(error @ Error::Network { .. }), Some(held)) => {
                tracing::warn!("{error}. Going on with the copy in the cache");
                return self.admit(asked, expected, held);
            }
            (Err(error), _) => return Err(self.with_near_names(asked, error)),
        };
        match answer {
            (Answer::Same(commit), Some(mut held)) => {
                held.commit = commit.unwrap_or(held.commit);
                self.admit(asked, expected, held)
            }
            (Answer::Same(_), None) => Err(self.not_a_hub(
                asked,
                "says that nothing has changed, though nothing was known",
            )),
            (Answer::Found(metadata), _) => self.obtain(asked, expected, metadata, progress),
        }
    }

    /// Takes the blob that `metadata` names from the cache, or fetches it there.
    fn obtain(
        &self,
        asked: Asked<'_>,
        expected: Option<&Pin>,
        metadata: Metadata,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<HubFile> {
        let named = Some(asked.revision).filter(|revision| is_commit(revision));
        let Some(commit) = metadata.commit.as_deref().or(named) else {
            return Err(self.not_a_hub(asked, "doesn't say which commit it is of (X-Repo-Commit)"));
        };
        let known = metadata
            .etag
            .as_deref()
            .filter(|etag| Kind::of(etag).is_some());
        let Some(etag) = known.or(expected.map(|pin| pin.sha256.as_str())) else {
            let found = metadata.etag.unwrap_or("none".to_string());
            let found: String = found.chars().take(80).collect();
            let reason = format!(
                "has no ETag that the file can be checked against (SHA-256 or git's SHA-1), but {found:?}"
            );
            return Err(self.not_a_hub(asked, &reason));
        };
        self.foresee(asked, expected, commit, etag, metadata.size)?;
        let repo = &asked.id.repo;
        let (blob, part) = (
            self.cache.blob(repo, etag),
            self.cache.incomplete(repo, etag),
        );
        let (name, total) = (asked.name(), metadata.size.or(expected.map(|pin| pin.size)));
        let length = |path: &Path| std::fs::metadata(path).map_or(0, |about| about.len());
        let whole = || blob.is_file() && total.is_none_or(|total| length(&blob) == total);
        if !whole() {
            let lock = self.cache.lock(repo, etag);
            let _lock = lock::wait(&lock, &name, self.config.stall_timeout, || {
                let bytes = length(&part);
                progress(Progress::Waiting { bytes, total });
                bytes
            })?;
            // Another process may have been quicker.
            if !whole() {
                let wanted = fetch::Wanted {
                    asked: Asked {
                        revision: commit,
                        ..asked
                    },
                    etag,
                    size: total,
                    pin: expected,
                };
                fetch::fetch(&self.client, &self.cache, &wanted, progress)?;
            }
        }
        let blob = Blob {
            size: length(&blob),
            path: blob,
            commit: commit.to_string(),
            etag: Some(etag.to_string()),
        };
        self.admit(asked, expected, blob)
    }

    /// Refuses before gigabytes are fetched what would be refused afterwards.
    fn foresee(
        &self,
        asked: Asked<'_>,
        expected: Option<&Pin>,
        commit: &str,
        etag: &str,
        size: Option<u64>,
    ) -> Result<()> {
        let kind = Kind::of(etag);
        if let Some(pin) = expected {
            let sha256 = (kind == Some(Kind::Sha256)).then_some(etag);
            return pin.admit(
                asked,
                size.unwrap_or(pin.size),
                sha256.unwrap_or(&pin.sha256),
            );
        }
        match self.record.read()?.get(&asked.name()) {
            Some(old)
                if old.etag != etag
                    && (kind == Kind::of(&old.etag)
                        || kind == Some(Kind::Sha256) && old.sha256 != etag) =>
            {
                Err(self
                    .record
                    .changed(&asked.name(), old, commit, &format!("ETag {etag}")))
            }
            _ => Ok(()),
        }
    }

    /// Holds a blob to the pin or the record, and gives it its name.
    pub(super) fn admit(
        &self,
        asked: Asked<'_>,
        expected: Option<&Pin>,
        blob: Blob,
    ) -> Result<HubFile> {
        let repo = &asked.id.repo;
        // The name of a large file's blob is its SHA-256.
        let known = blob
            .etag
            .clone()
            .filter(|etag| Kind::of(etag) == Some(Kind::Sha256));
        let (sha256, etag) = match (known, blob.etag) {
            (Some(sha256), Some(etag)) => (sha256, etag),
            (_, etag) => {
                let sums = digest::sums(&blob.path)?;
                (sums.sha256.clone(), etag.unwrap_or(sums.sha256))
            }
        };
        match expected {
            Some(pin) => pin.admit(asked, blob.size, &sha256)?,
            None => self.record.admit(
                &asked.name(),
                &blob.path,
                Recorded {
                    commit: blob.commit.clone(),
                    size: blob.size,
                    sha256: sha256.clone(),
                    etag: etag.clone(),
                },
            )?,
        }
        let path = match self.cache.blob(repo, &etag).is_file() {
            true => self.cache.link(repo, &blob.commit, asked.file, &etag)?,
            // A system without links: the file is where it was found.
            false => blob.path,
        };
        self.cache
            .note_revision(repo, asked.revision, &blob.commit)?;
        Ok(HubFile {
            path,
            commit: blob.commit,
            etag,
            sha256,
            size: blob.size,
        })
    }

    fn not_a_hub(&self, asked: Asked<'_>, reason: &str) -> Error {
        Error::NotAHub {
            id: asked.name(),
            host: self.client.origin.host.clone(),
            reason: reason.to_string(),
        }
    }

    /// Adds to an error about a missing file which files there are.
    fn with_near_names(&self, asked: Asked<'_>, mut error: Error) -> Error {
        if let Error::NotFound { what, near, .. } = &mut error
            && *what == "such file"
            && let Ok(mut names) = protocol::file_names(&self.client, asked)
        {
            names.sort_by_key(|name| strsim::damerau_levenshtein(name, asked.file));
            let count = names.len();
            names.truncate(NEAR);
            *near = match count {
                0 => ". It has no files".into(),
                _ => format!(
                    ". It has {count} files, of like names: {}",
                    names.join(", ")
                )
                .into(),
            };
        }
        error
    }
}
