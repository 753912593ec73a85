//! Every layout against what other readers make of the same files.

use crate::fixtures::{self, Fixture, descriptor, pixels};
use mr2_data::{Checksum, Descriptor, ImageSet, Layout, Source, Split, open, read_image_folder};
use std::path::Path;

fn check(descriptor: &Descriptor, root: &str, expected: &str) {
    let fixture = Fixture::open("expected.safetensors");
    let splits = open(descriptor, &fixtures::folder().join(root), None).unwrap();
    for (set, split) in [(&splits.train, "train"), (&splits.test, "test")] {
        let (shape, images) = fixture.bytes(&format!("{expected}.{split}.images"));
        assert_eq!(set.image_shape(), Some([shape[3], shape[1], shape[2]]));
        assert_eq!(
            set.labels(),
            fixture.words(&format!("{expected}.{split}.labels"))
        );
        assert!(
            pixels(set) == images,
            "{}: {split} images differ",
            descriptor.name
        );
    }
    assert!(splits.validation.is_none());
    assert_eq!(
        (splits.train.split(), splits.test.split()),
        (Split::Train, Split::Test)
    );
}

#[test]
fn every_cifar10_layout_gives_the_images_that_python_reads() {
    for (name, layout) in fixtures::cifar10_layouts() {
        check(&descriptor(name, 10, layout), "cifar10", "cifar10");
    }
}

#[test]
fn every_cifar100_layout_gives_the_images_and_fine_labels_that_python_reads() {
    for (name, layout) in fixtures::cifar100_layouts() {
        check(&descriptor(name, 100, layout), "cifar100", "cifar100");
    }
}

#[test]
fn idx_gives_the_images_that_were_written() {
    check(&descriptor("idx", 3, fixtures::idx_layout()), "idx", "idx");
}

#[test]
fn idx_is_read_gzipped_or_plain_whatever_the_descriptor_says() {
    let folder = fixtures::folder().join("idx");
    for keep_gz in [true, false] {
        let root = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if (path.extension().is_some_and(|e| e == "gz")) == keep_gz {
                std::fs::copy(&path, root.path().join(path.file_name().unwrap())).unwrap();
            }
        }
        for suffix in ["", ".gz"] {
            let layout = Layout::Idx {
                train_images: format!("train-images-idx3-ubyte{suffix}"),
                train_labels: format!("train-labels-idx1-ubyte{suffix}"),
                test_images: format!("t10k-images-idx3-ubyte{suffix}"),
                test_labels: format!("t10k-labels-idx1-ubyte{suffix}"),
            };
            let splits = open(&descriptor("idx", 3, layout), root.path(), None).unwrap();
            assert_eq!((splits.train.len(), splits.test.len()), (4, 2));
        }
    }
}

#[test]
fn the_first_complete_layout_is_read() {
    let mut both = descriptor("cifar10", 10, fixtures::parquet("label", "not here"));
    both.layouts
        .extend(fixtures::cifar10_layouts().map(|(_, layout)| layout));
    check(&both, "cifar10", "cifar10");
}

#[test]
fn pickles_of_other_writers_give_the_same_images() {
    let fixture = Fixture::open("expected.safetensors");
    let expected = fixture.bytes("pickles.images").1;
    for name in [
        "python2",
        "python3_protocol2",
        "python3_protocol4",
        "fortran",
    ] {
        let layout = Layout::CifarPickle {
            archive: None,
            label_key: "labels".to_string(),
            train: vec![name.to_string()],
            test: vec![name.to_string()],
        };
        let mut descriptor = descriptor(name, 4, layout);
        (descriptor.height, descriptor.width) = (Some(2), Some(3));
        let splits = open(&descriptor, &fixtures::folder().join("pickles"), None).unwrap();
        assert!(pixels(&splits.train) == expected, "{name}");
        assert_eq!(
            splits.train.labels(),
            fixture.words("pickles.labels"),
            "{name}"
        );
    }
}

#[test]
fn parquet_without_a_fixed_size_is_decoded_when_used() {
    let mut descriptor = descriptor("cifar10", 10, fixtures::parquet("label", "plain_text"));
    (descriptor.height, descriptor.width) = (None, None);
    let splits = open(&descriptor, &fixtures::folder().join("cifar10"), None).unwrap();
    let fixture = Fixture::open("expected.safetensors");
    assert_eq!(splits.train.image_shape(), None);
    assert!(pixels(&splits.train) == fixture.bytes("cifar10.train.images").1);
}

#[test]
fn right_checksums_of_every_kind_pass() {
    let mut descriptor = descriptor("idx", 3, fixtures::idx_layout());
    let sums = [
        (
            "train-images-idx3-ubyte",
            Checksum::ContentSha256(sha256("train-images-idx3-ubyte")),
        ),
        (
            "train-labels-idx1-ubyte",
            Checksum::Sha256(sha256("train-labels-idx1-ubyte")),
        ),
        (
            "t10k-labels-idx1-ubyte",
            Checksum::Md5(md5("t10k-labels-idx1-ubyte")),
        ),
    ];
    descriptor.checksums = sums
        .clone()
        .map(|(name, sum)| (name.to_string(), sum))
        .into();
    check(&descriptor, "idx", "idx");
    let splits = open(&descriptor, &fixtures::folder().join("idx"), None).unwrap();
    let compared = splits.files.iter().filter_map(|file| {
        let sum = file.checksum.clone()?;
        Some((file.file.as_str(), sum))
    });
    assert_eq!(compared.collect::<Vec<_>>(), sums);
    assert_eq!(splits.files.len(), 4);
    assert_eq!(splits.files[2].file, "t10k-images-idx3-ubyte");
}

#[test]
fn the_checksum_of_the_content_is_compared_in_every_form_of_the_file() {
    for suffix in ["", ".gz"] {
        let root = tempfile::tempdir().unwrap();
        for name in [
            "train-images-idx3",
            "train-labels-idx1",
            "t10k-images-idx3",
            "t10k-labels-idx1",
        ] {
            let file = format!("{name}-ubyte{suffix}");
            let from = fixtures::folder().join("idx").join(&file);
            std::fs::copy(from, root.path().join(file)).unwrap();
        }
        for listed in ["", ".gz"] {
            let name = |kind: &str| format!("{kind}-ubyte{listed}");
            let layout = Layout::Idx {
                train_images: name("train-images-idx3"),
                train_labels: name("train-labels-idx1"),
                test_images: name("t10k-images-idx3"),
                test_labels: name("t10k-labels-idx1"),
            };
            let mut descriptor = descriptor("idx", 3, layout);
            let sum = Checksum::ContentSha256(sha256("train-images-idx3-ubyte"));
            let plain = "train-images-idx3-ubyte";
            descriptor.checksums = [(plain.to_string(), sum.clone())].into();
            let splits = open(&descriptor, root.path(), None).unwrap();
            assert_eq!(splits.files[0].file, format!("{plain}{suffix}"));
            assert_eq!(splits.files[0].checksum, Some(sum));
            assert_eq!(splits.files[1].checksum, None);
        }
    }
}

fn sha256(name: &str) -> String {
    use sha2::{Digest, Sha256};
    hex(&Sha256::digest(
        std::fs::read(fixtures::folder().join("idx").join(name)).unwrap(),
    ))
}

fn md5(name: &str) -> String {
    use md5::{Digest, Md5};
    hex(&Md5::digest(
        std::fs::read(fixtures::folder().join("idx").join(name)).unwrap(),
    ))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn folder_layout(validation: Option<&str>) -> Layout {
    Layout::ImageFolder {
        train: "train".to_string(),
        validation: validation.map(str::to_string),
        test: "test".to_string(),
    }
}

/// Pillow and the decoder here differ on JPEG by rounding and by how colour is scaled up.
const JPEG_LEVELS: u8 = 4;

fn check_folder(set: &ImageSet, mode: &str) {
    let fixture = Fixture::open("expected.safetensors");
    for index in 0..set.len() {
        let name = set.image_name(index);
        let stem = Path::new(&name)
            .file_stem()
            .unwrap()
            .to_str()
            .unwrap()
            .to_string();
        let image = set.image(index).unwrap();
        let (shape, expected) = fixture.bytes(&format!("folder.{mode}.{stem}"));
        assert_eq!([image.height, image.width, image.channels], shape[..]);
        let furthest = image
            .pixels
            .iter()
            .zip(&expected)
            .map(|(a, b)| a.abs_diff(*b))
            .max();
        let allowed = if stem == "i" { JPEG_LEVELS } else { 0 };
        assert!(
            furthest.unwrap() <= allowed,
            "{name}: {furthest:?} levels from Pillow"
        );
    }
}

#[test]
fn image_folders_are_decoded_by_content_as_pillow_does() {
    let descriptor = descriptor("folder", 0, folder_layout(Some("val")));
    let splits = open(&descriptor, &fixtures::folder().join("folder"), None).unwrap();
    assert_eq!(splits.train.classes(), ["daisy", "rose"]);
    // Hidden files and notes are left out, nested folders are not.
    assert_eq!(splits.train.counts(), [3, 6]);
    assert_eq!(splits.validation.as_ref().unwrap().counts(), [0, 1]);
    assert_eq!(splits.test.counts(), [1, 0]);
    check_folder(&splits.train, "rgb");
    let mut grey = descriptor;
    (grey.channels, grey.mean, grey.std) = (1, vec![0.5], vec![0.5]);
    let splits = open(&grey, &fixtures::folder().join("folder"), None).unwrap();
    check_folder(&splits.train, "grey");
}

#[test]
fn a_folder_of_class_folders_is_one_set() {
    let folder = fixtures::folder().join("folder/train");
    let set = read_image_folder(&folder, "flowers", Split::Test, 3).unwrap();
    assert_eq!(
        (set.name(), set.split(), set.len()),
        ("flowers", Split::Test, 9)
    );
}

/// The order is that of `torchvision.datasets.folder.make_dataset`.
#[test]
fn images_of_nested_and_linked_folders_come_in_torchvisions_order() {
    let root = tempfile::tempdir().unwrap();
    let write = |name: &str| {
        let path = root.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    };
    let deep = "set/rose/a/1/2/3/4/5/6/7/8/9/10/deep.png";
    for name in [
        "set/rose/z.png",
        "set/rose/B.png",
        "set/rose/a/x.png",
        "set/rose/a-b/y.png",
        "set/rose/a/é/w.png",
        deep,
        "elsewhere/v.png",
    ] {
        write(name);
    }
    std::os::unix::fs::symlink("../../elsewhere", root.path().join("set/rose/Link")).unwrap();
    let set = read_image_folder(&root.path().join("set"), "x", Split::Train, 3).unwrap();
    let found: Vec<String> = (0..set.len())
        .map(|index| set.image_name(index))
        .map(|path| path.split_once("/set/rose/").unwrap().1.to_string())
        .collect();
    let expected = [
        "B.png",
        "z.png",
        "Link/v.png",
        "a/x.png",
        "a-b/y.png",
        deep.strip_prefix("set/rose/").unwrap(),
        "a/é/w.png",
    ];
    assert_eq!(found, expected);
}

#[test]
fn encoded_images_in_memory_are_read_like_files() {
    let file = std::fs::read(fixtures::folder().join("folder/test/daisy/l.png")).unwrap();
    let source = Source::Encoded {
        files: vec![file],
        channels: 3,
    };
    let set = ImageSet::new(
        "one",
        Split::Test,
        vec!["daisy".to_string()],
        vec![0],
        source,
    )
    .unwrap();
    let (shape, expected) = Fixture::open("expected.safetensors").bytes("folder.rgb.l");
    let image = set.image(0).unwrap();
    assert_eq!([image.height, image.width, image.channels], shape[..]);
    assert_eq!(image.pixels, expected);
}
