//! What tells one set of images from another, for whatever is computed from them and kept.

use crate::decode;
use crate::error::{Error, Result};
use crate::files::{hex, read_file};
use crate::image_set::ImageSet;
use crate::parallel::in_parallel;
use crate::source::Source;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// What of image files a fingerprint covers. Of images in memory it is always the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fingerprint {
    /// Every byte: safe, and as slow as reading the whole set.
    Content,
    /// Name, size and time of the last change of every file: fast, and safe as long as nobody changes a
    /// file and sets its time back. A copy that doesn't keep times has another fingerprint.
    Files,
}

impl ImageSet {
    /// SHA-256, in hexadecimal, over everything that decides a batch of this set: its images in order (names
    /// below their common folder, and what `kind` says), labels, class names, number of channels and places in
    /// the set as released. Files are read by `threads` threads, which change nothing.
    ///
    /// # Errors
    /// A file that can't be read.
    pub fn fingerprint(&self, kind: Fingerprint, threads: usize) -> Result<String> {
        let mut hash = Sha256::new();
        let mut field = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        field(format!("{:?} {}", self.split(), self.channels()).as_bytes());
        for class in self.classes() {
            field(class.as_bytes());
        }
        let words = |words: &[u32]| -> Vec<u8> {
            words.iter().flat_map(|word| word.to_le_bytes()).collect()
        };
        field(&words(self.labels()));
        field(&words(self.rows()));
        match self.source() {
            Source::Memory { .. } => {
                for index in 0..self.len() {
                    let image = self.image(index)?;
                    field(format!("{} {}", image.height, image.width).as_bytes());
                    field(&image.pixels);
                }
            }
            Source::Encoded { files, .. } => {
                self.rows()
                    .iter()
                    .for_each(|&row| field(&files[row as usize]));
            }
            Source::Files { paths, .. } => {
                let paths: Vec<&PathBuf> = self
                    .rows()
                    .iter()
                    .map(|&row| &paths[row as usize])
                    .collect();
                let folder = common_folder(&paths);
                let about = |path: &&PathBuf| about_file(path, kind);
                for (path, about) in paths.iter().zip(in_parallel(&paths, threads, about)) {
                    let name = path.strip_prefix(&folder).unwrap_or(path);
                    field(name.as_os_str().as_encoded_bytes());
                    field(&about?);
                }
            }
        }
        Ok(hex(&hash.finalize()))
    }
}

fn about_file(path: &Path, kind: Fingerprint) -> Result<Vec<u8>> {
    match kind {
        Fingerprint::Content => {
            Ok(Sha256::digest(read_file(path, decode::MAX_FILE_BYTES)?).to_vec())
        }
        Fingerprint::Files => {
            let io = |cause| Error::io(path, cause);
            let about = path.metadata().map_err(io)?;
            let changed = about.modified().map_err(io)?;
            // Before 1970 only where a clock was wrong; the size still counts then.
            let since = changed.duration_since(UNIX_EPOCH).unwrap_or_default();
            Ok(format!("{} {}", about.len(), since.as_nanos()).into_bytes())
        }
    }
}

/// The deepest folder that all files are in.
fn common_folder(paths: &[&PathBuf]) -> PathBuf {
    let mut common = match paths.first().and_then(|path| path.parent()) {
        Some(folder) => folder.to_path_buf(),
        None => return PathBuf::new(),
    };
    for path in paths {
        while !path.starts_with(&common) && common.pop() {}
    }
    common
}
