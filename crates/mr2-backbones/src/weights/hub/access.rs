//! The way in: the Hub, and the cache of what has been fetched.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::cache::{Cache, CachedFile};
use super::client::Client;
use super::config::HubConfig;
use super::error::{Error, Result};
use super::id::{HubId, is_commit, is_hex};
use super::obtain::Blob;
use super::protocol::{self, Asked};
use super::record::{Record, Recorded};
use super::{Pin, Progress};

/// A file that is here and right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubFile {
    /// Its path in the cache.
    pub path: PathBuf,
    /// The commit that it belongs to.
    pub commit: String,
    /// The Hub's name for its bytes.
    pub etag: String,
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// Its bytes.
    pub size: u64,
}

/// The Hub, and the cache of what has been fetched.
pub struct Hub {
    pub(super) config: HubConfig,
    pub(super) client: Client,
    pub(super) cache: Cache,
    pub(super) record: Record,
}

impl Hub {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// When the endpoint or the proxy is no URL.
    pub fn new(config: HubConfig) -> Result<Self> {
        Ok(Self {
            client: Client::new(&config)?,
            cache: Cache {
                root: config.cache.clone(),
            },
            record: Record {
                path: config.record.clone(),
            },
            config,
        })
    }

    /// The file that `id` names, fetched if it isn't here.
    ///
    /// With `expected`, it must be that, and the pin's commit is asked for where the id has no revision; without,
    /// it must be what was recorded for the id before.
    ///
    /// # Errors
    /// When the id names no file, or it can't be had whole, right and unchanged.
    pub fn file(
        &self,
        id: &HubId,
        expected: Option<&Pin>,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<HubFile> {
        let asked = asked(id, expected)?;
        let commit = self.cache.commit(&id.repo, asked.revision)?;
        let held = match &commit {
            Some(commit) => self.cache.file(&id.repo, commit, asked.file)?,
            None => None,
        };
        match held {
            Some(held) if self.config.offline || is_commit(asked.revision) => {
                self.admit(asked, expected, held.into())
            }
            None if self.config.offline => Err(Error::Offline {
                id: asked.name(),
                cache: self.config.cache.clone(),
            }),
            held => self.ask(asked, expected, held.map(Blob::from), progress),
        }
    }

    /// The file that `id` names as it was when it was last asked for, without a request; none if it isn't here.
    ///
    /// # Errors
    /// When the id names no file, or the cache can't be read.
    pub fn cached(&self, id: &HubId, expected: Option<&Pin>) -> Result<Option<CachedFile>> {
        let asked = asked(id, expected)?;
        match self.cache.commit(&id.repo, asked.revision)? {
            Some(commit) => self.cache.file(&id.repo, &commit, asked.file),
            None => Ok(None),
        }
    }

    /// Every file of every model in the cache, sorted by repository, commit and name.
    ///
    /// # Errors
    /// When a folder can't be read.
    pub fn list(&self) -> Result<Vec<CachedFile>> {
        self.cache.list()
    }

    /// What is recorded, by `hf:ORG/NAME@REVISION:FILE`.
    ///
    /// # Errors
    /// When the record can't be read.
    pub fn recorded(&self) -> Result<BTreeMap<String, Recorded>> {
        self.record.read()
    }

    /// Forgets what was recorded for `id`, so that what the Hub has now is taken; returns what was recorded.
    ///
    /// # Errors
    /// When the id names no file, or the record can't be written.
    pub fn accept(&self, id: &HubId) -> Result<Option<Recorded>> {
        self.record.forget(&asked(id, None)?.name())
    }

    /// The names of the files of a repository at a revision, in one request.
    ///
    /// # Errors
    /// When the Hub refuses or can't be reached.
    pub fn file_names(&self, id: &HubId) -> Result<Vec<String>> {
        let any = id.with_file("any");
        let asked = asked(&any, None)?;
        match self.config.offline {
            true => Err(Error::Offline {
                id: format!("the list of files of {id}"),
                cache: self.config.cache.clone(),
            }),
            false => protocol::file_names(&self.client, asked),
        }
    }
}

/// What is asked for, once the parts of `id` are known to be harmless.
fn asked<'a>(id: &'a HubId, expected: Option<&'a Pin>) -> Result<Asked<'a>> {
    let wrong = |reason| Error::Id {
        text: id.to_string(),
        reason,
    };
    id.check().map_err(wrong)?;
    let file = id
        .file
        .as_deref()
        .ok_or_else(|| wrong("it names no file"))?;
    let pinned = expected.map(|pin| (pin.commit.as_str(), pin.sha256.as_str()));
    if pinned.is_some_and(|(commit, sha256)| !is_commit(commit) || !is_hex(sha256, 64)) {
        return Err(wrong(
            "its pin must be a whole commit and a SHA-256 in lower case",
        ));
    }
    let revision = id.revision.as_deref().or(pinned.map(|(commit, _)| commit));
    Ok(Asked {
        id,
        file,
        revision: revision.unwrap_or("main"),
    })
}
