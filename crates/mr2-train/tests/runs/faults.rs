//! Faults of the file system: whatever fails, nothing that was saved is lost.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use mr2_train::run_folder::{Disk, FileSystem, SyncFile};
use mr2_train::{Error, RunDir, Start, StopFlag, train};

use crate::support::{checkpoint, process, remains, uninterrupted};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Operation {
    Create,
    Append,
    Write,
    Sync,
    Rename,
    SyncFolder,
    Remove,
}

/// The `nth` (from 0) operation on a path that contains `path`.
struct Fault {
    operation: Operation,
    path: &'static str,
    nth: usize,
}

/// The disk, on which one operation fails once.
#[derive(Clone)]
struct Faulty {
    fault: Arc<Mutex<Option<Fault>>>,
}

impl Faulty {
    fn new(operation: Operation, path: &'static str, nth: usize) -> Self {
        let fault = Fault {
            operation,
            path,
            nth,
        };
        Self {
            fault: Arc::new(Mutex::new(Some(fault))),
        }
    }

    fn faulty(&self, path: &Path, file: Box<dyn SyncFile>) -> Box<dyn SyncFile> {
        Box::new(FaultyFile {
            disk: self.clone(),
            path: path.to_path_buf(),
            file,
        })
    }

    fn happened(&self) -> bool {
        self.fault.lock().unwrap().is_none()
    }

    fn pass(&self, operation: Operation, path: &Path) -> io::Result<()> {
        let mut fault = self.fault.lock().unwrap();
        match &mut *fault {
            Some(Fault {
                operation: failing,
                path: part,
                nth,
            }) if *failing == operation && path.to_string_lossy().contains(*part) => {
                if *nth > 0 {
                    *nth -= 1;
                    return Ok(());
                }
                *fault = None;
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }
}

/// A file on such a disk.
struct FaultyFile {
    disk: Faulty,
    path: std::path::PathBuf,
    file: Box<dyn SyncFile>,
}

impl Write for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.disk.pass(Operation::Write, &self.path) {
            // As on a full disk, some of the bytes get there.
            self.file.write_all(&bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl SyncFile for FaultyFile {
    fn sync(&mut self) -> io::Result<()> {
        self.disk.pass(Operation::Sync, &self.path)?;
        self.file.sync()
    }
}

impl FileSystem for Faulty {
    fn create(&self, path: &Path) -> io::Result<Box<dyn SyncFile>> {
        self.pass(Operation::Create, path)?;
        Ok(self.faulty(path, Disk.create(path)?))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn SyncFile>> {
        self.pass(Operation::Append, path)?;
        Ok(self.faulty(path, Disk.append(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.pass(Operation::Rename, to)?;
        Disk.rename(from, to)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.pass(Operation::SyncFolder, folder)?;
        Disk.sync_folder(folder)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.pass(Operation::Remove, path)?;
        Disk.remove(path)
    }
}

/// Runs into the fault; `None` if the run ended before it could happen.
fn run_into(folder: &Path, disk: &Faulty) -> Option<Error> {
    let process = process();
    let dir = RunDir::open_on(folder, Arc::new(disk.clone())).unwrap();
    let outcome =
        process.with_job(|job| train(job, &dir, Start::Fresh, &StopFlag::new(), &mut |_| {}));
    disk.happened().then(|| outcome.unwrap_err())
}

#[test]
fn a_fault_at_each_operation_of_each_file_in_turn_loses_nothing() {
    use Operation::{Append, Create, Remove, Rename, Sync, SyncFolder, Write};
    let expected = uninterrupted();
    // The first checkpoint and one in the middle, the files of the end, those written all the time.
    let checkpoints = [("checkpoint", 0), ("checkpoint", 5)];
    let end = [("predictions", 0), ("result.json", 0)];
    let logs = [("metrics.jsonl", 0), ("tfevents", 0)];
    let later = [("metrics.jsonl", 5), ("tfevents", 5)];
    // The first and second of the run's own folder are those of the configuration and the metrics.
    let folders = [("", 0), ("", 1), ("/tb", 0), ("", 7), ("", 12)];
    let faults = [
        (Create, [checkpoints, end].concat()),
        (Append, logs.to_vec()),
        (Write, [checkpoints, end, logs, later].concat()),
        (Sync, [checkpoints, end, logs, later].concat()),
        (Rename, [checkpoints, end].concat()),
        (SyncFolder, [&checkpoints[..], &folders[..]].concat()),
        (Remove, checkpoints.to_vec()),
    ];
    for (operation, places) in faults {
        for (path, nth) in places {
            let folder = tempfile::tempdir().unwrap();
            let disk = Faulty::new(operation, path, nth);
            let error = run_into(folder.path(), &disk);
            let error = error.unwrap_or_else(|| panic!("{operation:?} {path} {nth}: no fault"));
            assert!(matches!(error, Error::Io { .. }), "{error}");
            process().run(folder.path(), Start::Resume).unwrap();
            assert_eq!(
                remains(folder.path()),
                expected,
                "{operation:?} {path} {nth}"
            );
        }
    }
}

#[test]
fn a_full_disk_keeps_the_former_checkpoint_and_the_error_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    // Validation improves somewhere on the way; only the checkpoint of step 12 is failed.
    let disk = Faulty::new(Operation::Write, "last-000000012", 0);
    let error = run_into(folder.path(), &disk).unwrap();
    let message = error.to_string();
    let name = "checkpoint/last-000000012.safetensors: cannot write it (the former file, if any, \
                stays)";
    assert!(message.ends_with(name), "{message}");
    let reason = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(
        reason,
        io::Error::from(io::ErrorKind::StorageFull).to_string()
    );
    let mut names: Vec<_> = fs::read_dir(folder.path().join("checkpoint"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("last"))
        .collect();
    names.sort();
    let newest = names.last().unwrap();
    assert!(
        names.iter().all(|name| name.ends_with(".safetensors")),
        "{names:?}"
    );
    assert!(newest.as_str() < "last-000000012", "{names:?}");
    checkpoint(&folder.path().join("checkpoint").join(newest));
}

#[test]
fn a_failed_configuration_leaves_a_folder_without_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Faulty::new(Operation::Sync, "config.toml", 0);
    let message = run_into(folder.path(), &disk).unwrap().to_string();
    assert!(message.contains("config.toml"), "{message}");
    process().run(folder.path(), Start::Fresh).unwrap();
}
