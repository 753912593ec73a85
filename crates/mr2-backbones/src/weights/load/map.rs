//! Files as slices of memory: tensors are copied out of them once, and nothing else is.

use std::fs::File;
use std::path::Path;

use memmap2::Mmap;

use crate::weights::{Error, Result};

pub(super) fn map(path: &Path) -> Result<Mmap> {
    let file = File::open(path).map_err(|cause| Error::io(path, cause))?;
    // SAFETY: the map is read-only and lives as long as one call of `read`. Readers take each byte as it
    // comes and check it before use, so another process that writes into the file can spoil numbers, not
    // memory. One that cuts the file short meanwhile ends this process with SIGBUS, as it would any other that
    // maps weights; published files are replaced by renaming.
    let map = unsafe { Mmap::map(&file) };
    map.map_err(|cause| Error::io(path, cause))
}
