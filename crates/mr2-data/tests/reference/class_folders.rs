//! Plain folders of class folders: parts that are there, parts that are made, and files that are no images.

use mr2_data::{BadImages, ClassFolders, Error, Fingerprint, ImageSet, Origin, open_class_folders};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A grey image of one colour for each number; equal numbers give equal bytes.
fn file(number: u32) -> Vec<u8> {
    let mut bytes = b"BM".to_vec();
    let words = [54 + 4, 0, 54, 40, 1, 1, 1 | 24 << 16, 0, 4, 0, 0, 0, 0];
    bytes.extend(words.iter().flat_map(|word: &u32| word.to_le_bytes()));
    bytes.extend([(number % 256) as u8, (number / 256) as u8, 7, 0]);
    bytes
}

fn write(root: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

fn folder(classes: &[(&str, std::ops::Range<u32>)]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (class, numbers) in classes {
        for number in numbers.clone() {
            write(root.path(), &format!("{class}/{number}.bmp"), &file(number));
        }
    }
    root
}

fn open(root: &TempDir) -> Result<ClassFolders, Error> {
    open_class_folders(root.path(), "mine", 3, BadImages::Refused, 2)
}

fn message(root: &TempDir) -> String {
    let message = open(root).map(|_| ()).unwrap_err().to_string();
    message.replace(&root.path().display().to_string(), "ROOT")
}

/// The content of each image of a part, by class.
fn contents(set: &ImageSet) -> BTreeMap<String, BTreeSet<Vec<u8>>> {
    let mut contents = BTreeMap::<_, BTreeSet<_>>::new();
    for (index, &label) in set.labels().iter().enumerate() {
        let bytes = fs::read(set.image_name(index)).unwrap();
        let class = set.classes()[label as usize].clone();
        contents.entry(class).or_default().insert(bytes);
    }
    contents
}

fn parts(folders: &ClassFolders) -> [&ImageSet; 3] {
    let splits = &folders.splits;
    let validation = splits.validation.as_ref().unwrap();
    [&splits.train, validation, &splits.test]
}

#[test]
fn a_plain_folder_is_divided_70_10_20_within_each_class() {
    let root = folder(&[("ash", 0..100), ("birch", 200..203), ("cedar", 300..315)]);
    let folders = open(&root).unwrap();
    let counts = parts(&folders).map(|set| set.counts());
    assert_eq!(counts, [[70, 1, 10], [10, 1, 2], [20, 1, 3]]);
    assert_eq!(
        (folders.validation, folders.test),
        (Origin::Made, Origin::Made)
    );
    let [train, validation, test] = parts(&folders).map(contents);
    for class in ["ash", "birch", "cedar"] {
        assert!(train[class].is_disjoint(&validation[class]));
        assert!(train[class].is_disjoint(&test[class]));
        assert!(validation[class].is_disjoint(&test[class]));
    }
    // The first hashes of ash are the test's: Python's sorted(sha256(file).hexdigest() ...)[:20].
    let hash = |bytes: &Vec<u8>| <sha2::Sha256 as sha2::Digest>::digest(bytes);
    let last_of_test = test["ash"].iter().map(hash).max().unwrap();
    let of_validation = validation["ash"].iter().map(hash);
    let (first, last) = (
        of_validation.clone().min().unwrap(),
        of_validation.max().unwrap(),
    );
    assert!(last_of_test < first);
    assert!(last < train["ash"].iter().map(hash).min().unwrap());
}

#[test]
fn names_and_order_of_files_and_the_number_of_threads_decide_nothing() {
    let root = folder(&[("ash", 0..40), ("birch", 100..130)]);
    let renamed = tempfile::tempdir().unwrap();
    for (class, numbers) in [("ash", 0..40u32), ("birch", 100..130)] {
        for number in numbers {
            let name = format!("{class}/{}.bmp", 999 - number);
            write(renamed.path(), &name, &file(number));
        }
    }
    let (first, second) = (open(&root).unwrap(), open(&renamed).unwrap());
    let alone = open_class_folders(root.path(), "mine", 3, BadImages::Skipped, 1).unwrap();
    for (a, (b, c)) in parts(&first)
        .into_iter()
        .zip(parts(&second).into_iter().zip(parts(&alone)))
    {
        assert_eq!(contents(a), contents(b));
        assert_eq!(contents(a), contents(c));
    }
}

#[test]
fn copies_stay_in_one_part_across_classes_too() {
    let root = folder(&[("ash", 0..30), ("birch", 20..60)]);
    for number in 0..10 {
        write(
            root.path(),
            &format!("ash/copy of {number}.bmp"),
            &file(number),
        );
    }
    let folders = open(&root).unwrap();
    let all = |set| {
        contents(set)
            .into_values()
            .flatten()
            .collect::<BTreeSet<_>>()
    };
    let [train, validation, test] = parts(&folders).map(all);
    assert!(train.is_disjoint(&validation) && train.is_disjoint(&test));
    assert!(validation.is_disjoint(&test));
    let images: usize = parts(&folders).iter().map(|set| set.len()).sum();
    assert_eq!(images, 80);
    // Shares count different images: 30 of ash are divided 21, 3, 6.
    let different = |set: &ImageSet| contents(set)["ash"].len();
    assert_eq!(parts(&folders).map(different), [21, 3, 6]);
}

#[test]
fn a_class_with_under_three_different_images_is_an_error_that_names_it() {
    let root = folder(&[("ash", 0..9), ("birch", 20..22)]);
    write(root.path(), "birch/copy.bmp", &file(20));
    assert_eq!(
        message(&root),
        "mine: class birch has 2 different images, expected at least 3, one for each part. Add images \
         to it, leave the class out, or make the parts yourself: folders `train`, `val` and `test` with \
         class folders in each"
    );
    // All of birch are images of ash, which are in the same part there: none is left for the others.
    let root = folder(&[("ash", 0..100), ("birch", 0..3)]);
    let found = message(&root);
    assert!(
        found.contains("class birch has 0 different images"),
        "{found}"
    );
}

#[test]
fn folders_of_parts_are_used_and_the_missing_ones_made() {
    for validation in ["val", "validation", "valid"] {
        let validation = format!("{validation}/ash");
        let root = folder(&[
            ("train/ash", 0..10),
            ("train/birch", 20..30),
            (&validation, 30..32),
        ]);
        write(root.path(), "test/birch/1.bmp", &file(40));
        let folders = open(&root).unwrap();
        let counts = parts(&folders).map(|set| set.counts());
        assert_eq!(counts, [[10, 10], [2, 0], [0, 1]]);
        let origins = (folders.validation, folders.test);
        assert_eq!(origins, (Origin::Provided, Origin::Provided));
    }
    let root = folder(&[
        ("train/ash", 0..16),
        ("train/birch", 20..36),
        ("test/ash", 40..44),
    ]);
    let folders = open(&root).unwrap();
    let counts = parts(&folders).map(|set| set.counts());
    assert_eq!(counts, [[14, 14], [2, 2], [4, 0]]);
    assert_eq!(
        (folders.validation, folders.test),
        (Origin::Made, Origin::Provided)
    );
    let root = folder(&[
        ("train/ash", 0..18),
        ("train/birch", 20..38),
        ("val/ash", 40..44),
    ]);
    let counts = parts(&open(&root).unwrap()).map(|set| set.counts());
    assert_eq!(counts, [[14, 14], [4, 0], [4, 4]]);
}

#[test]
fn folders_that_mean_nothing_are_refused() {
    let root = folder(&[("train/ash", 0..5), ("oak", 6..9)]);
    assert_eq!(
        message(&root),
        "ROOT: holds the folder \"oak\" beside `train`. Expected class folders only, or only `train`, \
         `val` and `test` with class folders in each"
    );
    let root = folder(&[("train/ash", 0..5), ("val/ash", 6..9), ("valid/ash", 6..9)]);
    let expected = "ROOT/valid: is a validation part beside ROOT/val. Keep one of them";
    assert_eq!(message(&root), expected);
    // A class may be called so: it holds images.
    let root = folder(&[("train", 0..5), ("plane", 6..12)]);
    assert_eq!(
        open(&root).unwrap().splits.train.classes(),
        ["plane", "train"]
    );
}

#[test]
fn bad_images_are_named_when_used_or_skipped_and_counted() {
    let root = folder(&[("ash", 0..10), ("birch", 20..30)]);
    let bad = write(root.path(), "ash/notes.png", b"no image");
    let cut = write(root.path(), "birch/cut.bmp", &file(99)[..40]);
    let folders = open(&root).unwrap();
    assert_eq!(
        parts(&folders).map(|set| set.len()).iter().sum::<usize>(),
        22
    );
    let errors = parts(&folders).map(|set| {
        let images = (0..set.len()).filter_map(|index| set.image(index).err());
        images.map(|error| error.to_string()).collect::<Vec<_>>()
    });
    let errors = errors.concat();
    assert_eq!(errors.len(), 2);
    for file in [&bad, &cut] {
        assert!(
            errors
                .iter()
                .any(|e| e.starts_with(&file.display().to_string()))
        );
    }
    let folders = open_class_folders(root.path(), "mine", 3, BadImages::Skipped, 3).unwrap();
    let skipped: Vec<_> = folders.skipped.iter().map(|s| s.path.clone()).collect();
    assert_eq!(skipped, [bad, cut]);
    let reason = &folders.skipped[0].reason;
    assert!(
        reason.contains("not a PNG, JPEG, GIF, BMP, TIFF or WebP file"),
        "{reason}"
    );
    assert_eq!(
        parts(&folders).map(|set| set.counts()),
        [[7, 7], [1, 1], [2, 2]]
    );
    for set in parts(&folders) {
        assert!((0..set.len()).all(|index| set.image(index).is_ok()));
    }
    // Without its images a class is too small.
    let root = folder(&[("train/ash", 0..4), ("val/ash", 5..6), ("test/ash", 6..7)]);
    write(root.path(), "train/birch/1.png", b"no image");
    let error = open_class_folders(root.path(), "mine", 3, BadImages::Skipped, 2).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("class birch has 0 different images"),
        "{error}"
    );
}

#[test]
fn a_fingerprint_follows_the_images_and_their_labels_and_not_the_place_of_the_folder() {
    let root = folder(&[("ash", 0..10), ("birch", 20..30)]);
    let print = |root: &Path, kind, threads| {
        let folders = open_class_folders(root, "mine", 3, BadImages::Refused, 1).unwrap();
        folders.splits.train.fingerprint(kind, threads).unwrap()
    };
    for kind in [Fingerprint::Content, Fingerprint::Files] {
        let first = print(root.path(), kind, 1);
        assert_eq!((first.len(), &first), (64, &print(root.path(), kind, 3)));
        let elsewhere = tempfile::tempdir().unwrap();
        let moved = elsewhere.path().join("moved");
        fs::rename(root.path(), &moved).unwrap();
        let second = print(&moved, kind, 2);
        fs::rename(&moved, root.path()).unwrap();
        assert_eq!(first, second);
    }
    let before = [Fingerprint::Content, Fingerprint::Files].map(|kind| print(root.path(), kind, 1));
    let folders = open(&root).unwrap();
    let train = &folders.splits.train;
    let relabelled = train.with_labels(vec![0; train.len()]).unwrap();
    assert_ne!(
        relabelled.fingerprint(Fingerprint::Files, 1).unwrap(),
        before[1]
    );
    // Another file of the same size under the same name.
    fs::write(train.image_name(3), file(77)).unwrap();
    for (kind, before) in [Fingerprint::Content, Fingerprint::Files]
        .into_iter()
        .zip(before)
    {
        assert_ne!(train.fingerprint(kind, 1).unwrap(), before);
    }
}
