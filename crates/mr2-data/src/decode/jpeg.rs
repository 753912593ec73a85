//! Whether a JPEG is whole. The decoder fills what is missing with grey, and Pillow refuses the file.

/// True if the image ends with an end marker. Thumbnails, which have markers of their own, are passed over.
pub(super) fn is_whole(encoded: &[u8]) -> bool {
    const END: u8 = 0xD9;
    let mut rest = encoded.get(2..).unwrap_or_default();
    loop {
        // Fill bytes may precede a marker.
        let Some(at) = rest
            .windows(2)
            .position(|two| two[0] == 0xFF && is_marker(two[1]))
        else {
            return false;
        };
        let marker = rest[at + 1];
        rest = &rest[at + 2..];
        if marker == END {
            return true;
        }
        let Some(length) = rest.first_chunk().map(|bytes| u16::from_be_bytes(*bytes)) else {
            return false;
        };
        let Some(after) = rest.get(usize::from(length)..) else {
            return false;
        };
        // The data of a scan follow its header, and are searched for the next marker.
        rest = after;
    }
}

/// Not a byte of the data (FF 00), a fill byte, or a marker without a segment (restart, TEM).
fn is_marker(byte: u8) -> bool {
    !matches!(byte, 0x00 | 0x01 | 0xD0..=0xD7 | 0xFF)
}
