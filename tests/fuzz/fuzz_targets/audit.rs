#![no_main]
//! `mr2 audit` from file to report: an npz archive, or two arrays packed as one, or else CSV and TSV.

use std::io::{Cursor, Write};
use std::path::Path;
use std::sync::LazyLock;

use clap::Parser;
use libfuzzer_sys::fuzz_target;
use mr2::commands::{Output, audit};
use mr2_fuzz::Scratch;
use zip::write::{FileOptions, ZipWriter};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    audit: audit::Args,
}

static SCRATCH: LazyLock<Scratch> = LazyLock::new(Scratch::new);

fn check(path: &Path) {
    let line = ["audit".as_ref(), "--predictions".as_ref(), path.as_os_str()];
    let args = Line::parse_from(line).audit;
    for json in [false, true] {
        let output = Output { quiet: true, json };
        let _ = audit::run(&args, &output, &mut std::io::sink());
    }
}

/// An archive with right checksums, which mutations of a whole one almost never have.
fn npz(arrays: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, array) in arrays {
        archive
            .start_file(format!("{name}.npy"), FileOptions::default())
            .expect("memory takes it");
        archive.write_all(array).expect("memory takes it");
    }
    archive.finish().expect("memory takes it").into_inner()
}

/// The start of a NumPy array; the second array of an input begins where it comes again.
const MAGIC: &[u8] = b"\x93NUMPY";

fuzz_target!(|bytes: &[u8]| {
    if bytes.starts_with(b"PK") {
        check(&SCRATCH.write("bytes.npz", bytes));
    } else if bytes.starts_with(MAGIC) {
        let second = (1..bytes.len()).find(|&at| bytes[at..].starts_with(MAGIC));
        let (labels, other) = bytes.split_at(second.unwrap_or(bytes.len()));
        for name in ["predictions", "logits"] {
            let packed = npz(&[("labels", labels), (name, other)]);
            check(&SCRATCH.write("packed.npz", &packed));
        }
    } else {
        check(&SCRATCH.write("bytes.csv", bytes));
        check(&SCRATCH.write("bytes.tsv", bytes));
    }
});
