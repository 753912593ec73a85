//! Small files that would take much memory. Each is refused before it does, which shows in the error: what
//! would only be found by unpacking is not what it names.

use crate::fixtures::{self, descriptor, idx_layout};
use flate2::Compression;
use flate2::write::GzEncoder;
use mr2_data::{Descriptor, ImageSet, Layout, Source, Split, open};
use parquet::basic::Encoding;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;
use std::sync::Arc;
use tempfile::TempDir;

/// The files of `idx_layout`.
const IDX: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

/// A folder in which every file is `bytes`.
fn folder(names: &[&str], bytes: &[u8]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for name in names {
        std::fs::write(root.path().join(name), bytes).unwrap();
    }
    root
}

#[track_caller]
fn refused(descriptor: &Descriptor, names: &[&str], bytes: &[u8], why: &str) {
    let root = folder(names, bytes);
    let message = open(descriptor, root.path(), None).unwrap_err().to_string();
    assert!(message.contains(why), "{message}");
}

#[test]
fn an_idx_header_of_another_data_set_is_refused_before_its_content_is_unpacked() {
    // The content is missing, which would be the error if it had been looked for.
    let file = std::fs::read(fixtures::folder().join("idx").join(IDX[0])).unwrap();
    let mut descriptor = descriptor("idx", 3, idx_layout());
    descriptor.train_images = Some(5);
    let why = "holds 4 images or labels, expected 5";
    refused(&descriptor, &IDX, &file[..16], why);
    descriptor.width = Some(8);
    let why = "image is 5 x 7 (height x width), expected 5 x 8";
    refused(&descriptor, &IDX, &file[..16], why);
}

#[test]
fn a_long_name_in_an_archive_is_skipped_and_not_read_into_memory() {
    // If it were read, it would be the name of the batch, which then would not be found.
    let batch = std::fs::read(fixtures::folder().join("pickles/python2")).unwrap();
    let packer = GzEncoder::new(Vec::new(), Compression::fast());
    let mut archive = tar::Builder::new(packer);
    for (kind, name, content) in [
        (tar::EntryType::GNULongName, "long", &b"elsewhere"[..]),
        (tar::EntryType::Regular, "batch", &batch[..]),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, name, content).unwrap();
    }
    let packed = archive.into_inner().unwrap().finish().unwrap();
    let layout = Layout::CifarPickle {
        archive: Some("archive".to_string()),
        label_key: "labels".to_string(),
        train: vec!["batch".to_string()],
        test: Vec::new(),
    };
    let mut descriptor = descriptor("archive", 4, layout);
    (descriptor.height, descriptor.width) = (Some(2), Some(3));
    let splits = open(&descriptor, folder(&["archive"], &packed).path(), None).unwrap();
    assert!(!splits.train.is_empty());
}

fn parquet() -> Descriptor {
    let names = vec!["file".to_string()];
    let layout = Layout::HubParquet {
        image_column: "img".to_string(),
        label_column: "label".to_string(),
        train: names.clone(),
        test: names,
    };
    descriptor("parquet", 10, layout)
}

#[test]
fn parquet_rows_are_counted_against_the_limit_before_any_is_decoded() {
    // Two rows of the largest images are over the limit. Decoding the first would find another size.
    let file = fixtures::folder().join("cifar10/plain_text/train-00000-of-00001.parquet");
    let mut descriptor = parquet();
    (descriptor.height, descriptor.width) = (Some(32_768), Some(32_768));
    let why = "what the images unpack to is at least 6442";
    refused(&descriptor, &["file"], &std::fs::read(file).unwrap(), why);
}

#[test]
fn parquet_pages_in_an_encoding_that_trusts_its_header_are_refused() {
    // Its decoder takes memory for as many strings as the page says: a file of 741 bytes ended the process.
    let schema = "message rows { required group img { required binary bytes; } \
                  required int64 label; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let column = ColumnPath::new(vec!["img".to_string(), "bytes".to_string()]);
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_column_encoding(column, Encoding::DELTA_LENGTH_BYTE_ARRAY)
        .build();
    let mut file = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut file, schema, Arc::new(properties)).unwrap();
    let mut rows = writer.next_row_group().unwrap();
    let mut images = rows.next_column().unwrap().unwrap();
    let image = [ByteArray::from(vec![1, 2, 3])];
    let typed = images.typed::<ByteArrayType>();
    typed.write_batch(&image, None, None).unwrap();
    images.close().unwrap();
    let mut labels = rows.next_column().unwrap().unwrap();
    let typed = labels.typed::<Int64Type>();
    typed.write_batch(&[7], None, None).unwrap();
    labels.close().unwrap();
    rows.close().unwrap();
    writer.close().unwrap();
    let why = "the encoding DELTA_LENGTH_BYTE_ARRAY, expected PLAIN or a dictionary";
    refused(&parquet(), &["file"], &file, why);
}

#[test]
fn an_image_that_would_take_too_much_as_rgb_is_refused_by_its_header() {
    // 14,000 x 14,000 grey pixels: 196 MB as they are, 588 MB as RGB. Only the header is there.
    let grey = std::fs::read(fixtures::folder().join("folder/train/daisy/c_grey.png")).unwrap();
    let mut header = grey[8..33].to_vec(); // length, "IHDR", 13 bytes, checksum
    header[8..12].copy_from_slice(&14_000u32.to_be_bytes());
    header[12..16].copy_from_slice(&14_000u32.to_be_bytes());
    let mut checksum = flate2::Crc::new();
    checksum.update(&header[4..21]);
    header[21..].copy_from_slice(&checksum.sum().to_be_bytes());
    let file = [&grey[..8], &header, &grey[33..]].concat();
    let source = Source::Encoded {
        files: vec![file],
        channels: 3,
    };
    let set = ImageSet::new("x", Split::Test, vec!["a".into()], vec![0], source).unwrap();
    let message = set.image(0).unwrap_err().to_string();
    let why = "the decoded image is at least 588000000 bytes";
    assert!(message.contains(why), "{message}");
}
