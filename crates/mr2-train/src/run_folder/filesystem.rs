//! Writing a file so that, whatever happens, either the old or the new one stands whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A file being written; its bytes survive a power cut after [`AsideFile::sync`].
pub trait AsideFile: Write {
    /// Brings the bytes to the disk.
    fn sync(&mut self) -> io::Result<()>;
}

/// The five operations that a safe write consists of.
///
/// A trait so that tests can make each of them fail in turn.
pub trait FileSystem: Send + Sync {
    /// Creates a file, or empties the one that is there.
    fn create(&self, path: &Path) -> io::Result<Box<dyn AsideFile>>;
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

impl AsideFile for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

impl FileSystem for Disk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn AsideFile>> {
        Ok(Box::new(File::create(path)?))
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

/// Ending of the file that a write is prepared in.
pub(crate) const ASIDE: &str = "aside";

/// Writes aside, syncs, renames over `path`, and syncs the folder.
///
/// # Errors
/// Names `path` and says whether the former or the new file stands there.
pub(crate) fn write_atomically(fs: &dyn FileSystem, path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
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
    fs.sync_folder(folder).map_err(Error::io(
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
