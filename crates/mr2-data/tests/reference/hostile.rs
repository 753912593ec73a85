//! Damaged files: cut off, with bits flipped, with bytes put in. Reading them may fail or succeed; it
//! must not panic, and must not take memory that the file does not pay for.

use crate::fixtures::{self, Fixture, descriptor, idx_layout};
use mr2_data::{Descriptor, ImageSet, Layout, Source, Split, TrainingLabels, open};
use proptest::prelude::*;
use std::path::Path;

/// One thing done to a file.
#[derive(Debug, Clone)]
enum Damage {
    Cut(prop::sample::Index),
    Flip(prop::sample::Index, u8),
    Write(prop::sample::Index, Vec<u8>),
    Insert(prop::sample::Index, Vec<u8>),
}

fn damage() -> impl Strategy<Value = Vec<Damage>> {
    let place = any::<prop::sample::Index>;
    // Numbers that readers take for sizes.
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..9),
        Just(vec![0xff; 4]),
        Just(vec![0xff; 8]),
        Just(vec![0x7f, 0xff, 0xff, 0xff]),
        Just(vec![0; 8]),
    ];
    let one = prop_oneof![
        1 => place().prop_map(Damage::Cut),
        4 => (place(), 0..8u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        3 => (place(), bytes.clone()).prop_map(|(at, bytes)| Damage::Write(at, bytes)),
        1 => (place(), bytes).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
    ];
    prop::collection::vec(one, 1..4)
}

fn apply(bytes: &mut Vec<u8>, damage: &[Damage]) {
    for damage in damage {
        if bytes.is_empty() {
            return;
        }
        match damage {
            Damage::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Damage::Flip(at, bit) => {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
            Damage::Write(at, with) => {
                let at = at.index(bytes.len());
                let end = (at + with.len()).min(bytes.len());
                bytes[at..end].copy_from_slice(&with[..end - at]);
            }
            Damage::Insert(at, with) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, with.iter().copied());
            }
        }
    }
}

/// Opens a data set whose files are all made of `file`, damaged, and uses what comes.
fn check(descriptor: &Descriptor, file: &str, names: &[&str], damage: &[Damage]) {
    let mut bytes = std::fs::read(fixtures::folder().join(file)).unwrap();
    apply(&mut bytes, damage);
    let root = tempfile::tempdir().unwrap();
    for name in names {
        write(root.path(), name, &bytes);
    }
    if let Ok(splits) = open(descriptor, root.path(), None) {
        for set in [&splits.train, &splits.test] {
            (0..set.len()).for_each(|index| drop(set.image(index)));
        }
    }
}

fn write(root: &Path, name: &str, bytes: &[u8]) {
    let path = root.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn small(name: &str, layout: Layout) -> Descriptor {
    let mut descriptor = descriptor(name, 4, layout);
    (descriptor.height, descriptor.width) = (Some(2), Some(3));
    descriptor
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

    #[test]
    fn idx_never_panics(damage in damage(), gz in any::<bool>()) {
        let suffix = if gz { ".gz" } else { "" };
        let layout = |kind: &str| Layout::Idx {
            train_images: format!("{kind}{suffix}"),
            train_labels: "labels".to_string(),
            test_images: format!("{kind}{suffix}"),
            test_labels: "labels".to_string(),
        };
        let images = format!("idx/train-images-idx3-ubyte{suffix}");
        let name = format!("images{suffix}");
        let labels = "idx/train-labels-idx1-ubyte";
        for (file, names) in [(images.as_str(), [name.as_str()]), (labels, ["labels"])] {
            check(&descriptor("idx", 3, layout("images")), file, &names, &damage);
        }
    }

    #[test]
    fn whole_idx_sets_with_one_damaged_file_never_panic(damage in damage(), which in 0..4usize) {
        let names = [
            "train-images-idx3-ubyte", "train-labels-idx1-ubyte",
            "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte",
        ];
        let root = tempfile::tempdir().unwrap();
        for (index, name) in names.into_iter().enumerate() {
            let mut bytes = std::fs::read(fixtures::folder().join("idx").join(name)).unwrap();
            if index == which {
                apply(&mut bytes, &damage);
            }
            write(root.path(), name, &bytes);
        }
        drop(open(&descriptor("idx", 3, idx_layout()), root.path(), None));
    }

    #[test]
    fn cifar_binary_never_panics(damage in damage(), labels_per_record in 1..3usize) {
        let names = vec!["x".to_string()];
        let layout =
            Layout::CifarBinary { labels_per_record, train: names.clone(), test: names };
        let file = "cifar10/cifar-10-batches-bin/test_batch.bin";
        check(&descriptor("binary", 10, layout), file, &["x"], &damage);
    }

    #[test]
    fn label_files_never_panic(damage in damage(), which in 0..4usize) {
        let file = ["cifar_n.pt", "i8.npy", "u1.npy", "text.txt"][which];
        let mut bytes = std::fs::read(fixtures::folder().join("labels").join(file)).unwrap();
        apply(&mut bytes, &damage);
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "labels", &bytes);
        let set = fixtures::patterned([0, 1, 2, 3].repeat(5), 4, 2, 1);
        let path = std::path::PathBuf::from("labels");
        let labels = match which {
            0 => TrainingLabels::CifarN { path, key: "worse_label".to_string() },
            _ => TrainingLabels::File { path },
        };
        drop(labels.apply(&set, root.path()));
    }

    #[test]
    fn pickles_never_panic(damage in damage(), which in 0..4usize) {
        let names = vec!["x".to_string()];
        let label_key = "labels".to_string();
        let layout =
            Layout::CifarPickle { archive: None, label_key, train: names.clone(), test: names };
        let file = ["python2", "python3_protocol2", "python3_protocol4", "fortran"][which];
        check(&small("pickle", layout), &format!("pickles/{file}"), &["x"], &damage);
    }

    #[test]
    fn random_opcodes_never_panic(bytes in prop::collection::vec(opcode(), 0..200)) {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "x", &bytes.concat());
        let names = vec!["x".to_string()];
        let label_key = "a".to_string();
        let layout =
            Layout::CifarPickle { archive: None, label_key, train: names.clone(), test: names };
        drop(open(&small("opcodes", layout), root.path(), None));
    }

    #[test]
    fn archives_never_panic(damage in damage(), packed in any::<bool>()) {
        let (_, layout) = fixtures::cifar10_layouts()[1].clone();
        let descriptor = descriptor("archive", 10, layout);
        let name = "cifar-10-python.tar.gz";
        if packed {
            check(&descriptor, "cifar10/cifar-10-python.tar.gz", &[name], &damage);
            return Ok(());
        }
        let gz = std::fs::read(fixtures::folder().join("cifar10/cifar-10-python.tar.gz")).unwrap();
        let mut plain = Vec::new();
        let mut reader = flate2::read::GzDecoder::new(&gz[..]);
        std::io::Read::read_to_end(&mut reader, &mut plain).unwrap();
        apply(&mut plain, &damage);
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packer, &plain).unwrap();
        let root = tempfile::tempdir().unwrap();
        write(root.path(), name, &packer.finish().unwrap());
        drop(open(&descriptor, root.path(), None));
    }

    #[test]
    fn parquet_never_panics(damage in damage()) {
        let names = vec!["x".to_string()];
        let layout = Layout::HubParquet {
            image_column: "img".to_string(),
            label_column: "label".to_string(),
            train: names.clone(),
            test: names,
        };
        let file = "cifar10/plain_text/train-00000-of-00001.parquet";
        check(&descriptor("parquet", 10, layout), file, &["x"], &damage);
    }

    #[test]
    fn images_never_panic(damage in damage(), which in 0..8usize, grey in any::<bool>()) {
        let files = [
            "daisy/a_png.jpg", "daisy/b_gif.jpg", "daisy/c_grey.png", "rose/f.bmp", "rose/g.tif",
            "rose/h.webp", "rose/i.jpeg", "rose/nested/d_palette.PNG",
        ];
        let path = fixtures::folder().join("folder/train").join(files[which]);
        let mut bytes = std::fs::read(path).unwrap();
        apply(&mut bytes, &damage);
        let source =
            Source::Encoded { files: vec![bytes], channels: if grey { 1 } else { 3 } };
        let set = ImageSet::new("x", Split::Test, vec!["a".into()], vec![0], source).unwrap();
        drop(set.image(0));
    }

    #[test]
    fn images_of_every_kind_never_panic(damage in damage(), which in any::<prop::sample::Index>()) {
        let fixture = Fixture::open("decode.safetensors");
        let record = fixture.record();
        let names: Vec<&String> = record["modes"].as_object().unwrap().keys().collect();
        let (_, mut bytes) = fixture.bytes(&format!("file.{}", which.get(&names)));
        apply(&mut bytes, &damage);
        let source = Source::Encoded { files: vec![bytes], channels: 3 };
        let set = ImageSet::new("x", Split::Test, vec!["a".into()], vec![0], source).unwrap();
        drop(set.image(0));
    }
}

/// A pickle opcode with a plausible argument.
fn opcode() -> impl Strategy<Value = Vec<u8>> {
    let simple = prop::sample::select(b".N\x88\x89]})(0ltaedsuRb\x85\x86\x87\x93\x94".to_vec())
        .prop_map(|opcode| vec![opcode]);
    let memo = (prop::sample::select(b"qhK".to_vec()), 0..4u8).prop_map(|(op, n)| vec![op, n]);
    let fixed = prop::sample::select(vec![
        b"\x80\x02".to_vec(),
        b"U\x01a".to_vec(),
        b"U\x04data".to_vec(),
        b"U\x02u1".to_vec(),
        b"\x8a\x02\xff\xff".to_vec(),
        b"\x8a\x00".to_vec(),
        b"T\xff\xff\xff\x7f".to_vec(),
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
        b"I01\n".to_vec(),
        b"cnumpy\nndarray\n".to_vec(),
        b"cnumpy\ndtype\n".to_vec(),
        b"c_codecs\nencode\n".to_vec(),
        b"c__builtin__\nbytes\n".to_vec(),
        b"cnumpy.core.multiarray\n_reconstruct\n".to_vec(),
    ]);
    prop_oneof![4 => simple, 2 => memo, 3 => fixed]
}
