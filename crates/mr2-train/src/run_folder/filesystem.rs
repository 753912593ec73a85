//! Writing a file so that, whatever happens, either the old or the new one stands whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A file being written; its bytes survive a power cut after [`SyncFile::sync`].
pub trait SyncFile: Write + Send {
    /// Brings the bytes to the disk.
    fn sync(&mut self) -> io::Result<()>;
}

/// What a run does to files.
///
/// A trait so that tests can make each operation fail in turn.
pub trait FileSystem: Send + Sync {
    /// Creates a file, or empties the one that is there.
    fn create(&self, path: &Path) -> io::Result<Box<dyn SyncFile>>;
    /// Opens a file to write at its end; creates the one that isn't there.
    fn append(&self, path: &Path) -> io::Result<Box<dyn SyncFile>>;
    /// Renames a file over another one.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Brings a folder's entries to the disk.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The machine's own file system.
#[derive(Clone, Copy, Debug)]
pub struct Disk;

impl SyncFile for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

impl FileSystem for Disk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn SyncFile>> {
        Ok(Box::new(File::create(path)?))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn SyncFile>> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    #[cfg(unix)]
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    // Windows has no handle of a folder that could be synced; NTFS journals the rename itself.
    #[cfg(not(unix))]
    fn sync_folder(&self, _folder: &Path) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

/// Opens a file to write at its end, and keeps the folder's entry of it through a power cut.
///
/// # Errors
/// Names `path`.
pub(crate) fn append(fs: &dyn FileSystem, path: &Path) -> Result<Box<dyn SyncFile>> {
    let file = fs
        .append(path)
        .map_err(Error::io(path, "open it to write at its end"))?;
    fs.sync_folder(folder_of(path))
        .map_err(Error::io(path, "sync its folder"))?;
    Ok(file)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}

/// Ending of the file that a write is prepared in.
pub(crate) const ASIDE: &str = "aside";

/// Writes aside, syncs, renames over `path`, and syncs the folder.
///
/// # Errors
/// Names `path` and says whether the former or the new file stands there.
pub(crate) fn write_atomically(fs: &dyn FileSystem, path: &Path, bytes: &[u8]) -> Result<()> {
    let aside = aside_of(path);
    let former_stays = "write it (the former file, if any, stays)";
    let written = fs.create(&aside).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync()
    });
    if let Err(source) = written.and_then(|()| fs.rename(&aside, path)) {
        // Frees the space of a full disk. A failure to remove adds nothing to what the user must
        // know, and the next write to this path empties the file anyway.
        let _ = fs.remove(&aside);
        return Err(Error::io(path, former_stays)(source));
    }
    fs.sync_folder(folder_of(path)).map_err(Error::io(
        path,
        "sync its folder (the new file is in place, but may be lost in a power cut)",
    ))
}

fn aside_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".");
    name.push(ASIDE);
    path.with_file_name(name)
}
