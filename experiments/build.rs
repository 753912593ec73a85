//! The code version that every result records: a hash of the sources that a result depends on.

#![allow(clippy::print_stdout)] // how a build script speaks to cargo

use std::io::Result;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Hexadecimal digits that are recorded.
const DIGITS: usize = 12;

fn main() -> Result<()> {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let mut files = vec![root.join("Cargo.lock")];
    for folder in std::fs::read_dir(root.join("crates"))? {
        let sources = folder?.path().join("src");
        println!("cargo::rerun-if-changed={}", sources.display());
        list(&sources, &mut files)?;
    }
    println!(
        "cargo::rerun-if-changed={}",
        root.join("Cargo.lock").display()
    );
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        let name = file.strip_prefix(&root).unwrap_or(&file);
        // The same on every system.
        let name = name.to_string_lossy().replace('\\', "/");
        hash.update(name.as_bytes());
        hash.update([0]);
        hash.update(std::fs::read(&file)?);
    }
    let digest: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    println!("cargo::rustc-env=MR2_CODE={}", &digest[..DIGITS]);
    Ok(())
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => list(&path, files)?,
            false => files.push(path),
        }
    }
    Ok(())
}
