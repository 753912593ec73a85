//! Zip archives whose members are stored without compression, as `torch.save` writes them
//! (PKWARE's APPNOTE.TXT, sections 4.3.7 to 4.3.16). Members are slices of the archive.

use std::ops::Range;

/// Whether a file begins as zip archives do.
pub(crate) fn is_zip(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04")
}

/// The bytes of the one member whose file name (without its folders) is `name`.
pub(crate) fn member<'a>(archive: &'a [u8], name: &str) -> Result<&'a [u8], String> {
    if !is_zip(archive) {
        return Err("it is no zip archive".to_string());
    }
    let damaged = || "its zip archive is damaged".to_string();
    let (count, mut at) = directory(archive).ok_or_else(damaged)?;
    for _ in 0..count {
        let entry = Entry::read(archive, at).ok_or_else(damaged)?;
        if entry.name.rsplit(|&byte| byte == b'/').next() == Some(name.as_bytes()) {
            if entry.method != 0 {
                return Err(format!("{name} in it is compressed"));
            }
            let range = entry.data(archive).ok_or_else(damaged)?;
            return archive.get(range).ok_or_else(damaged);
        }
        at = entry.next;
    }
    Err(format!("it has no {name}"))
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(2)?)?;
    Some(usize::from(u16::from_le_bytes(bytes.try_into().ok()?)))
}

fn long(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
}

/// Number of members and where the list of them begins.
fn directory(archive: &[u8]) -> Option<(usize, usize)> {
    // The end record has 22 bytes and a comment of at most 65,535.
    let earliest = archive.len().saturating_sub(22 + 0xffff);
    let tail = archive.get(earliest..)?;
    let end = earliest + tail.windows(4).rposition(|four| four == b"PK\x05\x06")?;
    Some((word(archive, end + 10)?, long(archive, end + 16)?))
}

/// A member, as the list at the end describes it.
struct Entry<'a> {
    name: &'a [u8],
    method: usize,
    size: usize,
    header: usize,
    next: usize,
}

impl<'a> Entry<'a> {
    fn read(archive: &'a [u8], at: usize) -> Option<Self> {
        let entry = archive.get(at..)?;
        if !entry.starts_with(b"PK\x01\x02") {
            return None;
        }
        let name_len = word(entry, 28)?;
        Some(Entry {
            name: entry.get(46..46 + name_len)?,
            method: word(entry, 10)?,
            size: long(entry, 24)?,
            header: long(entry, 42)?,
            next: at + 46 + name_len + word(entry, 30)? + word(entry, 32)?,
        })
    }

    /// Where its content is: after its own header, whose extra field may differ from the list's.
    fn data(&self, archive: &[u8]) -> Option<Range<usize>> {
        let header = archive.get(self.header..)?;
        if !is_zip(header) {
            return None;
        }
        let start = self.header + 30 + word(header, 26)? + word(header, 28)?;
        Some(start..start.checked_add(self.size)?)
    }
}
