//! Loader, samplers and the validation part.

use crate::fixtures::{self, patterned};
use mr2_data::candle_core::Device;
use mr2_data::{
    Batch, Draws, ImageSet, Interpolation, Loader, LoaderConfig, Pipeline, RandomResizedCrop,
    Sampler, Source, Split, Transform, ValidationConfig, carve, pixel_statistics,
    read_image_folder,
};
use std::sync::Arc;

fn augmentation() -> Pipeline {
    let crop = RandomResizedCrop {
        size: 7,
        scale: [0.2, 1.0],
        ratio: [0.75, 4.0 / 3.0],
        interpolation: Interpolation::Bilinear,
    };
    Pipeline::new(vec![
        Transform::RandomCrop {
            size: 8,
            padding: 2,
        },
        Transform::HorizontalFlip { p: 0.5 },
        Transform::RandomResizedCrop(crop),
        Transform::Normalize {
            mean: vec![0.5; 3],
            std: vec![0.25; 3],
        },
    ])
    .unwrap()
}

fn config(sampler: Sampler, workers: usize) -> LoaderConfig {
    LoaderConfig {
        images_per_batch: 6,
        sampler,
        seed: 11,
        workers,
        drop_last: false,
    }
}

fn set() -> Arc<ImageSet> {
    let labels = (0..50)
        .map(|i| [0, 1, 1, 2, 0, 3, 3, 3, 2, 1][i % 10])
        .collect();
    Arc::new(patterned(labels, 4, 8, 3))
}

fn balanced() -> Sampler {
    Sampler::ClassBalanced {
        classes_per_batch: 3,
        images_per_class: 2,
    }
}

fn all_samplers() -> [Sampler; 4] {
    let resampled = Sampler::Resampled {};
    [
        Sampler::Sequential,
        Sampler::Shuffled,
        resampled,
        balanced(),
    ]
}

fn loader(sampler: Sampler, workers: usize) -> Loader {
    Loader::new(
        set(),
        augmentation(),
        config(sampler, workers),
        &Device::Cpu,
    )
    .unwrap()
}

type Bits = (Vec<u32>, Vec<u32>, Vec<u32>);

fn bits(batch: Batch) -> Bits {
    let values = batch
        .images
        .flatten_all()
        .unwrap()
        .to_vec1::<f32>()
        .unwrap();
    (
        batch.indices,
        batch.labels,
        values.iter().map(|v| v.to_bits()).collect(),
    )
}

fn epoch(loader: &Loader, epoch: u64, first_batch: usize) -> Vec<Bits> {
    loader
        .epoch(epoch, first_batch)
        .map(|batch| bits(batch.unwrap()))
        .collect()
}

#[test]
fn batches_have_the_same_bits_for_any_number_of_workers() {
    for sampler in all_samplers() {
        for number in [0, 3] {
            let expected = epoch(&loader(sampler.clone(), 0), number, 0);
            for workers in [1, 2, 4, 20] {
                let found = epoch(&loader(sampler.clone(), workers), number, 0);
                assert!(found == expected, "{sampler:?} with {workers} workers");
            }
        }
    }
}

#[test]
fn an_epoch_resumed_at_any_batch_has_the_same_bits() {
    for sampler in all_samplers() {
        let loader = loader(sampler, 2);
        let whole = epoch(&loader, 5, 0);
        assert_eq!(whole.len(), loader.batches_per_epoch());
        for first in 0..=whole.len() + 1 {
            let rest = whole.get(first..).unwrap_or_default();
            assert!(epoch(&loader, 5, first) == rest, "from batch {first}");
        }
    }
}

#[test]
fn augmentation_depends_on_the_image_and_not_on_its_place_in_the_order() {
    let by_index = |sampler| {
        let mut images: Vec<(u32, Vec<u32>)> = epoch(&loader(sampler, 1), 2, 0)
            .into_iter()
            .flat_map(|(indices, _, values)| {
                let size = values.len() / indices.len();
                let images: Vec<_> = values.chunks_exact(size).map(<[u32]>::to_vec).collect();
                indices.into_iter().zip(images).collect::<Vec<_>>()
            })
            .collect();
        images.sort();
        images
    };
    assert!(by_index(Sampler::Sequential) == by_index(Sampler::Shuffled));
}

#[test]
fn epochs_and_seeds_differ_in_order_and_augmentation() {
    let loader = loader(Sampler::Shuffled, 0);
    let first = epoch(&loader, 0, 0);
    let second = epoch(&loader, 1, 0);
    assert!(first[0].0 != second[0].0 && first[0].2 != second[0].2);
    let other = LoaderConfig {
        seed: 12,
        ..config(Sampler::Shuffled, 0)
    };
    let other = Loader::new(set(), augmentation(), other, &Device::Cpu).unwrap();
    assert!(epoch(&other, 0, 0)[0].0 != first[0].0);
    let sequential = self::loader(Sampler::Sequential, 0);
    let (first, second) = (epoch(&sequential, 0, 0), epoch(&sequential, 1, 0));
    assert!(first[0].0 == second[0].0 && first[0].2 != second[0].2);
}

#[test]
fn shuffled_and_sequential_give_every_image_once_and_the_last_batch_is_the_rest() {
    for sampler in [Sampler::Sequential, Sampler::Shuffled] {
        let loader = loader(sampler, 2);
        let batches = epoch(&loader, 0, 0);
        assert_eq!(
            batches.iter().map(|b| b.0.len()).collect::<Vec<_>>(),
            [6, 6, 6, 6, 6, 6, 6, 6, 2]
        );
        let mut indices: Vec<u32> = batches.iter().flat_map(|b| b.0.clone()).collect();
        indices.sort();
        assert_eq!(indices, (0..50).collect::<Vec<u32>>());
        for (indices, labels, _) in &batches {
            let expected: Vec<u32> = indices
                .iter()
                .map(|&i| set().labels()[i as usize])
                .collect();
            assert_eq!(labels, &expected);
        }
    }
}

#[test]
fn drop_last_leaves_out_the_small_batch_only() {
    let config = LoaderConfig {
        drop_last: true,
        ..config(Sampler::Shuffled, 1)
    };
    let dropping = Loader::new(set(), augmentation(), config, &Device::Cpu).unwrap();
    let whole = epoch(&loader(Sampler::Shuffled, 1), 0, 0);
    assert_eq!(dropping.batches_per_epoch(), 8);
    assert!(epoch(&dropping, 0, 0) == whole[..8]);
}

#[test]
fn class_balanced_batches_have_k_different_images_of_each_of_p_classes() {
    // Class 2 is absent, the others have 20, 5 and 2 images.
    let labels: Vec<u32> = [vec![0; 20], vec![1; 5], vec![3; 2]].concat();
    let set = Arc::new(patterned(labels.clone(), 4, 8, 3));
    let config = LoaderConfig {
        images_per_batch: 4,
        ..config(
            Sampler::ClassBalanced {
                classes_per_batch: 2,
                images_per_class: 2,
            },
            0,
        )
    };
    let loader = Loader::new(set, augmentation(), config, &Device::Cpu).unwrap();
    assert_eq!(loader.batches_per_epoch(), 27 / 4);
    let mut drawn = [0; 4];
    for number in 0..50 {
        for (indices, batch_labels, _) in epoch(&loader, number, 0) {
            let mut distinct = indices.clone();
            distinct.sort();
            distinct.dedup();
            assert_eq!(distinct.len(), 4, "an image is twice in {indices:?}");
            assert!(batch_labels[0] == batch_labels[1] && batch_labels[2] == batch_labels[3]);
            assert_ne!(batch_labels[0], batch_labels[2]);
            batch_labels
                .iter()
                .for_each(|&label| drawn[label as usize] += 1);
        }
    }
    // 50 epochs x 6 batches x 4 images over three classes that take turns.
    assert_eq!(drawn, [400, 400, 0, 400]);
}

/// Times that each image is drawn over some epochs.
fn times_drawn(labels: &[u32], epochs: u64) -> Vec<usize> {
    let set = Arc::new(patterned(labels.to_vec(), 5, 2, 1));
    let config = config(Sampler::Resampled {}, 0);
    let plain = Pipeline::new(Vec::new()).unwrap();
    let loader = Loader::new(set, plain, config, &Device::Cpu).unwrap();
    let mut drawn = vec![0; labels.len()];
    for number in 0..epochs {
        let batches = epoch(&loader, number, 0);
        let indices = batches.iter().flat_map(|(indices, ..)| indices);
        indices.for_each(|&index| drawn[index as usize] += 1);
    }
    drawn
}

#[test]
fn resampling_draws_classes_equally_often_and_so_the_images_of_a_class() {
    // Class 2 is absent, the others have 40, 15 and 5 images: 60 draws an epoch, 20 of each class expected.
    let labels: Vec<u32> = [vec![0; 40], vec![1; 15], vec![3; 5]].concat();
    let epochs = 500;
    let drawn = times_drawn(&labels, epochs);
    assert_eq!(drawn.iter().sum::<usize>(), 60 * epochs as usize);
    for (class, images) in [(0, 0..40), (1, 40..55), (3, 55..60)] {
        let count = images.len() as f64;
        let of_class = &drawn[images];
        // Binomial: five standard deviations.
        let near = |found: usize, p: f64, what: &str| {
            let draws = 60.0 * epochs as f64;
            let off = (found as f64 - draws * p).abs();
            assert!(
                off < 5.0 * (draws * p * (1.0 - p)).sqrt(),
                "{what} {class}: {found}"
            );
        };
        near(of_class.iter().sum(), 1.0 / 3.0, "class");
        for &times in of_class {
            near(times, 1.0 / 3.0 / count, "an image of class");
        }
    }
}

#[test]
fn resampling_balanced_data_is_plain_shuffling_batch_for_batch() {
    let balanced: Vec<u32> = (0..50).map(|i| i % 5 * 2).collect();
    let of = |sampler, labels: &[u32]| {
        let set = Arc::new(patterned(labels.to_vec(), 9, 8, 3));
        let loader = Loader::new(set, augmentation(), config(sampler, 0), &Device::Cpu);
        epoch(&loader.unwrap(), 3, 0)
    };
    let resampled = of(Sampler::Resampled {}, &balanced);
    assert_eq!(resampled, of(Sampler::Shuffled, &balanced));
    // One image more in a class, and it isn't.
    let mut longer = balanced;
    longer.push(4);
    let resampled = of(Sampler::Resampled {}, &longer);
    assert_ne!(resampled, of(Sampler::Shuffled, &longer));
}

#[test]
fn an_image_that_resampling_draws_again_is_augmented_anew() {
    let labels: Vec<u32> = [vec![0; 30], vec![1]].concat();
    let set = Arc::new(patterned(labels, 4, 8, 3));
    let config = config(Sampler::Resampled {}, 0);
    let loader = Loader::new(set, augmentation(), config, &Device::Cpu).unwrap();
    let mut seen: Vec<Vec<u32>> = Vec::new();
    for batch in loader.epoch(0, 0) {
        let batch = batch.unwrap();
        for (place, _) in batch.indices.iter().enumerate().filter(|(_, i)| **i == 30) {
            let image = batch.images.get(place).unwrap().flatten_all().unwrap();
            let values = image.to_vec1::<f32>().unwrap();
            seen.push(values.iter().map(|value| value.to_bits()).collect());
        }
    }
    let drawn = seen.len();
    assert!(
        drawn > 5,
        "half of 31 draws are of the one image of class 1: {drawn}"
    );
    seen.sort();
    seen.dedup();
    assert!(
        seen.len() > drawn / 2,
        "{} of {drawn} look different",
        seen.len()
    );
}

#[test]
fn a_sampler_is_read_from_its_kind_and_nothing_beside_it() {
    let read = |text: &str| serde_json::from_str::<Sampler>(text);
    let resampled = read(r#"{"kind": "resampled"}"#).unwrap();
    assert_eq!(resampled, Sampler::Resampled {});
    assert!(read(r#"{"kind": "resampled", "power": 0.5}"#).is_err());
}

#[test]
fn class_balanced_goes_through_a_class_before_it_repeats_an_image() {
    let labels: Vec<u32> = (0..24).map(|i| i % 4).collect();
    let set = Arc::new(patterned(labels, 4, 8, 3));
    let sampler = Sampler::ClassBalanced {
        classes_per_batch: 4,
        images_per_class: 2,
    };
    let config = LoaderConfig {
        images_per_batch: 8,
        ..config(sampler, 0)
    };
    let loader = Loader::new(set, augmentation(), config, &Device::Cpu).unwrap();
    let mut indices: Vec<u32> = epoch(&loader, 4, 0).into_iter().flat_map(|b| b.0).collect();
    indices.sort();
    assert_eq!(indices, (0..24).collect::<Vec<u32>>());
}

#[test]
fn the_images_of_a_class_take_turns_also_where_k_does_not_divide_their_number() {
    // Five batches of two images of each class: ten draws from 5 images and from 15.
    let labels: Vec<u32> = [vec![0; 5], vec![1; 15]].concat();
    let set = Arc::new(patterned(labels, 2, 8, 3));
    let sampler = Sampler::ClassBalanced {
        classes_per_batch: 2,
        images_per_class: 2,
    };
    let config = LoaderConfig {
        images_per_batch: 4,
        ..config(sampler, 0)
    };
    let loader = Loader::new(set, augmentation(), config, &Device::Cpu).unwrap();
    for number in 0..20 {
        let mut drawn = [0; 20];
        for (indices, _, _) in epoch(&loader, number, 0) {
            indices.iter().for_each(|&index| drawn[index as usize] += 1);
        }
        assert_eq!(drawn[..5], [2; 5], "epoch {number}");
        assert!(drawn[5..].iter().all(|&times| times <= 1), "{drawn:?}");
    }
}

#[test]
fn batches_of_image_files_hold_the_files_images_for_any_number_of_workers() {
    let folder = fixtures::folder().join("folder/train");
    let set = Arc::new(read_image_folder(&folder, "flowers", Split::Train, 3).unwrap());
    let loader = |workers| {
        let config = config(Sampler::Shuffled, workers);
        Loader::new(set.clone(), augmentation(), config, &Device::Cpu).unwrap()
    };
    let expected = epoch(&loader(0), 1, 0);
    for workers in [1, 3] {
        assert!(
            epoch(&loader(workers), 1, 0) == expected,
            "{workers} workers"
        );
    }
    let mut seen = Vec::new();
    for (indices, labels, values) in expected {
        let size = values.len() / indices.len();
        for ((&index, label), found) in indices.iter().zip(labels).zip(values.chunks(size)) {
            let image = set.image(index as usize).unwrap();
            let mut draws = Draws::for_image(11, 1, u64::from(index));
            let alone = augmentation().apply(&image, &mut draws).unwrap();
            let alone = alone.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert!(alone.iter().map(|v| v.to_bits()).eq(found.iter().copied()));
            assert_eq!(label, set.labels()[index as usize]);
            seen.push(index);
        }
    }
    seen.sort();
    assert_eq!(seen, (0..9).collect::<Vec<u32>>());
}

#[test]
fn evaluation_gives_every_image_in_order_without_augmentation() {
    let pipeline = Pipeline::new(vec![Transform::CentreCrop { size: 4 }]).unwrap();
    let loader = Loader::for_evaluation(set(), pipeline, 16, 2, &Device::Cpu).unwrap();
    let batches = epoch(&loader, 0, 0);
    let indices: Vec<u32> = batches.iter().flat_map(|b| b.0.clone()).collect();
    assert_eq!(indices, (0..50).collect::<Vec<u32>>());
    assert!(batches == epoch(&loader, 9, 0));
    let random = Loader::for_evaluation(set(), augmentation(), 16, 2, &Device::Cpu);
    let message = random.unwrap_err().to_string();
    assert_eq!(
        message,
        "`transforms`: random_crop is random; evaluation must not be"
    );
}

#[test]
fn an_epoch_can_be_dropped_half_way() {
    let loader = loader(Sampler::Shuffled, 4);
    for taken in 0..4 {
        let mut epoch = loader.epoch(0, 0);
        assert_eq!(epoch.len(), 9);
        assert_eq!(epoch.by_ref().take(taken).count(), taken);
        assert_eq!(epoch.len(), 9 - taken);
    }
}

#[test]
fn an_epoch_ends_after_an_error_which_names_the_image() {
    let files = vec![b"not an image".to_vec(); 3];
    let source = Source::Encoded { files, channels: 3 };
    let set = ImageSet::new("bad", Split::Train, vec!["a".into()], vec![0; 3], source).unwrap();
    let set = Arc::new(set);
    for workers in [0, 2] {
        let config = LoaderConfig {
            images_per_batch: 1,
            ..config(Sampler::Sequential, workers)
        };
        let pipeline = Pipeline::new(Vec::new()).unwrap();
        let loader = Loader::new(set.clone(), pipeline, config, &Device::Cpu).unwrap();
        let results: Vec<_> = loader.epoch(0, 0).collect();
        assert_eq!(results.len(), 1);
        let message = results[0].as_ref().unwrap_err().to_string();
        assert!(
            message.starts_with("bad image 0: cannot be decoded"),
            "{message}"
        );
    }
}

#[test]
fn validation_has_the_same_number_of_every_class_and_shares_no_image_with_training() {
    let all = set();
    let config = ValidationConfig {
        per_class: 3,
        seed: 5,
    };
    let (train, validation) = carve(&all, &config).unwrap();
    assert_eq!(validation.counts(), [3; 4]);
    assert_eq!(
        (train.split(), validation.split()),
        (Split::Train, Split::Validation)
    );
    assert_eq!(train.len() + validation.len(), all.len());
    let rows = |set: &ImageSet| -> Vec<u32> {
        (0..set.len())
            .map(|i| set.original_index(i).unwrap())
            .collect()
    };
    let mut together = [rows(&train), rows(&validation)].concat();
    assert!(rows(&train).is_sorted() && rows(&validation).is_sorted());
    together.sort();
    assert_eq!(together, (0..50).collect::<Vec<u32>>());
    for (index, row) in rows(&validation).into_iter().enumerate() {
        assert_eq!(
            validation.label(index).unwrap(),
            all.label(row as usize).unwrap()
        );
        assert_eq!(
            validation.image(index).unwrap(),
            all.image(row as usize).unwrap()
        );
    }
    let (_, again) = carve(&all, &config).unwrap();
    let (_, other) = carve(&all, &ValidationConfig { seed: 6, ..config }).unwrap();
    assert_eq!(rows(&again), rows(&validation));
    assert_ne!(rows(&other), rows(&validation));
}

#[test]
fn pixel_statistics_are_the_mean_and_deviation_of_all_pixels() {
    let source = Source::Memory {
        pixels: vec![0, 51, 102, 255],
        height: 2,
        width: 1,
        channels: 1,
    };
    let set = ImageSet::new("two", Split::Train, vec!["a".into()], vec![0, 0], source).unwrap();
    let statistics = pixel_statistics(&set).unwrap();
    // Values 0, 0.2, 0.4, 1: mean 0.4, variance (0.16 + 0.04 + 0 + 0.36) / 4.
    assert!((statistics.mean[0] - 0.4).abs() < 1e-12);
    assert!((statistics.std[0] - 0.14f64.sqrt()).abs() < 1e-12);
}

#[test]
fn pixel_statistics_of_ten_million_nearly_equal_pixels_lose_no_digit() {
    let (height, width) = (2_500, 4_000);
    let mut pixels = vec![255; height * width];
    pixels[0] = 254;
    let source = Source::Memory {
        pixels,
        height,
        width,
        channels: 1,
    };
    let set = ImageSet::new("white", Split::Train, vec!["a".into()], vec![0], source).unwrap();
    let n = (height * width) as f64;
    let expected = (n - 1.0).sqrt() / n / 255.0;
    let found = pixel_statistics(&set).unwrap().std[0];
    assert!((found / expected - 1.0).abs() < 1e-14, "{found} {expected}");
}
