//! Zip archives whose members are stored without compression, as `torch.save` writes them
//! (PKWARE's APPNOTE.TXT, sections 4.3.7 to 4.3.16 and, for archives over 4 GB, 4.5.3). Members are slices
//! of the archive.

use std::collections::HashMap;
use std::ops::Range;

/// A zip archive that compresses nothing.
#[derive(Debug)]
pub struct Archive<'a> {
    bytes: &'a [u8],
    entries: HashMap<&'a [u8], Entry>,
    order: Vec<&'a [u8]>,
}

/// A member, as the list at the end describes it.
#[derive(Debug, Clone, Copy)]
struct Entry {
    method: u64,
    size: u64,
    header: u64,
}

impl<'a> Archive<'a> {
    /// Whether a file begins as zip archives do.
    pub fn is_zip(bytes: &[u8]) -> bool {
        bytes.starts_with(b"PK\x03\x04")
    }

    /// Reads the list of members.
    ///
    /// # Errors
    /// Bytes that are no zip archive, or one that is damaged or names a member twice.
    pub fn open(bytes: &'a [u8]) -> Result<Self, String> {
        if !Self::is_zip(bytes) {
            return Err("it is no zip archive".to_string());
        }
        let (count, mut at) = directory(bytes).ok_or_else(damaged)?;
        let (mut entries, mut order) = (HashMap::new(), Vec::new());
        for _ in 0..count {
            let (name, entry, next) = read_entry(bytes, at).ok_or_else(damaged)?;
            if entries.insert(name, entry).is_some() {
                let name = String::from_utf8_lossy(&name[..name.len().min(60)]);
                return Err(format!("its zip archive holds {name} twice"));
            }
            order.push(name);
            at = next;
        }
        Ok(Archive {
            bytes,
            entries,
            order,
        })
    }

    /// The names of the members, in order.
    pub fn names(&self) -> impl Iterator<Item = &'a str> {
        self.order
            .iter()
            .filter_map(|name| std::str::from_utf8(name).ok())
    }

    /// The bytes of a member; `None` if there is none of that name.
    ///
    /// # Errors
    /// A member that is compressed or lies outside of the archive.
    pub fn member(&self, name: &str) -> Result<Option<&'a [u8]>, String> {
        let Some(entry) = self.entries.get(name.as_bytes()) else {
            return Ok(None);
        };
        if entry.method != 0 {
            return Err(format!("{name} in it is compressed"));
        }
        let range = entry.data(self.bytes).ok_or_else(damaged)?;
        self.bytes.get(range).map(Some).ok_or_else(damaged)
    }
}

fn damaged() -> String {
    "its zip archive is damaged".to_string()
}

/// A number of `size` bytes, the lowest first.
fn number(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(size)?)?;
    Some(
        bytes
            .iter()
            .rev()
            .fold(0, |n, &byte| n << 8 | u64::from(byte)),
    )
}

fn index(number: u64) -> Option<usize> {
    usize::try_from(number).ok()
}

/// Number of members and where the list of them begins.
fn directory(archive: &[u8]) -> Option<(u64, usize)> {
    // The end record has 22 bytes and a comment of at most 65,535.
    let earliest = archive.len().saturating_sub(22 + 0xffff);
    let tail = archive.get(earliest..)?;
    let end = earliest + tail.windows(4).rposition(|four| four == b"PK\x05\x06")?;
    let (count, start) = (number(archive, end + 10, 2)?, number(archive, end + 16, 4)?);
    if count != 0xffff && start != 0xffff_ffff {
        return Some((count, index(start)?));
    }
    // In front of it, where to find the record with wider fields.
    let locator = end.checked_sub(20)?;
    if !archive.get(locator..)?.starts_with(b"PK\x06\x07") {
        return Some((count, index(start)?));
    }
    let wide = index(number(archive, locator + 8, 8)?)?;
    if !archive.get(wide..)?.starts_with(b"PK\x06\x06") {
        return None;
    }
    let count = number(archive, wide.checked_add(32)?, 8)?;
    Some((count, index(number(archive, wide.checked_add(48)?, 8)?)?))
}

/// Name, description and where the next begins.
fn read_entry(archive: &[u8], at: usize) -> Option<(&[u8], Entry, usize)> {
    let entry = archive.get(at..)?;
    if !entry.starts_with(b"PK\x01\x02") {
        return None;
    }
    let length = |at| index(number(entry, at, 2)?);
    let (name_len, extra_len, comment_len) = (length(28)?, length(30)?, length(32)?);
    let name = entry.get(46..46 + name_len)?;
    let extra = entry.get(46 + name_len..46 + name_len + extra_len)?;
    let mut found = Entry {
        method: number(entry, 10, 2)?,
        size: number(entry, 24, 4)?,
        header: number(entry, 42, 4)?,
    };
    let packed = number(entry, 20, 4)?;
    found.widen(packed, extra)?;
    Some((name, found, at + 46 + name_len + extra_len + comment_len))
}

impl Entry {
    /// Takes what does not fit into four bytes from the extra field: size, packed size, place, in this
    /// order, and only those that are needed.
    fn widen(&mut self, packed: u64, extra: &[u8]) -> Option<()> {
        const WIDE: u64 = 0xffff_ffff;
        if self.size != WIDE && self.header != WIDE {
            return Some(());
        }
        let mut at = 0;
        while number(extra, at, 2)? != 1 {
            at += 4 + index(number(extra, at + 2, 2)?)?;
        }
        at += 4;
        if self.size == WIDE {
            self.size = number(extra, at, 8)?;
            at += 8;
        }
        if packed == WIDE {
            at += 8;
        }
        if self.header == WIDE {
            self.header = number(extra, at, 8)?;
        }
        Some(())
    }

    /// Where its content is: after its own header, whose extra field may differ from the list's.
    fn data(&self, archive: &[u8]) -> Option<Range<usize>> {
        let at = index(self.header)?;
        let header = archive.get(at..)?;
        if !Archive::is_zip(header) {
            return None;
        }
        let skipped = number(header, 26, 2)? + number(header, 28, 2)?;
        let start = at.checked_add(30)?.checked_add(index(skipped)?)?;
        Some(start..start.checked_add(index(self.size)?)?)
    }
}
