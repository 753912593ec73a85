//! Bytes from disk: read whole, up to a limit, and compared with the descriptor's checksums before
//! anything is parsed.

use crate::descriptor::Checksum;
use crate::error::{Error, Result};
use md5::Md5;
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The largest file, and the largest unpacked content, that is read into memory.
pub(crate) const MAX_BYTES: u64 = 4 << 30;

/// How much is reserved on the word of a header; beyond that, memory follows the bytes that come.
const MAX_RESERVE: u64 = 64 << 20;

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ReadFile {
    /// Its path below the root folder.
    pub file: String,
    /// The checksum that it was compared with; `None` where the descriptor lists none.
    pub checksum: Option<Checksum>,
}

/// The files of one data set.
pub(crate) struct Files<'a> {
    pub root: &'a Path,
    checksums: &'a BTreeMap<String, Checksum>,
    read: RefCell<Vec<ReadFile>>,
}

impl<'a> Files<'a> {
    pub fn new(root: &'a Path, checksums: &'a BTreeMap<String, Checksum>) -> Self {
        Files {
            root,
            checksums,
            read: RefCell::default(),
        }
    }

    /// What was read, in order.
    pub fn into_read(self) -> Vec<ReadFile> {
        self.read.into_inner()
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// The bytes of a file, compared with the checksum of the file if one is listed.
    pub fn read(&self, relative: &str) -> Result<Vec<u8>> {
        let path = self.path(relative);
        let bytes = read_file(&path, MAX_BYTES)?;
        let listed = self.checksums.get(relative);
        let checksum = match listed {
            Some(Checksum::Sha256(sum)) => {
                compare(&path, "SHA-256", sum, hex(&Sha256::digest(&bytes)))?;
                listed
            }
            Some(Checksum::Md5(sum)) => {
                compare(&path, "MD5", sum, md5_hex(&bytes))?;
                listed
            }
            // Of what is in the file: `check_content`.
            Some(Checksum::ContentSha256(_)) | None => None,
        };
        self.read.borrow_mut().push(ReadFile {
            file: relative.to_string(),
            checksum: checksum.cloned(),
        });
        Ok(bytes)
    }

    /// Compares the unpacked content of the file just read, given in parts, with the checksum listed
    /// under the file's name without `.gz`, if one is.
    pub fn check_content(&self, relative: &str, parts: &[&[u8]]) -> Result<()> {
        let plain = relative.strip_suffix(".gz").unwrap_or(relative);
        if let Some(checksum @ Checksum::ContentSha256(sum)) = self.checksums.get(plain) {
            let mut hasher = Sha256::new();
            parts.iter().for_each(|part| hasher.update(part));
            let (kind, found) = ("SHA-256 of the content", hex(&hasher.finalize()));
            compare(&self.path(relative), kind, sum, found)?;
            if let Some(file) = self.read.borrow_mut().last_mut() {
                file.checksum = Some(checksum.clone());
            }
        }
        Ok(())
    }
}

/// The bytes of a file of at most `limit` bytes.
pub(crate) fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let io = |cause| Error::io(path, cause);
    let file = File::open(path).map_err(io)?;
    let size = file.metadata().map_err(io)?.len();
    let too_large = |bytes| {
        Err(Error::TooLarge {
            path: path.to_path_buf(),
            what: "the file",
            bytes,
            limit,
        })
    };
    if size > limit {
        return too_large(size);
    }
    let bytes = read_up_to(file, size, limit).map_err(io)?;
    if bytes.len() as u64 > limit {
        return too_large(bytes.len() as u64);
    }
    Ok(bytes)
}

/// Reads to the end, but at most `limit` + 1 bytes, so that more than `limit` can be told.
pub(crate) fn read_up_to(reader: impl Read, expected: u64, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(expected.min(limit).min(MAX_RESERVE) as usize);
    reader
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn compare(path: &Path, kind: &'static str, expected: &str, found: String) -> Result<()> {
    if expected.eq_ignore_ascii_case(&found) {
        return Ok(());
    }
    let (path, expected) = (path.to_path_buf(), expected.to_string());
    Err(Error::Checksum {
        path,
        kind,
        expected,
        found,
    })
}

/// MD5 in hexadecimal. Identifies releases; protects against damage, not against an attacker.
pub(crate) fn md5_hex(bytes: &[u8]) -> String {
    hex(&Md5::digest(bytes))
}

/// Hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
