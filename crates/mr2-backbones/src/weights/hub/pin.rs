//! What a registry knows of a file beforehand.

use super::error::{Error, Result};
use super::protocol::Asked;

/// What a file must be, from a public source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The commit that is asked for where the id names no revision.
    pub commit: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256, in lower-case hexadecimal digits.
    pub sha256: String,
}

impl Pin {
    /// Holds a file to its pin.
    pub(super) fn admit(&self, asked: Asked<'_>, size: u64, sha256: &str) -> Result<()> {
        let (what, expected, found) = match () {
            () if size != self.size => ("its size", self.size.to_string(), size.to_string()),
            () if sha256 != self.sha256 => ("its SHA-256", self.sha256.clone(), sha256.to_string()),
            () => return Ok(()),
        };
        Err(Error::Pin {
            id: asked.name(),
            what,
            expected,
            found,
        })
    }
}
