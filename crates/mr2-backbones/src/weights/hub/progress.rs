//! What is told while a file comes.

use std::path::Path;

/// How a download is going.
#[derive(Debug)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// Something is about to be fetched.
    Begins {
        /// The repository's URL.
        from: &'a str,
        /// Where the bytes gather.
        to: &'a Path,
        /// Those that are here already.
        bytes: u64,
        /// The file's, if the Hub says so.
        total: Option<u64>,
    },
    /// More has come.
    Fetched {
        /// Bytes that are here.
        bytes: u64,
        /// The file's.
        total: Option<u64>,
    },
    /// Another process fetches the same file.
    Waiting {
        /// Bytes that it has.
        bytes: u64,
        /// The file's.
        total: Option<u64>,
    },
    /// All is here; its sums are taken.
    Checking,
}
