//! Zip archives, small and with the wide fields of large ones, whole and damaged.

#![allow(clippy::unwrap_used)]

use mr2_pickle::Archive;

/// An archive of stored members; `wide` as one of over 4 GB would be written.
fn zip(members: &[(&str, &[u8])], wide: bool) -> Vec<u8> {
    let (mut bytes, mut list) = (Vec::new(), Vec::new());
    for &(name, content) in members {
        let place = bytes.len() as u64;
        let size = content.len() as u64;
        let short = |number: u64| match wide {
            true => u32::MAX.to_le_bytes(),
            false => (number as u32).to_le_bytes(),
        };
        bytes.extend(b"PK\x03\x04\x2d\0\0\0\0\0\0\0\0\0\0\0\0\0");
        bytes.extend([short(size), short(size)].concat());
        bytes.extend((name.len() as u16).to_le_bytes());
        bytes.extend(5u16.to_le_bytes()); // An extra field that the list doesn't have.
        bytes.extend([name.as_bytes(), b"FB\x01\0Z", content].concat());
        let mut extra = Vec::new();
        if wide {
            extra.extend(b"FB\x00\0\x01\0\x18\0");
            extra.extend([size.to_le_bytes(), size.to_le_bytes(), place.to_le_bytes()].concat());
        }
        list.extend(b"PK\x01\x02\x2d\0\x2d\0\0\0\0\0\0\0\0\0\0\0\0\0");
        list.extend([short(size), short(size)].concat());
        list.extend((name.len() as u16).to_le_bytes());
        list.extend((extra.len() as u16).to_le_bytes());
        list.extend([0; 10]);
        list.extend(short(place));
        list.extend([name.as_bytes(), &extra].concat());
    }
    let (start, count) = (bytes.len() as u64, members.len() as u64);
    let size = list.len() as u64;
    bytes.extend(list);
    if wide {
        let record = bytes.len() as u64;
        bytes.extend(b"PK\x06\x06\x2c\0\0\0\0\0\0\0\x2d\0\x2d\0\0\0\0\0\0\0\0\0");
        for number in [count, count, size, start] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(b"PK\x06\x07\0\0\0\0");
        bytes.extend(record.to_le_bytes());
        bytes.extend(1u32.to_le_bytes());
    }
    let (count, start) = match wide {
        true => (u16::MAX, u32::MAX),
        false => (count as u16, start as u32),
    };
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend([count.to_le_bytes(), count.to_le_bytes()].concat());
    bytes.extend((size as u32).to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend(0u16.to_le_bytes());
    bytes
}

const MEMBERS: &[(&str, &[u8])] = &[
    ("a/data.pkl", b"N."),
    ("a/data/0", b"0123"),
    ("a/empty", b""),
];

#[test]
fn members_are_found_by_name_in_small_and_in_wide_archives() {
    for wide in [false, true] {
        let bytes = zip(MEMBERS, wide);
        let archive = Archive::open(&bytes).unwrap();
        assert!(archive.names().eq(MEMBERS.iter().map(|&(name, _)| name)));
        for &(name, content) in MEMBERS {
            assert_eq!(archive.member(name), Ok(Some(content)), "{name}");
        }
        assert_eq!(archive.member("data.pkl"), Ok(None));
    }
}

#[test]
fn what_is_no_archive_or_cannot_be_read_says_so() {
    let refused = |bytes: &[u8]| Archive::open(bytes).err().unwrap();
    assert_eq!(refused(b"abc"), "it is no zip archive");
    assert_eq!(refused(b"PK\x03\x04"), "its zip archive is damaged");
    let twice = zip(&[("x", b"1"), ("x", b"2")], false);
    assert_eq!(refused(&twice), "its zip archive holds x twice");
    let mut packed = zip(&[("x", b"1")], false);
    let list = packed.windows(4).position(|four| four == b"PK\x01\x02");
    packed[list.unwrap() + 10] = 8;
    let archive = Archive::open(&packed).unwrap();
    assert_eq!(
        archive.member("x"),
        Err("x in it is compressed".to_string())
    );
}

#[test]
fn damaged_archives_never_panic() {
    for wide in [false, true] {
        let whole = zip(MEMBERS, wide);
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                look(&bytes);
            }
            look(&whole[..at]);
        }
    }
}

fn look(bytes: &[u8]) {
    if let Ok(archive) = Archive::open(bytes) {
        archive.names().for_each(|name| drop(archive.member(name)));
    }
}
