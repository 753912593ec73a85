//! Variants of a data set: subsets, long tails, label noise and labels from files.

use crate::fixtures::{self, patterned};
use mr2_data::{
    DataSplits, ImageSet, Source, Split, TestImages, TrainingImages, TrainingLabels,
    ValidationConfig, carve,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// `per_class` images of one pixel of each class, in turn.
fn set(classes: usize, per_class: usize) -> ImageSet {
    let labels: Vec<u32> = (0..classes * per_class)
        .map(|i| (i % classes) as u32)
        .collect();
    let names = (0..classes).map(|class| format!("class {class}")).collect();
    named(names, labels)
}

fn named(names: Vec<String>, labels: Vec<u32>) -> ImageSet {
    let source = Source::Memory {
        pixels: vec![0; labels.len()],
        height: 1,
        width: 1,
        channels: 1,
    };
    ImageSet::new("plain", Split::Train, names, labels, source).unwrap()
}

fn rows(set: &ImageSet) -> Vec<u32> {
    (0..set.len())
        .map(|i| set.original_index(i).unwrap())
        .collect()
}

fn labelled(set: &ImageSet, labels: TrainingLabels) -> Vec<u32> {
    labels.apply(set, Path::new("")).unwrap().labels().to_vec()
}

/// The indices at which two lists differ.
fn changed(a: &[u32], b: &[u32]) -> Vec<usize> {
    (0..a.len()).filter(|&i| a[i] != b[i]).collect()
}

#[track_caller]
fn says<T: std::fmt::Debug>(result: mr2_data::Result<T>, expected: &str) {
    let message = result.unwrap_err().to_string();
    let folder = label_folder().display().to_string();
    assert_eq!(message.replace(&folder, "LABELS"), expected);
}

fn label_folder() -> PathBuf {
    fixtures::folder().join("labels")
}

#[test]
fn a_balanced_choice_has_so_many_of_each_class_and_keeps_the_order_of_the_set() {
    let all = patterned(
        (0..60).map(|i| [0, 1, 1, 2, 2, 2][i % 6]).collect(),
        3,
        4,
        3,
    );
    let choose = |per_class, seed| {
        TrainingImages::Balanced { per_class, seed }
            .apply(&all)
            .unwrap()
    };
    let chosen = choose(7, 3);
    assert_eq!(chosen.counts(), [7; 3]);
    assert!(rows(&chosen).is_sorted());
    for (index, row) in rows(&chosen).into_iter().enumerate() {
        assert_eq!(
            chosen.label(index).unwrap(),
            all.label(row as usize).unwrap()
        );
        assert_eq!(
            chosen.image(index).unwrap(),
            all.image(row as usize).unwrap()
        );
    }
    assert_eq!(rows(&chosen), rows(&choose(7, 3)));
    assert_ne!(rows(&chosen), rows(&choose(7, 4)));
    let smaller = rows(&choose(3, 3));
    assert!(smaller.iter().all(|row| rows(&chosen).contains(row)));
    let test = TestImages::Balanced {
        per_class: 7,
        seed: 3,
    };
    assert_eq!(
        rows(&test.apply(&all, Path::new("")).unwrap()),
        rows(&chosen)
    );
}

#[test]
fn every_image_is_chosen_equally_often_over_the_seeds() {
    let all = set(2, 10);
    let mut counts = [0; 20];
    for seed in 0..4_000 {
        let choice = TrainingImages::Balanced { per_class: 3, seed };
        for row in rows(&choice.apply(&all).unwrap()) {
            counts[row as usize] += 1;
        }
    }
    // 1,200 expected; five standard deviations of a binomial count.
    assert!(
        counts.iter().all(|&n| (1_055..1_345).contains(&n)),
        "{counts:?}"
    );
}

#[test]
fn the_choice_of_a_seed_never_changes() {
    let chosen = TrainingImages::Balanced {
        per_class: 3,
        seed: 0,
    };
    let chosen = rows(&chosen.apply(&set(3, 10)).unwrap());
    assert_eq!(chosen, CHOSEN);
    let labels = labelled(
        &set(3, 4),
        TrainingLabels::SymmetricNoise {
            share: 0.5,
            seed: 0,
        },
    );
    assert_eq!(labels, NOISY);
}

const CHOSEN: [u32; 9] = [0, 5, 7, 9, 10, 11, 12, 28, 29];
const NOISY: [u32; 12] = [1, 0, 2, 0, 1, 1, 0, 1, 0, 2, 0, 2];

#[test]
fn long_tails_have_the_class_sizes_of_ldam_drw() {
    // What kaidic/LDAM-DRW imbalance_cifar.py's get_img_num_per_cls gives.
    let sizes = |set: &ImageSet, images: TrainingImages| images.apply(set).unwrap().counts();
    let cifar10 = set(10, 5_000);
    let exponential = |ratio| TrainingImages::Exponential { ratio, seed: 0 };
    assert_eq!(
        sizes(&cifar10, exponential(0.01)),
        [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    );
    assert_eq!(
        sizes(&set(10, 4_500), exponential(0.1)),
        [4500, 3484, 2697, 2088, 1617, 1252, 969, 750, 581, 450]
    );
    let step = TrainingImages::Step {
        ratio: 0.01,
        seed: 0,
    };
    assert_eq!(
        sizes(&cifar10, step),
        [5000, 5000, 5000, 5000, 5000, 50, 50, 50, 50, 50]
    );
    let cifar100 = set(100, 500);
    for (ratio, total, last) in [(0.01, 10_847, 5), (0.02, 12_608, 10)] {
        let counts = sizes(&cifar100, exponential(ratio));
        assert_eq!((counts.iter().sum::<usize>(), counts[99]), (total, last));
    }
    assert_eq!(sizes(&cifar10, exponential(1.0)), [5_000; 10]);
}

#[test]
fn symmetric_noise_changes_exactly_its_share_of_each_class_to_every_other_class() {
    let clean = set(5, 1_000);
    let noise = |share, seed| labelled(&clean, TrainingLabels::SymmetricNoise { share, seed });
    let labels = noise(0.4, 1);
    let mut moves = [[0; 5]; 5];
    for (&from, &to) in clean.labels().iter().zip(&labels) {
        moves[from as usize][to as usize] += 1;
    }
    for (class, row) in moves.iter().enumerate() {
        for (other, &count) in row.iter().enumerate() {
            match other == class {
                true => assert_eq!(count, 600),
                // 100 expected; five standard deviations of a binomial count of 400 draws.
                false => assert!((57..143).contains(&count), "{moves:?}"),
            }
        }
    }
    assert_eq!(labels, noise(0.4, 1));
    assert_ne!(labels, noise(0.4, 2));
    let fewer = noise(0.2, 1);
    for index in changed(clean.labels(), &fewer) {
        assert_eq!(labels[index], fewer[index]);
    }
    assert_eq!(noise(0.0, 1), clean.labels());
    assert_eq!(changed(clean.labels(), &noise(1.0, 1)).len(), 5_000);
    // 2.5 images of five are three.
    let few = set(2, 5);
    let labels = labelled(
        &few,
        TrainingLabels::SymmetricNoise {
            share: 0.5,
            seed: 0,
        },
    );
    assert_eq!(changed(few.labels(), &labels).len(), 6);
}

#[test]
fn pair_flips_give_exactly_the_share_of_each_class_the_next_ones_label() {
    let clean = set(4, 100);
    let labels = labelled(
        &clean,
        TrainingLabels::PairFlip {
            share: 0.3,
            seed: 1,
        },
    );
    let flipped = changed(clean.labels(), &labels);
    assert_eq!(flipped.len(), 120);
    for index in flipped {
        assert_eq!(labels[index], (clean.labels()[index] + 1) % 4);
    }
    let flipped_set = clean.with_labels(labels).unwrap();
    assert_eq!(flipped_set.counts(), [100; 4]);
}

#[test]
fn asymmetric_noise_of_cifar10_confuses_its_five_classes_by_name_and_leaves_the_others() {
    // Not in CIFAR-10's order: names decide.
    let names = [
        "cat",
        "truck",
        "frog",
        "airplane",
        "automobile",
        "bird",
        "deer",
        "dog",
        "horse",
        "ship",
    ];
    let labels: Vec<u32> = (0..1_000).map(|i| i % 10).collect();
    let clean = named(names.map(String::from).to_vec(), labels);
    let noise = TrainingLabels::AsymmetricCifar10 {
        share: 0.4,
        seed: 1,
    };
    let labels = labelled(&clean, noise.clone());
    let mut moves = std::collections::BTreeMap::new();
    for index in changed(clean.labels(), &labels) {
        let name = |label: u32| names[label as usize];
        *moves
            .entry((name(clean.labels()[index]), name(labels[index])))
            .or_insert(0) += 1;
    }
    let expected = [
        (("bird", "airplane"), 40),
        (("cat", "dog"), 40),
        (("deer", "horse"), 40),
        (("dog", "cat"), 40),
        (("truck", "automobile"), 40),
    ];
    assert_eq!(moves.into_iter().collect::<Vec<_>>(), expected);
    says(
        noise.apply(&set(10, 2), Path::new("")),
        "`training_labels.kind`: needs the classes of CIFAR-10; plain has no truck",
    );
}

#[test]
fn files_of_labels_are_read_as_text_and_as_integer_arrays_of_any_size() {
    let clean = set(4, 5);
    let expected: Vec<u32> = [[0, 1, 2, 2].repeat(4), vec![3; 4]].concat();
    for name in ["text.txt", "u1.npy", "i1.npy", "u2.npy", "i4.npy", "i8.npy"] {
        let labels = TrainingLabels::File { path: name.into() };
        let found = labels.apply(&clean, &label_folder()).unwrap();
        assert_eq!(found.labels(), expected, "{name}");
    }
    let labels = TrainingLabels::CifarN {
        path: "cifar_n.pt".into(),
        key: "worse_label".to_string(),
    };
    let found = labels.apply(&clean, &label_folder()).unwrap();
    assert_eq!(found.labels(), expected);
    // A subset takes the labels of its own images.
    let part = clean.subset(Split::Train, &[3, 16, 0]).unwrap();
    let found = labels.apply(&part, &label_folder()).unwrap();
    assert_eq!(found.labels(), [2, 3, 0]);
}

#[test]
fn files_that_are_no_labels_say_why() {
    let check = |name: &str, expected: &str| {
        let labels = TrainingLabels::File { path: name.into() };
        let expected = format!("LABELS/{name}: {expected}");
        says(labels.apply(&set(4, 5), &label_folder()), &expected);
    };
    check(
        "wrong_floats.npy",
        "NumPy array: expected little-endian integers (objects are pickles and are not read); its \
         header is \"{'descr': '<f4', 'fortran_order': False, 'shape': (20,), }\"",
    );
    check(
        "wrong_big_endian.npy",
        "NumPy array: expected little-endian integers (objects are pickles and are not read); its \
         header is \"{'descr': '>i8', 'fortran_order': False, 'shape': (20,), }\"",
    );
    check(
        "wrong_objects.npy",
        "NumPy array: expected little-endian integers (objects are pickles and are not read); its \
         header is \"{'descr': '|O', 'fortran_order': False, 'shape': (), }\"",
    );
    check(
        "wrong_fortran.npy",
        "NumPy array: expected C order ('fortran_order': False); its header is \"{'descr': '<i8', \
         'fortran_order': True, 'shape': (4, 5), }\"",
    );
    check(
        "wrong_matrix.npy",
        "NumPy array: its shape is [4, 5], expected one dimension",
    );
    check(
        "cifar_n.pt",
        "labels: it is a zip archive, as torch.save writes; for a file of CIFAR-N write { kind = \
         \"cifar_n\", path = ..., key = ... }",
    );
    let text = TrainingLabels::File {
        path: "text.txt".into(),
    };
    says(
        text.apply(&set(4, 6), &label_folder()),
        "LABELS/text.txt: holds 20 labels, expected 24 (one for each training image of the data set \
         as released). Use files of one and the same version of the data set",
    );
    says(
        text.apply(&set(2, 10), &label_folder()),
        "LABELS/text.txt: label of image 2 is 2, expected 0 to 1. The file is damaged, or `classes` \
         in the descriptor is too short",
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("labels.txt");
    std::fs::write(&path, "0\n1\n\n2\n").unwrap();
    let labels = TrainingLabels::File { path: path.clone() };
    says(
        labels.apply(&set(2, 2), Path::new("elsewhere")),
        &format!(
            "{}: labels: line 3: expected a class number, got \"\"",
            path.display()
        ),
    );
}

#[test]
fn a_file_of_cifar_n_that_does_not_fit_says_why() {
    let check = |set: &ImageSet, name: &str, key: &str, expected: &str| {
        let labels = TrainingLabels::CifarN {
            path: name.into(),
            key: key.to_string(),
        };
        let expected = format!("LABELS/{name}: labels: {expected}");
        says(labels.apply(set, &label_folder()), &expected);
    };
    let fits = set(4, 5);
    check(
        &fits,
        "cifar_n.pt",
        "noisy_label",
        "it has no `noisy_label`; valid: clean_label, worse_label, pair",
    );
    check(
        &fits,
        "cifar_n.pt",
        "pair",
        "`pair` has shape [4, 5], expected one dimension and its numbers",
    );
    let expected = "it is no zip archive. Expected CIFAR-10_human.pt or CIFAR-100_human.pt of \
                    CIFAR-N";
    check(&fits, "text.txt", "worse_label", expected);
    let other_order = fits.with_labels([1, 0, 2, 3].repeat(5)).unwrap();
    check(
        &other_order,
        "cifar_n.pt",
        "worse_label",
        "`clean_label` of image 0 is 0, but in the data set its label is 1. The file belongs to \
         another data set or to another order of its images",
    );
    let labels = TrainingLabels::CifarN {
        path: "wrong_tensor.pt".into(),
        key: "worse_label".to_string(),
    };
    let message = labels
        .apply(&fits, &label_folder())
        .unwrap_err()
        .to_string();
    assert!(message.contains("is not on the list"), "{message}");
}

#[test]
fn settings_out_of_range_are_refused() {
    let all = set(4, 10);
    let images = |images: TrainingImages| images.apply(&all);
    let seed = 0;
    says(
        images(TrainingImages::Balanced { per_class: 0, seed }),
        "`training_images.per_class`: expected at least 1; write { kind = \"all\" } for all images",
    );
    says(
        images(TrainingImages::Balanced {
            per_class: 11,
            seed,
        }),
        "plain: class class 0 has 10 images, but `training_images.per_class` needs at least 11. \
         Lower `training_images.per_class` or leave the class out",
    );
    says(
        TestImages::Balanced {
            per_class: 11,
            seed,
        }
        .apply(&all, Path::new("")),
        "plain: class class 0 has 10 images, but `test_images.per_class` needs at least 11. Lower \
         `test_images.per_class` or leave the class out",
    );
    for ratio in [0.0, 1.5, -1.0, f64::NAN] {
        says(
            images(TrainingImages::Exponential { ratio, seed }),
            &format!("`training_images.ratio`: expected above 0 and at most 1, got {ratio}"),
        );
    }
    says(
        images(TrainingImages::Step { ratio: 0.01, seed }),
        "`training_images.ratio`: plain: with 0.01 class class 2 would keep none of its images. Take \
         a larger ratio",
    );
    for share in [-0.1, 1.1, f64::NAN] {
        says(
            TrainingLabels::PairFlip { share, seed }.apply(&all, Path::new("")),
            &format!("`training_labels.share`: expected 0 to 1, got {share}"),
        );
    }
    says(
        TrainingLabels::SymmetricNoise { share: 0.1, seed }.apply(&set(1, 3), Path::new("")),
        "`training_labels.kind`: needs 2 classes or more; plain has 1",
    );
    says(
        all.with_labels(vec![0; 3]),
        "plain: holds 3 labels, expected 40 (one for each image). Use files of one and the same \
         version of the data set",
    );
}

#[test]
fn only_training_images_and_labels_change_and_labels_are_those_of_the_chosen_images() {
    let all = set(4, 100);
    let config = ValidationConfig {
        per_class: 10,
        seed: 0,
    };
    let (train, validation) = carve(&all, &config).unwrap();
    let splits = DataSplits {
        train: Arc::new(train.clone()),
        validation: Some(Arc::new(validation.clone())),
        test: Arc::new(set(4, 20)),
        files: Vec::new(),
    };
    let images = TrainingImages::Exponential {
        ratio: 0.1,
        seed: 0,
    };
    let labels = TrainingLabels::SymmetricNoise {
        share: 0.5,
        seed: 0,
    };
    let test = TestImages::Balanced {
        per_class: 5,
        seed: 0,
    };
    let found = splits
        .with_variants(&images, &labels, &test, Path::new(""))
        .unwrap();
    let chosen = images.apply(&train).unwrap();
    assert_eq!(rows(&found.train), rows(&chosen));
    assert_eq!(chosen.counts(), [90, 41, 19, 9]);
    let noisy = changed(chosen.labels(), found.train.labels());
    assert_eq!(noisy.len(), 45 + 21 + 10 + 5);
    let kept = found.validation.unwrap();
    assert_eq!(
        (rows(&kept), kept.labels()),
        (rows(&validation), validation.labels())
    );
    assert_eq!(found.test.counts(), [5; 4]);
    for (index, row) in rows(&found.test).into_iter().enumerate() {
        assert_eq!(found.test.label(index).unwrap(), row % 4);
    }
}

#[test]
fn variants_are_written_with_braces_and_refuse_unknown_keys() {
    let read = |text: &str| serde_json::from_str::<TrainingImages>(text);
    assert_eq!(read(r#"{"kind":"all"}"#).unwrap(), TrainingImages::All {});
    let error = read(r#"{"kind":"all","seed":1}"#).unwrap_err().to_string();
    assert!(error.contains("unknown field `seed`"), "{error}");
    let error = read(r#"{"kind":"step","ratio":0.1}"#)
        .unwrap_err()
        .to_string();
    assert!(error.contains("missing field `seed`"), "{error}");
    let labels = TrainingLabels::AsymmetricCifar10 {
        share: 0.4,
        seed: 1,
    };
    let text = serde_json::to_string(&labels).unwrap();
    assert_eq!(
        text,
        r#"{"kind":"asymmetric_cifar10","share":0.4,"seed":1}"#
    );
    assert_eq!(
        serde_json::from_str::<TrainingLabels>(&text).unwrap(),
        labels
    );
}
