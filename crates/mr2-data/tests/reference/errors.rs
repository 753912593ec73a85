//! Every error by its message: the file or field, what was expected, what was found, what to do.

use crate::fixtures::{self, descriptor, idx_layout, patterned};
use flate2::Compression;
use flate2::write::GzEncoder;
use mr2_data::candle_core::Device;
use mr2_data::{
    Checksum, Descriptor, Draws, Image, ImageSet, Interpolation, Layout, Loader, LoaderConfig,
    Pipeline, RandomResizedCrop, Sampler, Source, Split, Transform, ValidationConfig, carve, open,
    read_image_folder,
};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

/// A copy of one of the fixtures' folders, to be damaged.
struct Damaged {
    folder: TempDir,
    descriptor: Descriptor,
}

impl Damaged {
    fn new(fixture: &str, descriptor: Descriptor) -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(&fixtures::folder().join(fixture), folder.path());
        Damaged { folder, descriptor }
    }

    fn idx() -> Self {
        let damaged = Damaged::new("idx", descriptor("tiny", 3, idx_layout()));
        for name in ["train-images-idx3", "train-labels-idx1", "t10k-images-idx3"] {
            std::fs::remove_file(damaged.folder.path().join(format!("{name}-ubyte.gz"))).unwrap();
        }
        damaged
    }

    fn cifar10(layout: usize) -> Self {
        let (_, layout) = fixtures::cifar10_layouts()[layout].clone();
        Damaged::new("cifar10", descriptor("tiny", 10, layout))
    }

    fn describe(mut self, change: impl FnOnce(&mut Descriptor)) -> Self {
        change(&mut self.descriptor);
        self
    }

    fn change(self, file: &str, change: impl FnOnce(&mut Vec<u8>)) -> Self {
        let path = self.folder.path().join(file);
        let mut bytes = std::fs::read(&path).unwrap();
        change(&mut bytes);
        std::fs::write(path, bytes).unwrap();
        self
    }

    fn message(&self) -> String {
        let error = open(&self.descriptor, self.folder.path(), None).unwrap_err();
        error
            .to_string()
            .replace(&self.folder.path().display().to_string(), "ROOT")
    }

    #[track_caller]
    fn says(self, expected: &str) {
        assert_eq!(self.message(), expected);
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

#[track_caller]
fn says<T: std::fmt::Debug>(result: mr2_data::Result<T>, expected: &str) {
    assert_eq!(result.unwrap_err().to_string(), expected);
}

#[test]
fn a_missing_data_set_says_what_was_looked_for_and_where_to_get_it() {
    let damaged = Damaged::idx().describe(|d| {
        d.layouts.extend([fixtures::parquet("label", "plain_text")]);
    });
    std::fs::remove_file(damaged.folder.path().join("train-labels-idx1-ubyte")).unwrap();
    damaged.says(
        "data set tiny: no layout of it is complete under ROOT. Looked for: \
         train-labels-idx1-ubyte, plain_text/train-00000-of-00001.parquet. Get it from \
         https://example.org/data and put it there",
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = Path::new("/not/there");
    let message = read_image_folder(folder, "x", Split::Test, 3)
        .unwrap_err()
        .to_string();
    assert!(
        message.starts_with("/not/there: cannot be read: "),
        "{message}"
    );
    assert!(
        message.ends_with("Check that it exists and is readable"),
        "{message}"
    );
}

#[test]
fn a_wrong_checksum_of_each_kind_names_both_sums() {
    let name = "train-images-idx3-ubyte".to_string();
    let kinds = [
        (Checksum::Sha256("00".to_string()), "SHA-256"),
        (Checksum::Md5("00".to_string()), "MD5"),
        (
            Checksum::ContentSha256("00".to_string()),
            "SHA-256 of the content",
        ),
    ];
    for (sum, kind) in kinds {
        let damaged = Damaged::idx().describe(|d| {
            d.checksums.insert(name.clone(), sum);
        });
        let message = damaged.message();
        assert!(
            message.starts_with(&format!("ROOT/{name}: {kind} is ")),
            "{message}"
        );
        let end = ", expected 00. The file is damaged or another version: get it again, or \
                   correct `checksums` in the descriptor";
        assert!(message.ends_with(end), "{message}");
    }
}

#[test]
fn an_idx_file_with_another_magic_number_is_refused() {
    Damaged::idx().change("train-images-idx3-ubyte", |bytes| bytes[3] = 1).says(
        "ROOT/train-images-idx3-ubyte: magic number is 0x00000801, expected 0x00000803. Is this \
         the right file, images where images are expected and labels where labels are?",
    );
}

#[test]
fn a_short_idx_file_is_refused() {
    Damaged::idx()
        .change("train-images-idx3-ubyte", |bytes| bytes.truncate(100))
        .says(
            "ROOT/train-images-idx3-ubyte: ends after 100 bytes, expected 156. The file is \
         incomplete: get it again",
        );
    Damaged::idx()
        .change("train-labels-idx1-ubyte", |bytes| bytes.truncate(3))
        .says(
            "ROOT/train-labels-idx1-ubyte: ends after 3 bytes, expected 8. The file is incomplete: \
         get it again",
        );
}

#[test]
fn bytes_after_an_idx_file_are_refused() {
    Damaged::idx().change("t10k-labels-idx1-ubyte", |bytes| bytes.push(0)).says(
        "ROOT/t10k-labels-idx1-ubyte: goes on after the expected 10 bytes. The file is damaged or \
         of another format: get it again",
    );
}

#[test]
fn a_header_that_announces_too_much_is_refused_before_memory_is_taken() {
    Damaged::idx()
        .change("train-images-idx3-ubyte", |bytes| bytes[4..16].fill(0xff))
        .says(
            "ROOT/train-images-idx3-ubyte: the content that its header announces is at least \
             18446744073709551615 bytes, over the limit of 4294967296. The file is damaged, \
             hostile or not of this data set",
        );
}

#[test]
fn a_gzip_bomb_is_stopped_at_the_announced_size() {
    // 256 MiB of zeros behind a header for four images: 260 kB on disk.
    let header = std::fs::read(fixtures::folder().join("idx/train-images-idx3-ubyte")).unwrap();
    let bomb = gzip(&[&header[..16], &vec![0; 256 << 20]].concat());
    let damaged = Damaged::idx();
    std::fs::remove_file(damaged.folder.path().join("train-images-idx3-ubyte")).unwrap();
    std::fs::write(
        damaged.folder.path().join("train-images-idx3-ubyte.gz"),
        bomb,
    )
    .unwrap();
    damaged.says(
        "ROOT/train-images-idx3-ubyte.gz: goes on after the expected 156 bytes. The file is \
         damaged or of another format: get it again",
    );
}

#[test]
fn a_damaged_gzip_file_is_refused() {
    let damaged = Damaged::idx();
    std::fs::remove_file(damaged.folder.path().join("train-images-idx3-ubyte")).unwrap();
    std::fs::write(
        damaged.folder.path().join("train-images-idx3-ubyte.gz"),
        b"hello",
    )
    .unwrap();
    let message = damaged.message();
    let start = "ROOT/train-images-idx3-ubyte.gz: cannot be unpacked: ";
    assert!(message.starts_with(start), "{message}");
    assert!(
        message.ends_with(". The file is damaged: get it again"),
        "{message}"
    );
}

#[test]
fn images_of_another_size_are_refused() {
    Damaged::idx().describe(|d| d.width = Some(5)).says(
        "ROOT/train-images-idx3-ubyte: image is 5 x 7 (height x width), expected 5 x 5. Correct \
         `height` and `width` in the descriptor, or use the right file",
    );
    Damaged::cifar10(3).describe(|d| d.height = Some(31)).says(
        "ROOT/plain_text/train-00000-of-00001.parquet/row 0: image is 32 x 32 (height x width), \
         expected 31 x 32. Correct `height` and `width` in the descriptor, or use the right file",
    );
}

#[test]
fn other_numbers_of_images_or_labels_are_refused() {
    Damaged::idx()
        .change("train-labels-idx1-ubyte", |bytes| {
            bytes[7] = 3;
            bytes.truncate(11);
        })
        .says(
            "ROOT/train-labels-idx1-ubyte: holds 3 labels, expected 4 (one for each image of the \
             image file). Use files of one and the same version of the data set",
        );
    Damaged::idx().describe(|d| d.test_images = Some(3)).says(
        "ROOT/t10k-images-idx3-ubyte: holds 2 images or labels, expected 3 (the descriptor's \
         number). Use files of one and the same version of the data set",
    );
    Damaged::cifar10(2).describe(|d| d.train_images = Some(9)).says(
        "ROOT/cifar-10-batches-bin/data_batch_1.bin: holds 10 images (with the files that belong \
         to it), expected 9 (the descriptor's number). Use files of one and the same version of \
         the data set",
    );
    let source = Source::Memory {
        pixels: vec![0; 8],
        height: 2,
        width: 2,
        channels: 1,
    };
    says(
        ImageSet::new("two", Split::Train, vec!["a".into()], vec![0], source),
        "two: holds 1 labels, expected 2 (one for each image). Use files of one and the same \
         version of the data set",
    );
}

#[test]
fn a_label_that_is_no_class_is_refused_in_every_format() {
    let end = ". The file is damaged, or `classes` in the descriptor is too short";
    Damaged::idx()
        .change("train-labels-idx1-ubyte", |bytes| bytes[10] = 3)
        .says(&format!(
            "ROOT/train-labels-idx1-ubyte: label of image 2 is 3, expected 0 to 2{end}"
        ));
    Damaged::cifar10(2)
        .change("cifar-10-batches-bin/data_batch_3.bin", |bytes| {
            bytes[3073] = 200
        })
        .says(&format!(
            "ROOT/cifar-10-batches-bin/data_batch_3.bin: label of image 1 is 200, expected 0 to \
             9{end}"
        ));
    for layout in [0, 1, 3] {
        let damaged = Damaged::cifar10(layout).describe(|d| d.classes.truncate(9));
        let message = damaged.message();
        let middle = ": label of image 0 is 9, expected 0 to 8";
        assert!(
            message.contains(middle) && message.ends_with(end),
            "{message}"
        );
    }
    let source = Source::Memory {
        pixels: vec![0; 4],
        height: 2,
        width: 2,
        channels: 1,
    };
    says(
        ImageSet::new("one", Split::Train, vec!["a".into()], vec![1], source),
        &format!("one: label of image 0 is 1, expected 0 to 0{end}"),
    );
}

#[test]
fn another_order_of_the_training_labels_is_refused() {
    Damaged::cifar10(0)
        .describe(|d| d.label_order_md5 = Some("00".to_string()))
        .change("cifar-10-batches-py/data_batch_1", |_| ())
        .message()
        .split_once("MD5 of the training labels is ")
        .map(|(before, after)| {
            assert_eq!(before, "data set tiny: ");
            let end = ", expected 00 (`label_order_md5`). The images are in another order than in \
                       the original release, so indices and seeds would not compare: use an \
                       unmodified copy";
            assert!(after.ends_with(end), "{after}");
        })
        .unwrap();
}

#[test]
fn the_fingerprint_of_the_right_order_is_accepted() {
    use md5::{Digest, Md5};
    let labels = fixtures::Fixture::open("expected.safetensors").words("cifar10.train.labels");
    let bytes: Vec<u8> = labels.iter().map(|&label| label as u8).collect();
    let sum = Md5::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let damaged = Damaged::cifar10(3).describe(|d| d.label_order_md5 = Some(sum));
    open(&damaged.descriptor, damaged.folder.path(), None).unwrap();
}

#[test]
fn binary_records_must_be_whole() {
    Damaged::cifar10(2)
        .change("cifar-10-batches-bin/data_batch_2.bin", |bytes| {
            bytes.truncate(5000)
        })
        .says(
            "ROOT/cifar-10-batches-bin/data_batch_2.bin: ends after 5000 bytes, expected 6146. \
             The file is incomplete: get it again",
        );
    Damaged::cifar10(2).change("cifar-10-batches-bin/test_batch.bin", Vec::clear).says(
        "ROOT/cifar-10-batches-bin/test_batch.bin: ends after 0 bytes, expected 3073. The file is \
         incomplete: get it again",
    );
}

#[test]
fn pickles_that_are_no_batch_of_cifar_are_refused() {
    let layout = |name: &str, label_key: &str| Layout::CifarPickle {
        archive: None,
        label_key: label_key.to_string(),
        train: vec![name.to_string()],
        test: vec![name.to_string()],
    };
    let check = |bytes: Option<&[u8]>, name: &str, label_key: &str, expected: &str| {
        let mut tiny = descriptor("tiny", 4, layout(name, label_key));
        (tiny.height, tiny.width) = (Some(2), Some(3));
        let damaged = Damaged::new("pickles", tiny);
        if let Some(bytes) = bytes {
            std::fs::write(damaged.folder.path().join(name), bytes).unwrap();
        }
        let end = ". Expected a batch file of CIFAR, or the labels of CIFAR-N, as their \
                   authors released it";
        damaged.says(&format!("ROOT/{name}: pickle: {expected}{end}"));
    };
    let code = b"\x80\x02cos\nsystem\n(U\x04true tR.".as_slice();
    let asked = "it asks for `os.system`, which is not on the list (at byte 13)";
    check(Some(code), "code", "labels", asked);
    check(
        Some(b"\x80\x02}"),
        "short",
        "labels",
        "it ends too early (at byte 3)",
    );
    check(
        Some(b"\x80\x02}.."),
        "long",
        "labels",
        "bytes after the end (at byte 4)",
    );
    check(
        Some(b"\x80\x09}."),
        "new",
        "labels",
        "protocol 9, expected at most 5 (at byte 2)",
    );
    check(
        Some(b"i"),
        "odd",
        "labels",
        "opcode 0x69 is not one that is read (at byte 1)",
    );
    check(
        Some(b"."),
        "empty",
        "labels",
        "a value is missing on the stack (at byte 1)",
    );
    let none = "there is no list of numbers under \"fine_labels\" (at byte 369)";
    check(None, "python2", "fine_labels", none);
    let size =
        "\"data\" has shape [3, 18] and 54 bytes, expected bytes of shape [4, 18] (at byte 351)";
    check(None, "wrong_short", "labels", size);
    let kind = "an array of another type than uint8 or int64 (at byte 171)";
    check(None, "wrong_floats", "labels", kind);
}

#[test]
fn an_archive_without_a_batch_is_refused() {
    let damaged = Damaged::cifar10(1);
    std::fs::write(
        damaged.folder.path().join("cifar-10-python.tar.gz"),
        gzip(&[0; 1024]),
    )
    .unwrap();
    damaged.says(
        "ROOT/cifar-10-python.tar.gz: cannot be unpacked: it has no member \
         cifar-10-batches-py/data_batch_1. The file is damaged: get it again",
    );
}

fn archive_member(announced: u64) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_path("cifar-10-batches-py/data_batch_1").unwrap();
    header.set_size(announced);
    header.set_cksum();
    gzip(&[header.as_bytes().as_slice(), &[7; 512]].concat())
}

#[test]
fn an_archive_member_that_announces_too_much_is_refused() {
    let damaged = Damaged::cifar10(1);
    let path = damaged.folder.path().join("cifar-10-python.tar.gz");
    std::fs::write(path, archive_member(5 << 30)).unwrap();
    damaged.says(
        "ROOT/cifar-10-python.tar.gz/cifar-10-batches-py/data_batch_1: this batch of the archive \
         with those before it is at least 5368709120 bytes, over the limit of 1073741824. The file \
         is damaged, hostile or not of this data set",
    );
}

#[test]
fn an_archive_member_that_ends_early_is_refused() {
    let damaged = Damaged::cifar10(1);
    let path = damaged.folder.path().join("cifar-10-python.tar.gz");
    std::fs::write(path, archive_member(6000)).unwrap();
    damaged.says(
        "ROOT/cifar-10-python.tar.gz/cifar-10-batches-py/data_batch_1: ends after 512 bytes, \
         expected 6000. The file is incomplete: get it again",
    );
}

#[test]
fn parquet_columns_are_found_by_name_and_type() {
    let layout = |image: &str, label: &str| Layout::HubParquet {
        image_column: image.to_string(),
        label_column: label.to_string(),
        train: vec!["plain_text/train-00000-of-00001.parquet".to_string()],
        test: vec!["plain_text/test-00000-of-00001.parquet".to_string()],
    };
    let start = "ROOT/plain_text/train-00000-of-00001.parquet: parquet: expected a column";
    let end = ", found [\"img.bytes\", \"img.path\", \"label\"]. Correct `image_column` and \
               `label_column` in the descriptor";
    let check = |image, label, expected: &str| {
        let damaged = Damaged::new("cifar10", descriptor("tiny", 10, layout(image, label)));
        damaged.says(&format!("{start} {expected}{end}"));
    };
    check("image", "label", "\"image.bytes\" of type [BYTE_ARRAY]");
    check("img", "fine_label", "\"fine_label\" of type [INT64, INT32]");
    check("img", "img.path", "\"img.path\" of type [INT64, INT32]");
}

#[test]
fn a_damaged_parquet_file_is_refused() {
    let name = "plain_text/test-00000-of-00001.parquet";
    let message = Damaged::cifar10(3)
        .change(name, |bytes| bytes.truncate(3000))
        .message();
    assert!(
        message.starts_with(&format!("ROOT/{name}: parquet: ")),
        "{message}"
    );
    assert!(message.ends_with("get it again"), "{message}");
}

#[test]
fn a_file_that_is_no_image_is_refused_when_it_is_used() {
    let damaged = Damaged::new("folder", descriptor("tiny", 0, folders(None)))
        .change("test/daisy/l.png", |bytes| *bytes = b"hello".to_vec())
        .change("train/daisy/a_png.jpg", |bytes| bytes.truncate(60));
    let splits = open(&damaged.descriptor, damaged.folder.path(), None).unwrap();
    let path = damaged.folder.path().join("test/daisy/l.png");
    says(
        splits.test.image(0),
        &format!(
            "{}: cannot be decoded as an image: not a PNG, JPEG, GIF, BMP, TIFF or WebP file. \
             Remove or replace the file",
            path.display()
        ),
    );
    let message = splits.train.image(0).unwrap_err().to_string();
    assert!(
        message.contains("a_png.jpg: cannot be decoded as an image: "),
        "{message}"
    );
}

#[test]
fn an_image_that_unpacks_to_too_much_is_refused() {
    // A PNG header for 40,000 x 40,000 pixels.
    let folder = fixtures::folder().join("folder/test/daisy/l.png");
    let mut png = std::fs::read(folder).unwrap();
    png[16..20].copy_from_slice(&40_000u32.to_be_bytes());
    png[20..24].copy_from_slice(&40_000u32.to_be_bytes());
    let sum = crc(&png[12..29]);
    png[29..33].copy_from_slice(&sum.to_be_bytes());
    let source = Source::Encoded {
        files: vec![png],
        channels: 3,
    };
    let set = ImageSet::new("bomb", Split::Test, vec!["a".into()], vec![0], source).unwrap();
    let message = set.image(0).unwrap_err().to_string();
    let start = "bomb image 0: cannot be decoded as an image: ";
    assert!(
        message.starts_with(start) && message.contains("limit"),
        "{message}"
    );
}

/// CRC-32 as in PNG.
fn crc(bytes: &[u8]) -> u32 {
    let mut sum = flate2::Crc::new();
    sum.update(bytes);
    sum.sum()
}

fn folders(validation: Option<&str>) -> Layout {
    Layout::ImageFolder {
        train: "train".to_string(),
        validation: validation.map(str::to_string),
        test: "test".to_string(),
    }
}

#[test]
fn image_folders_of_another_layout_are_refused() {
    let new = || Damaged::new("folder", descriptor("tiny", 0, folders(None)));
    let damaged = new();
    std::fs::create_dir(damaged.folder.path().join("test/tulip")).unwrap();
    damaged.says(
        "ROOT/test: folder \"tulip\" is not one of the 2 classes of the training images. Remove \
         it, or give the classes in the descriptor",
    );
    let damaged = new();
    std::fs::create_dir(damaged.folder.path().join("train/tulip")).unwrap();
    let message = damaged.message();
    let start = "ROOT/train/tulip: has no images. Expected files named like [\"jpg\", ";
    assert!(message.starts_with(start), "{message}");
    let damaged = new();
    std::fs::remove_file(damaged.folder.path().join("test/daisy/l.png")).unwrap();
    damaged.says("ROOT/test: has no images in any of its class folders");
    let damaged = new();
    let tulips = damaged.folder.path().join("train/tulip");
    std::os::unix::fs::symlink("daisy", tulips).unwrap();
    damaged.says(
        "ROOT/train/tulip: is the same folder as ROOT/train/daisy. Remove the link: its images \
         would count twice",
    );
    let damaged = new();
    let nested = damaged.folder.path().join("train/rose/nested");
    std::os::unix::fs::symlink("..", nested.join("up")).unwrap();
    damaged.says(
        "ROOT/train/rose/nested/up: is the same folder as ROOT/train/rose. Remove the link: its \
         images would count twice",
    );
    let empty = tempfile::tempdir().unwrap();
    let message = read_image_folder(empty.path(), "x", Split::Test, 3)
        .unwrap_err()
        .to_string();
    let end = ": has no folders. Expected one folder for each class, images in it";
    assert!(message.ends_with(end), "{message}");
}

#[test]
fn a_validation_part_is_not_carved_where_the_data_set_has_its_own() {
    let damaged = Damaged::new("folder", descriptor("tiny", 0, folders(Some("val"))));
    let config = Some(ValidationConfig {
        per_class: 1,
        seed: 0,
    });
    says(
        open(&damaged.descriptor, damaged.folder.path(), config),
        "`validation`: tiny has a validation part of its own: leave `validation` out to use it, \
         or take its folder out of the descriptor to carve one from the training images",
    );
}

#[test]
fn a_descriptor_that_contradicts_itself_names_the_key() {
    let check = |change: fn(&mut Descriptor), expected: &str| {
        let damaged = Damaged::idx().describe(change);
        damaged.says(&format!("descriptor of tiny: {expected}"));
    };
    check(|d| d.channels = 2, "`channels`: expected 1 or 3, got 2");
    check(
        |d| d.mean = vec![0.5; 2],
        "`mean`: expected 1 finite numbers, got [0.5, 0.5]",
    );
    check(
        |d| d.std = vec![f64::NAN],
        "`std`: expected 1 finite numbers, got [NaN]",
    );
    check(
        |d| d.std = vec![0.0],
        "`std`: expected numbers above 0, got [0.0]",
    );
    check(
        |d| d.width = None,
        "`height`: give both `height` and `width`, or neither",
    );
    check(
        |d| d.height = Some(0),
        "`height`: expected sides of 1 to 32768, got 0 x 7",
    );
    check(|d| d.layouts.clear(), "`layouts`: expected at least one");
    check(
        |d| d.classes[1] = "class 0".into(),
        "`classes`: \"class 0\" is there twice",
    );
    check(
        |d| d.classes.clear(),
        "`classes`: only an image folder can do without",
    );
    let no_size = |d: &mut Descriptor| (d.height, d.width) = (None, None);
    check(
        no_size,
        "`height`: IDX needs `height`, `width` and 1 channel",
    );
    let cifar = |change: fn(&mut Descriptor), expected: &str| {
        let damaged = Damaged::cifar10(2).describe(change);
        damaged.says(&format!("descriptor of tiny: {expected}"));
    };
    cifar(
        no_size,
        "`height`: CIFAR needs `height`, `width` and 3 channels",
    );
    let labels = |d: &mut Descriptor| {
        if let Layout::CifarBinary {
            labels_per_record, ..
        } = &mut d.layouts[0]
        {
            *labels_per_record = 3;
        }
    };
    cifar(labels, "`labels_per_record`: expected 1 or 2, got 3");
}

#[test]
fn a_checksum_that_no_layout_compares_is_refused() {
    let content = || Checksum::ContentSha256("00".to_string());
    let md5 = || Checksum::Md5("00".to_string());
    let check = |damaged: Damaged, name: &str, sum: Checksum| {
        let damaged = damaged.describe(|d| {
            d.checksums.insert(name.to_string(), sum);
        });
        damaged.says(&format!(
            "descriptor of tiny: `checksums`: no layout compares {name:?} with a sum of this kind. \
             `md5` and `sha256` are of a file that a layout names; `content_sha256` is of an IDX \
             file, listed without `.gz`; the images of a folder have none"
        ));
    };
    check(Damaged::idx(), "train-images", md5());
    check(Damaged::idx(), "train-images-idx3-ubyte.gz", content());
    let record = "cifar-10-batches-bin/test_batch.bin";
    check(Damaged::cifar10(2), record, content());
    // Of what is in the archive, not of a file.
    let batch = "cifar-10-batches-py/test_batch";
    check(Damaged::cifar10(1), batch, md5());
    let folder = Damaged::new("folder", descriptor("tiny", 0, folders(None)));
    check(folder, "train/daisy/a_png.jpg", md5());
}

#[test]
fn a_fingerprint_of_the_label_order_needs_labels_of_one_byte() {
    let damaged = Damaged::cifar10(2).describe(|d| {
        d.label_order_md5 = Some("00".to_string());
        d.classes = (0..300).map(|class| class.to_string()).collect();
    });
    // The labels are those of 10 classes, so that this is about the order.
    assert!(damaged.message().contains("MD5 of the training labels is"));
    let root = tempfile::tempdir().unwrap();
    for part in ["train", "test"] {
        for class in 0..257 {
            let folder = root.path().join(format!("{part}/{class:03}"));
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("x.png"), "").unwrap();
        }
    }
    let mut many = descriptor("many", 0, folders(None));
    many.label_order_md5 = Some("00".to_string());
    says(
        open(&many, root.path(), None),
        "descriptor of many: `label_order_md5`: is over labels of one byte, at most 256 classes, but \
         there are 257",
    );
}

#[test]
fn an_unknown_key_of_a_descriptor_is_refused() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/mnist.toml");
    let text = format!("colour = 1\n{}", std::fs::read_to_string(path).unwrap());
    let message = toml::from_str::<Descriptor>(&text).unwrap_err().to_string();
    assert!(
        message.contains("unknown field `colour`, expected one of `name`"),
        "{message}"
    );
}

#[test]
fn a_class_that_is_too_small_is_named() {
    let set = patterned(vec![0, 0, 0, 0, 1, 1], 2, 4, 1);
    says(
        carve(
            &set,
            &ValidationConfig {
                per_class: 2,
                seed: 0,
            },
        ),
        "patterned: class class 1 has 2 images, but `validation.per_class` needs at least 3. \
         Lower `validation.per_class` or leave the class out",
    );
    says(
        carve(
            &set,
            &ValidationConfig {
                per_class: 0,
                seed: 0,
            },
        ),
        "`validation.per_class`: 0 images of each class; leave `validation` out to have none",
    );
    says(
        loader(
            set,
            vec![],
            6,
            Sampler::ClassBalanced {
                classes_per_batch: 2,
                images_per_class: 3,
            },
        ),
        "patterned: class class 1 has 2 images, but `images_per_class` needs at least 3. Lower \
         `images_per_class` or leave the class out",
    );
}

fn loader(
    set: ImageSet,
    steps: Vec<Transform>,
    images_per_batch: usize,
    sampler: Sampler,
) -> mr2_data::Result<Loader> {
    let config = LoaderConfig {
        images_per_batch,
        sampler,
        seed: 0,
        workers: 0,
        drop_last: true,
    };
    Loader::new(Arc::new(set), Pipeline::new(steps)?, config, &Device::Cpu)
}

#[test]
fn a_loader_that_cannot_work_names_the_key() {
    let set = || patterned(vec![0, 0, 1, 1], 3, 4, 1);
    says(
        loader(set(), vec![], 0, Sampler::Sequential),
        "`images_per_batch`: expected at least 1, got 0",
    );
    says(
        loader(set(), vec![], 5, Sampler::Sequential),
        "`images_per_batch`: patterned has 4 images, too few for one batch of 5",
    );
    says(
        loader(patterned(vec![], 1, 4, 1), vec![], 1, Sampler::Shuffled),
        "`images_per_batch`: patterned has 0 images, too few for one batch of 1",
    );
    let balanced = |classes_per_batch| Sampler::ClassBalanced {
        classes_per_batch,
        images_per_class: 1,
    };
    says(
        loader(set(), vec![], 3, balanced(2)),
        "`images_per_batch`: expected classes_per_batch x images_per_class = 2 x 1, got 3",
    );
    says(
        loader(set(), vec![], 3, balanced(3)),
        "`classes_per_batch`: expected at most the 2 classes of patterned, got 3",
    );
    let normalize = Transform::Normalize {
        mean: vec![0.5; 3],
        std: vec![0.5; 3],
    };
    says(
        loader(set(), vec![normalize], 2, Sampler::Sequential),
        "`normalize.mean`: it has 3 numbers, expected 1, the channels of the images",
    );
}

#[test]
fn an_image_set_that_cannot_be_names_what_is_wrong() {
    let new = |pixels: usize, height, channels| {
        let source = Source::Memory {
            pixels: vec![0; pixels],
            height,
            width: 2,
            channels,
        };
        ImageSet::new("x", Split::Train, vec!["a".into()], vec![0], source)
    };
    says(new(8, 2, 2), "`channels`: x: expected 1 or 3, got 2");
    says(
        new(5, 2, 1),
        "`pixels`: x: 5 bytes are not whole images of 2 x 2 x 1",
    );
    says(
        new(4, 0, 1),
        "`pixels`: x: 4 bytes are not whole images of 0 x 2 x 1",
    );
    let endless = new(4, usize::MAX, 1).unwrap_err().to_string();
    assert!(
        endless.starts_with("`pixels`: x: 4 bytes are not whole images"),
        "{endless}"
    );
    let set = new(4, 2, 1).unwrap();
    says(set.image(1), "x: image 1 asked for, but it has 1");
    says(set.label(7), "x: image 7 asked for, but it has 1");
    says(
        set.subset(Split::Test, &[2]),
        "x: image 2 asked for, but it has 1",
    );
}

#[test]
fn a_pipeline_that_cannot_work_names_the_key() {
    let check = |steps: Vec<Transform>, expected: &str| says(Pipeline::new(steps), expected);
    let normalize = |mean: &[f64], std: &[f64]| Transform::Normalize {
        mean: mean.to_vec(),
        std: std.to_vec(),
    };
    let flip = |p| Transform::HorizontalFlip { p };
    check(
        vec![normalize(&[0.5], &[0.5]), flip(0.5)],
        "`normalize`: it is step 1 of 2, expected last: the other steps work on bytes",
    );
    check(
        vec![normalize(&[0.5], &[])],
        "`normalize.std`: expected as many as `mean` has (1), got 0",
    );
    check(
        vec![normalize(&[f64::INFINITY], &[1.0])],
        "`normalize.mean`: expected finite numbers, got [inf]",
    );
    check(
        vec![normalize(&[0.5], &[0.0])],
        "`normalize.std`: expected finite numbers above 0, got [0.0]",
    );
    check(
        vec![flip(1.5)],
        "`horizontal_flip.p`: expected 0 to 1, got 1.5",
    );
    check(
        vec![Transform::CentreCrop { size: 0 }],
        "`centre_crop.size`: expected 1 to 8192, got 0",
    );
    let pad = |padding| vec![Transform::RandomCrop { size: 8, padding }];
    assert!(Pipeline::new(pad(0)).is_ok());
    for padding in [8193, usize::MAX] {
        let got = format!("`random_crop.padding`: expected 0 to 8192, got {padding}");
        check(pad(padding), &got);
    }
    let crop = |scale, ratio| {
        Transform::RandomResizedCrop(RandomResizedCrop {
            size: 8,
            scale,
            ratio,
            interpolation: Interpolation::Bilinear,
        })
    };
    check(
        vec![crop([0.0, 1.0], [1.0, 1.0])],
        "`random_resized_crop.scale`: expected 0 < smallest <= largest, got [0, 1]",
    );
    check(
        vec![crop([0.1, 1.0], [2.0, 1.0])],
        "`random_resized_crop.ratio`: expected 0 < smallest <= largest, got [2, 1]",
    );
}

#[test]
fn an_image_whose_bytes_are_not_those_of_its_size_is_refused() {
    let resize = Transform::Resize {
        height: 4,
        width: 4,
        interpolation: Interpolation::Bilinear,
    };
    for steps in [vec![], vec![resize]] {
        let pipeline = Pipeline::new(steps).unwrap();
        for (bytes, height, width, channels) in [
            (0, 0, 0, 3),
            (0, 0, 5, 1),
            (11, 2, 2, 3),
            (13, 2, 2, 3),
            (8, 2, 2, 2),
            (16, 2, 2, 4),
            (0, 2, 2, 0),
            (4, usize::MAX, 2, 1),
        ] {
            let image = Image {
                pixels: vec![0; bytes].into(),
                height,
                width,
                channels,
            };
            says(
                pipeline.apply(&image, &mut Draws::for_image(0, 0, 0)),
                &format!(
                    "`image`: expected height x width x channels bytes, at least one pixel and 1 or \
                     3 channels, got {height} x {width} x {channels} and {bytes} bytes"
                ),
            );
        }
    }
}

#[test]
fn an_image_that_a_transform_does_not_fit_is_named() {
    let steps = vec![Transform::RandomCrop {
        size: 9,
        padding: 2,
    }];
    let loader = loader(
        patterned(vec![0, 0], 1, 4, 1),
        steps,
        2,
        Sampler::Sequential,
    )
    .unwrap();
    says(
        loader.epoch(0, 0).next().unwrap(),
        "patterned image 0: random_crop: the image has 4 x 4 pixels and 2 of padding, too few for \
         9 x 9. Resize it first, or take a smaller crop or more padding",
    );
    let thin = Image {
        pixels: vec![0; 500].into(),
        height: 1,
        width: 500,
        channels: 1,
    };
    let interpolation = Interpolation::Bilinear;
    let pipeline = Pipeline::new(vec![Transform::ResizeShortSide {
        size: 32,
        interpolation,
    }]);
    says(
        pipeline
            .unwrap()
            .apply(&thin, &mut Draws::for_image(0, 0, 0)),
        "the image: resize_short_side: the image of 1 x 500 pixels would have a side of 16000, \
         over 8192. Leave it out, or use `resize` to a fixed size",
    );
}

#[test]
fn images_of_different_sizes_in_a_batch_are_refused() {
    let read = |name: &str| std::fs::read(fixtures::folder().join("folder").join(name)).unwrap();
    let png = read("test/daisy/l.png");
    let folder = tempfile::tempdir().unwrap();
    let tiny = image::RgbImage::new(3, 2);
    let path = folder.path().join("tiny.png");
    tiny.save(&path).unwrap();
    let files = vec![png, std::fs::read(path).unwrap()];
    let source = Source::Encoded { files, channels: 3 };
    let set = ImageSet::new("mixed", Split::Train, vec!["a".into()], vec![0; 2], source).unwrap();
    let loader = loader(set, vec![], 2, Sampler::Sequential).unwrap();
    says(
        loader.epoch(0, 0).next().unwrap(),
        "mixed image 1: is [3, 2, 3] (channels, height, width) after the transforms, but the \
         batch began with [3, 9, 14]. End the pipeline with a crop or a resize to one size",
    );
}
