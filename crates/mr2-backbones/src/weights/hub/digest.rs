//! The sums by which a file is known: the Hub's ETag is the SHA-256 of a large file and the SHA-1 of git's blob of
//! a small one.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::error::{Result, io};
use super::id::is_hex;

/// The sums of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sums {
    pub size: u64,
    pub sha256: String,
    /// SHA-1 over `blob SIZE`, a zero byte and the content: what `git hash-object` prints.
    pub git_sha1: String,
}

/// What kind of sum an ETag or the name of a blob is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Sha256,
    GitSha1,
}

impl Kind {
    /// By the number of digits; none for anything else.
    pub fn of(etag: &str) -> Option<Self> {
        match etag {
            _ if is_hex(etag, 64) => Some(Self::Sha256),
            _ if is_hex(etag, 40) => Some(Self::GitSha1),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "its SHA-256",
            Self::GitSha1 => "the SHA-1 of its git blob",
        }
    }

    pub fn from(self, sums: &Sums) -> &str {
        match self {
            Self::Sha256 => &sums.sha256,
            Self::GitSha1 => &sums.git_sha1,
        }
    }
}

/// Both sums of the file at `path`, in one pass.
///
/// # Errors
/// When it can't be read.
pub(super) fn sums(path: &Path) -> Result<Sums> {
    let failed = |error| io(path, "can't be read")(error);
    let mut file = File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    let mut sha256 = Sha256::new();
    let mut sha1 = sha1::Sha1::new_with_prefix(format!("blob {size}\0"));
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => {
                sha256.update(&buffer[..read]);
                sha1.update(&buffer[..read]);
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(Sums {
        size,
        sha256: hex(&sha256.finalize()),
        git_sha1: hex(&sha1.finalize()),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sums_are_those_of_sha256sum_and_git_hash_object() {
        let path = std::env::temp_dir().join(format!("mr2-digest-{}", std::process::id()));
        std::fs::write(&path, "hello\n").unwrap();
        let found = sums(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(found.size, 6);
        let sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        assert_eq!(found.sha256, sha256);
        assert_eq!(found.git_sha1, "ce013625030ba8dba906f756967f9e9ca394464a");
        assert_eq!(Kind::of(sha256), Some(Kind::Sha256));
        assert_eq!(Kind::of(&found.git_sha1), Some(Kind::GitSha1));
        assert_eq!(Kind::of("../../x"), None);
    }
}
