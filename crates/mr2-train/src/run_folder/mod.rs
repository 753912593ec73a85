//! The folder of one run: its layout, its lock, and the state that it is in.
//!
//! | entry | content |
//! |---|---|
//! | `config.toml` | the resolved configuration, as given by the caller |
//! | `metrics.jsonl` | one JSON object a line: steps and epochs ([`crate::metrics_log`]) |
//! | `result.json` | the finished run ([`crate::RunResult`]); written last |
//! | `predictions.safetensors`, `predictions.csv` | the test predictions |
//! | `checkpoint/` | the last two checkpoints and the best on validation |
//! | `tb/` | TensorBoard event files, one for each start |
//! | `lock` | held while a process trains here |

mod filesystem;

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use filesystem::{ASIDE, append, write_atomically};
pub use filesystem::{Disk, FileSystem, SyncFile};

use crate::error::{Error, Result};

/// What a run folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// No run.
    Empty,
    /// A run that was started and not finished.
    Started,
    /// A run with its result.
    Finished,
}

/// A run folder, locked for this process until the value is dropped.
///
/// The lock is the operating system's, so a killed process leaves none behind.
pub struct RunDir {
    path: PathBuf,
    files: Arc<dyn FileSystem>,
    // Held for its lock; the file itself stays, or two processes could lock two files of one name.
    _lock: File,
}

impl RunDir {
    /// Makes the folder where it is missing, and locks it.
    ///
    /// # Errors
    /// When the folder can't be made, or another process holds it.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_on(path, Arc::new(Disk))
    }

    /// [`RunDir::open`] with writes going through `files`.
    ///
    /// # Errors
    /// As [`RunDir::open`].
    pub fn open_on(path: &Path, files: Arc<dyn FileSystem>) -> Result<Self> {
        for folder in [path.to_path_buf(), path.join("checkpoint"), path.join("tb")] {
            fs::create_dir_all(&folder).map_err(Error::io(&folder, "make the folder"))?;
        }
        let lock = lock(path)?;
        Ok(Self {
            path: path.to_path_buf(),
            files,
            _lock: lock,
        })
    }

    /// What the folder at `path` holds, without locking it.
    pub fn state_of(path: &Path) -> RunState {
        let has = |name: &str| path.join(name).exists();
        // Without its configuration a run can't be resumed, but nor may a new one begin among its
        // checkpoints and take them for its own.
        let checkpoints = fs::read_dir(path.join("checkpoint"));
        let holds_checkpoints = checkpoints.is_ok_and(|mut entries| entries.next().is_some());
        if has("result.json") {
            RunState::Finished
        } else if has("config.toml") || has("metrics.jsonl") || holds_checkpoints {
            RunState::Started
        } else {
            RunState::Empty
        }
    }

    /// What this folder holds.
    pub fn state(&self) -> RunState {
        Self::state_of(&self.path)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn files(&self) -> &dyn FileSystem {
        self.files.as_ref()
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        write_atomically(self.files(), &self.file(name), bytes)
    }

    /// Saves the configuration of a new run.
    pub(crate) fn save_config(&self, text: &str) -> Result<()> {
        self.write("config.toml", text.as_bytes())
    }

    /// Compares `text` with the saved configuration.
    pub(crate) fn check_config(&self, text: &str) -> Result<()> {
        let path = self.file("config.toml");
        let saved = fs::read_to_string(&path).map_err(Error::io(&path, "read it"))?;
        if saved == text {
            return Ok(());
        }
        Err(Error::ConfigChanged {
            path,
            difference: difference(&saved, text),
        })
    }
}

impl fmt::Debug for RunDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunDir")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// The operating system's lock on a folder, held until the file is dropped.
pub(crate) fn lock(folder: &Path) -> Result<File> {
    let path = folder.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(Error::io(&path, "open the lock"))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Only for the message: an unreadable holder is still a holder.
            let known = file.read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
            let holder = if known {
                holder.trim()
            } else {
                "another process"
            }
            .to_string();
            return Err(Error::Locked {
                path: folder.to_path_buf(),
                holder,
            });
        }
        Err(TryLockError::Error(source)) => return Err(Error::io(&path, "lock it")(source)),
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "process {}", std::process::id()))
        .map_err(Error::io(&path, "write the holder"))?;
    Ok(file)
}

/// The differing lines, each with the TOML table that it stands in.
fn difference(saved: &str, given: &str) -> String {
    let (saved, given) = (qualified_lines(saved), qualified_lines(given));
    let gone = without(&saved, &given);
    let new = without(&given, &saved);
    let lines: Vec<String> = gone
        .iter()
        .map(|line| format!("- {line}"))
        .chain(new.iter().map(|line| format!("+ {line}")))
        .collect();
    match lines.is_empty() {
        true => "(only comments, blank lines or the order of lines differ)".to_string(),
        false => lines.join("\n"),
    }
}

/// The lines that `other` has fewer times.
fn without<'a>(lines: &'a [String], other: &[String]) -> Vec<&'a String> {
    let mut other: Vec<&String> = other.iter().collect();
    lines
        .iter()
        .filter(|line| match other.iter().position(|o| o == line) {
            Some(place) => {
                other.swap_remove(place);
                false
            }
            None => true,
        })
        .collect()
}

/// `table.key = value` for each line that sets a key; the tables of a list are numbered.
fn qualified_lines(text: &str) -> Vec<String> {
    let mut table = String::new();
    let mut entries: HashMap<&str, usize> = HashMap::new();
    let mut lines = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(list) = inside(line, "[[", "]]") {
            let entry = entries.entry(list).or_default();
            table = format!("{list}[{entry}].");
            *entry += 1;
        } else if let Some(name) = inside(line, "[", "]") {
            table = format!("{name}.");
        } else {
            lines.push(format!("{table}{line}"));
        }
    }
    lines
}

fn inside<'a>(line: &'a str, start: &str, end: &str) -> Option<&'a str> {
    line.strip_prefix(start)?.strip_suffix(end)
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn a_difference_names_the_table_of_each_line() {
        let saved = "seed = 1\n\n[optimizer]\nlr = 0.1\n";
        let given = "seed = 1\n\n[optimizer]\nlr = 0.2\nnesterov = true\n";
        assert_eq!(
            difference(saved, given),
            "- optimizer.lr = 0.1\n+ optimizer.lr = 0.2\n+ optimizer.nesterov = true"
        );
    }

    #[test]
    fn a_difference_tells_the_entries_of_a_list_apart() {
        let crop = "[[data.transforms]]\nkind = \"crop\"\nsize = 8\n";
        let flip = "[[data.transforms]]\nkind = \"flip\"\np = 0.5\n";
        let swapped = difference(&format!("{crop}{flip}"), &format!("{flip}{crop}"));
        for line in [
            "- data.transforms[0].kind = \"crop\"",
            "+ data.transforms[0].kind = \"flip\"",
            "- data.transforms[1].p = 0.5",
            "+ data.transforms[1].size = 8",
        ] {
            assert!(swapped.lines().any(|found| found == line), "{swapped}");
        }
        let doubled = difference(crop, &format!("{crop}{crop}"));
        assert_eq!(
            doubled,
            "+ data.transforms[1].kind = \"crop\"\n+ data.transforms[1].size = 8"
        );
    }

    #[test]
    fn a_line_that_is_there_once_more_is_a_difference() {
        assert_eq!(difference("a = 1\n", "a = 1\na = 1\n"), "+ a = 1");
        let only_order = "(only comments, blank lines or the order of lines differ)";
        assert_eq!(
            difference("a = 1\nb = 2\n", "b = 2\n# c\na = 1\n"),
            only_order
        );
    }
}
