//! What can go wrong between an id and a file on disk. Every message says what was asked for, what came back and
//! what to do about it; none holds a token or a signed address.

use std::path::{Path, PathBuf};

/// The result of this module's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of this module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not an id.
    #[error(
        "{text:?} is not a file on the Hub: {reason}. Write hf:ORG/NAME, hf:ORG/NAME@REVISION or hf:ORG/NAME@REVISION:FILE"
    )]
    Id {
        /// What was written.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A setting from the environment that can't be used.
    #[error("{name}: {reason}")]
    Setting {
        /// The variable.
        name: &'static str,
        /// What is wrong with it, and what would do.
        reason: String,
    },
    /// Not in the cache, and the network may not be used.
    #[error("{id} is not in the cache {}, and HF_HUB_OFFLINE forbids to fetch it. Unset HF_HUB_OFFLINE, or copy the cache from a machine that has the file", cache.display())]
    Offline {
        /// What was asked for.
        id: String,
        /// The cache.
        cache: PathBuf,
    },
    /// The Hub wants to know who asks, or that a licence is accepted.
    #[error("{id}: {host} refuses it (status {status}): {said}. {remedy}")]
    Denied {
        /// What was asked for.
        id: String,
        /// Who refused.
        host: String,
        /// 401 or 403.
        status: u16,
        /// What the server said of it.
        said: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The repository, the revision or the file doesn't exist.
    #[error("{host} has no {what}: repository {repo}, revision {revision}, file {file}{near}")]
    NotFound {
        /// Who said so.
        host: String,
        /// Which of the three is missing, as far as the server says.
        what: &'static str,
        /// The repository.
        repo: String,
        /// The revision.
        revision: Box<str>,
        /// The file.
        file: Box<str>,
        /// Files of like names, as the end of the sentence.
        near: Box<str>,
    },
    /// A status that means neither success nor any of the above.
    #[error(
        "{id}: {host} answers with status {status}, which is not of the Hub's protocol. Check HF_ENDPOINT and the proxy"
    )]
    Status {
        /// What was asked for.
        id: String,
        /// Who answered.
        host: String,
        /// The status.
        status: u16,
    },
    /// No answer, or none that is whole.
    #[error(
        "{id}: {why} (tried {tries} times). Check the network, the proxy (HTTPS_PROXY) and HF_ENDPOINT, and start again: what has been fetched is kept"
    )]
    Network {
        /// What was asked for.
        id: String,
        /// The last failure.
        why: String,
        /// How often it was tried.
        tries: u32,
    },
    /// An answer without what the Hub says of a file.
    #[error(
        "{id}: the answer of {host} {reason}. Is HF_ENDPOINT a Hub, and no log-in page in between?"
    )]
    NotAHub {
        /// What was asked for.
        id: String,
        /// Who answered.
        host: String,
        /// What the answer lacks.
        reason: String,
    },
    /// The bytes are not those that were announced. They have been deleted.
    #[error(
        "{id}: the bytes that {host} sent are not the file{looks}: {what} is {found}, expected {expected}. They have been deleted; try again, and if it happens again, suspect the proxy or the mirror"
    )]
    BadContent {
        /// What was asked for.
        id: String,
        /// Who sent it.
        host: String,
        /// What they look like, as a part of the sentence.
        looks: &'static str,
        /// Which property was compared.
        what: &'static str,
        /// What was announced.
        expected: Box<str>,
        /// What came.
        found: Box<str>,
    },
    /// A file of the cache has lost or gained bytes since it was fetched.
    #[error("{}: has {found} bytes, {expected} when {id} was fetched. Something has damaged it: delete it, and it is fetched anew", path.display())]
    Damaged {
        /// What was asked for.
        id: String,
        /// The file.
        path: PathBuf,
        /// Bytes when it was recorded.
        expected: u64,
        /// Bytes now.
        found: u64,
    },
    /// The file is not the one that this program's registry names.
    #[error(
        "{id}: {what} is {found}, and the registry of pretrained weights says {expected}. The file on the Hub was replaced or the mirror is stale; to use it all the same, name its revision: hf:ORG/NAME@REVISION:FILE"
    )]
    Pin {
        /// What was asked for.
        id: String,
        /// Which property differs.
        what: &'static str,
        /// The registry's.
        expected: String,
        /// The file's.
        found: String,
    },
    /// The file is not the one that was fetched under this name before.
    #[error("{id} has changed: {} says {recorded}, the Hub has {found}. To go on with the old one, name its commit (hf:ORG/NAME@COMMIT:FILE); to take the new one, `mr2 weights accept {id}`", record.display())]
    Changed {
        /// What was asked for.
        id: String,
        /// What was recorded.
        recorded: String,
        /// What is there now.
        found: String,
        /// The file that the record is in.
        record: PathBuf,
    },
    /// The disk has no room for the file.
    #[error("{}: no room for {id}: {needed} more bytes are needed{free}. Make room, or set HF_HUB_CACHE to a folder on another disk", path.display())]
    DiskFull {
        /// What was asked for.
        id: String,
        /// Where it was to go.
        path: PathBuf,
        /// The bytes that are still to come.
        needed: u64,
        /// What is free, as the end of the clause.
        free: String,
    },
    /// Another process holds the lock and gets nowhere.
    #[error("{}: another process has been fetching {id} without progress for {seconds} s. End it, or start again later", lock.display())]
    Stalled {
        /// What was asked for.
        id: String,
        /// The lock.
        lock: PathBuf,
        /// How long nothing has moved.
        seconds: u64,
    },
    /// The record of what was fetched can't be read.
    #[error("{}: is not a record of downloads: {reason}. Correct it, or delete it to have everything recorded anew", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file or folder of the cache can't be used.
    #[error("{}: {action}: {cause}. Check the permissions of the cache, or set HF_HUB_CACHE to another folder", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What couldn't be done.
        action: &'static str,
        /// What the system said; in the message already, so not a source that would show it again.
        cause: std::io::Error,
    },
}

/// What the system says of `path`, as an error of ours.
pub(super) fn io(
    path: &Path,
    action: &'static str,
) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let path = path.to_path_buf();
    move |cause| Error::Io {
        path,
        action,
        cause,
    }
}
