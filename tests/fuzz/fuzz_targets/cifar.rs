#![no_main]
//! CIFAR: the bytes as binary records, as a pickled batch, as the release's archive, and packed as one.

use std::io::Write;
use std::sync::LazyLock;

use flate2::Compression;
use flate2::write::GzEncoder;
use libfuzzer_sys::fuzz_target;
use mr2_data::Layout;
use mr2_fuzz::{Scratch, descriptor, read_all};

static SCRATCH: LazyLock<Scratch> = LazyLock::new(Scratch::new);

/// A header of a tar archive.
const TAR_BLOCK: usize = 512;

fn check(layout: Layout) {
    let _ = read_all(&descriptor(layout, Some((2, 3))), SCRATCH.path());
}

fn pickles(archive: Option<&str>, file: &str) -> Layout {
    Layout::CifarPickle {
        archive: archive.map(str::to_string),
        label_key: "labels".to_string(),
        train: vec![file.to_string()],
        test: vec![file.to_string()],
    }
}

fuzz_target!(|bytes: &[u8]| {
    SCRATCH.write("bytes", bytes);
    if bytes.starts_with(&[0x1f, 0x8b]) {
        check(pickles(Some("bytes"), "batch"));
        return;
    }
    for labels_per_record in [1, 2] {
        check(Layout::CifarBinary {
            labels_per_record,
            train: vec!["bytes".to_string()],
            test: vec!["bytes".to_string()],
        });
    }
    check(pickles(None, "bytes"));
    if bytes.len() >= TAR_BLOCK {
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(bytes).expect("memory takes it");
        SCRATCH.write("archive", &packer.finish().expect("memory takes it"));
        check(pickles(Some("archive"), "batch"));
    }
});
