//! The Hub's own cache on disk, shared with Python: `models--ORG--NAME/{blobs,snapshots,refs}` and, for locks,
//! `.locks` (<https://huggingface.co/docs/huggingface_hub/guides/manage-cache>).

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::error::{Result, io};
use super::id::{is_commit, is_inside};

/// The folder of all repositories.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    pub root: PathBuf,
}

/// A file of the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedFile {
    /// `ORG/NAME`.
    pub repo: String,
    /// The commit that it belongs to.
    pub commit: String,
    /// Its path inside the repository.
    pub file: String,
    /// Its path on this machine.
    pub path: PathBuf,
    /// Its bytes.
    pub size: u64,
    /// The name of the blob, which is the Hub's ETag; none where the system has no links.
    pub etag: Option<String>,
}

impl Cache {
    fn folder(&self, repo: &str) -> PathBuf {
        self.root.join(folder_name(repo))
    }

    pub fn blob(&self, repo: &str, etag: &str) -> PathBuf {
        self.folder(repo).join("blobs").join(etag)
    }

    /// Where the bytes gather until they are whole.
    pub fn incomplete(&self, repo: &str, etag: &str) -> PathBuf {
        self.blob(repo, &format!("{etag}.incomplete"))
    }

    /// What Python locks for the same blob.
    pub fn lock(&self, repo: &str, etag: &str) -> PathBuf {
        let locks = self.root.join(".locks").join(folder_name(repo));
        locks.join(format!("{etag}.lock"))
    }

    fn snapshot(&self, repo: &str, commit: &str) -> PathBuf {
        self.folder(repo).join("snapshots").join(commit)
    }

    fn reference(&self, repo: &str, revision: &str) -> PathBuf {
        self.folder(repo).join("refs").join(revision)
    }

    /// The commit that `revision` was when it was last asked for.
    pub fn commit(&self, repo: &str, revision: &str) -> Result<Option<String>> {
        if is_commit(revision) {
            return Ok(Some(revision.to_string()));
        }
        let path = self.reference(repo, revision);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_string()).filter(|commit| is_commit(commit))),
            // Of `a/b`, where `a` is a branch, the system says that it isn't a folder.
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(io(&path, "can't be read")(error)),
        }
    }

    /// The file as it is at `commit`, if it is whole here: a link whose blob is gone counts as absent.
    pub fn file(&self, repo: &str, commit: &str, file: &str) -> Result<Option<CachedFile>> {
        let path = self.snapshot(repo, commit).join(file);
        let size = match fs::metadata(&path) {
            Ok(about) if about.is_file() => about.len(),
            Ok(_) => return Ok(None),
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(io(&path, "can't be read")(error)),
        };
        let blob = fs::read_link(&path).ok();
        let etag = blob.and_then(|blob| Some(blob.file_name()?.to_str()?.to_string()));
        Ok(Some(CachedFile {
            repo: repo.to_string(),
            commit: commit.to_string(),
            file: file.to_string(),
            path,
            size,
            etag,
        }))
    }

    /// Makes the blob the file at `commit`, and returns it.
    pub fn link(&self, repo: &str, commit: &str, file: &str, etag: &str) -> Result<PathBuf> {
        let path = self.snapshot(repo, commit).join(file);
        make_parent(&path)?;
        // From the file up to the repository's folder: snapshots/COMMIT and the file's own folders.
        let mut blob: PathBuf = "../..".into();
        blob.extend(file.split('/').skip(1).map(|_| ".."));
        blob.push("blobs");
        blob.push(etag);
        // A cache that others keep may be read-only, and their links absolute.
        let there = fs::canonicalize(&path).ok();
        if there.is_some() && there == fs::canonicalize(self.blob(repo, etag)).ok() {
            return Ok(path);
        }
        // Beside and renamed: nobody sees the old link gone and the new one not yet there.
        let aside = beside(&path, &aside_end());
        let _ = fs::remove_file(&aside);
        symlink(&blob, &aside)
            .or_else(|_| fs::copy(self.blob(repo, etag), &aside).map(|_| ()))
            .and_then(|()| fs::rename(&aside, &path))
            .map_err(io(&path, "can't be linked to its blob"))?;
        Ok(path)
    }

    /// Notes that `revision` is `commit` now.
    pub fn note_revision(&self, repo: &str, revision: &str, commit: &str) -> Result<()> {
        if is_commit(revision) || self.commit(repo, revision)?.as_deref() == Some(commit) {
            return Ok(());
        }
        let path = self.reference(repo, revision);
        make_parent(&path)?;
        let aside = beside(&path, &aside_end());
        fs::write(&aside, commit)
            .and_then(|()| fs::rename(&aside, &path))
            .map_err(io(&path, "can't be written"))
    }

    /// Every file of every model, sorted; other programs' folders are passed over.
    pub fn list(&self) -> Result<Vec<CachedFile>> {
        let mut found = Vec::new();
        for name in names(&self.root)? {
            let Some(repo) = name.strip_prefix("models--").map(|n| n.replace("--", "/")) else {
                continue;
            };
            let snapshots = self.root.join(&name).join("snapshots");
            for commit in names(&snapshots)?.into_iter().filter(|c| is_commit(c)) {
                let mut files = Vec::new();
                walk(&snapshots.join(&commit), "", &mut files)?;
                for file in files {
                    found.extend(self.file(&repo, &commit, &file)?);
                }
            }
        }
        Ok(found)
    }
}

fn folder_name(repo: &str) -> String {
    format!("models--{}", repo.replace('/', "--"))
}

fn is_absent(error: &std::io::Error) -> bool {
    let absent = [
        ErrorKind::NotFound,
        ErrorKind::NotADirectory,
        ErrorKind::IsADirectory,
    ];
    absent.contains(&error.kind())
}

/// The names in a folder, sorted; none where there is no folder.
fn names(folder: &Path) -> Result<Vec<String>> {
    let failed = |error| io(folder, "can't be listed")(error);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// The files below `root`, as paths inside a repository; folders that are links are not entered.
fn walk(root: &Path, inside: &str, files: &mut Vec<String>) -> Result<()> {
    for name in names(&root.join(inside))? {
        let path = match inside {
            "" => name,
            inside => format!("{inside}/{name}"),
        };
        let kind = fs::symlink_metadata(root.join(&path)).map(|about| about.file_type());
        match kind {
            Ok(kind) if kind.is_dir() => walk(root, &path, files)?,
            Ok(_) if is_inside(&path) => files.push(path),
            _ => {}
        }
    }
    Ok(())
}

/// `path` with `end` after its name.
pub(super) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(end);
    path.with_file_name(name)
}

/// An ending that no other thread or process uses now.
fn aside_end() -> String {
    let thread = format!("{:?}", std::thread::current().id());
    let digits: String = thread.chars().filter(char::is_ascii_digit).collect();
    format!(".{}-{digits}", std::process::id())
}

/// Makes the folder that `path` is in.
pub(super) fn make_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(folder) => fs::create_dir_all(folder).map_err(io(folder, "can't be made")),
        None => Ok(()),
    }
}

#[cfg(unix)]
fn symlink(to: &Path, path: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(to, path)
}

#[cfg(windows)]
fn symlink(to: &Path, path: &Path) -> std::io::Result<()> {
    // Windows follows a relative link only if it is written with its own separators.
    let to: PathBuf = to.components().collect();
    std::os::windows::fs::symlink_file(to, path)
}

#[cfg(not(any(unix, windows)))]
fn symlink(_to: &Path, _path: &Path) -> std::io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}
