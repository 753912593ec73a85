//! Whether what is in the cache is still what was fetched.

use super::Hub;
use super::cache::CachedFile;
use super::digest::{Kind, sums};
use super::error::Result;

/// What a look at every byte of a file shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is what its blob's name or the record says.
    Right {
        /// SHA-256 of its bytes.
        sha256: String,
    },
    /// It is not.
    Wrong {
        /// Which sum differs.
        what: &'static str,
        /// What it must be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// Nothing says what it must be.
    Unknown {
        /// SHA-256 of its bytes.
        sha256: String,
    },
}

impl Hub {
    /// Reads `file` and holds it to the name of its blob and to what was recorded of that commit.
    ///
    /// # Errors
    /// When the file or the record can't be read.
    pub fn verify(&self, file: &CachedFile) -> Result<Verdict> {
        let found = sums(&file.path)?;
        let by_name = file
            .etag
            .as_deref()
            .and_then(|etag| Some((Kind::of(etag)?, etag)));
        let (repository, path) = (format!("hf:{}@", file.repo), format!(":{}", file.file));
        let record = self.record.read()?;
        let recorded = record.iter().find(|(id, entry)| {
            id.starts_with(&repository) && id.ends_with(&path) && entry.commit == file.commit
        });
        let by_record = recorded.map(|(_, entry)| (Kind::Sha256, entry.sha256.as_str()));
        let mut known = by_name.into_iter().chain(by_record).peekable();
        if known.peek().is_none() {
            return Ok(Verdict::Unknown {
                sha256: found.sha256,
            });
        }
        Ok(match known.find(|(kind, sum)| kind.from(&found) != *sum) {
            Some((kind, sum)) => Verdict::Wrong {
                what: kind.name(),
                expected: sum.to_string(),
                found: kind.from(&found).to_string(),
            },
            None => Verdict::Right {
                sha256: found.sha256,
            },
        })
    }
}
