//! Corruptions: those that are not random against NumPy, SciPy and Pillow, the others by their
//! statistics; CIFAR-C's files.

use crate::fixtures::{Fixture, patterned};
use mr2_data::candle_core::Device;
use mr2_data::{Corruption, Draws, Image, Loader, Pipeline, Split, TestImages, Transform, corrupt};
use std::path::Path;
use std::sync::Arc;

fn draws() -> Draws {
    Draws::for_image(0, 0, 0)
}

fn image(height: usize, width: usize, channels: usize, pixels: Vec<u8>) -> Image<'static> {
    Image {
        pixels: pixels.into(),
        height,
        width,
        channels,
    }
}

fn flat(side: usize, byte: u8) -> Image<'static> {
    image(side, side, 3, vec![byte; side * side * 3])
}

fn source(fixture: &Fixture, name: &str) -> Image<'static> {
    let (shape, pixels) = fixture.bytes(&format!("source.{name}"));
    image(shape[0], shape[1], shape[2], pixels)
}

fn distance(a: &[u8], b: &[u8]) -> f64 {
    let sum: f64 = a
        .iter()
        .zip(b)
        .map(|(a, b)| f64::from(a.abs_diff(*b)))
        .sum();
    sum / a.len() as f64
}

fn moments(bytes: &[u8]) -> (f64, f64) {
    let count = bytes.len() as f64;
    let mean = bytes.iter().map(|&byte| f64::from(byte)).sum::<f64>() / count;
    let squares = bytes.iter().map(|&byte| (f64::from(byte) - mean).powi(2));
    (mean, squares.sum::<f64>() / count)
}

#[test]
fn corruptions_without_random_numbers_are_what_numpy_scipy_and_pillow_make() {
    let fixture = Fixture::open("corruptions.safetensors");
    // Levels that one byte may differ by (sums in another order, cut to bytes), and the mean.
    for (corruption, most, mean) in [
        (Corruption::Brightness, 1, 0.02),
        (Corruption::Contrast, 1, 0.02),
        (Corruption::DefocusBlur, 1, 0.02),
        (Corruption::ZoomBlur, 1, 0.02),
        (Corruption::Pixelate, 0, 0.0),
    ] {
        for name in ["waves", "noise", "grey"] {
            let source = source(&fixture, name);
            let (_, expected) = fixture.bytes(&format!("{}.{name}", corruption.name()));
            for (level, expected) in expected.chunks_exact(source.pixels.len()).enumerate() {
                let made = corrupt(&source, corruption, level + 1, &mut draws()).unwrap();
                let furthest = made
                    .pixels
                    .iter()
                    .zip(expected)
                    .map(|(a, b)| a.abs_diff(*b));
                let (furthest, apart) = (furthest.max(), distance(&made.pixels, expected));
                assert!(
                    furthest <= Some(most) && apart <= mean,
                    "{corruption:?} {name} {level}: {furthest:?} {apart}"
                );
            }
        }
    }
}

#[test]
fn jpeg_distorts_as_much_as_pillows_at_full_size_colour_channels() {
    let fixture = Fixture::open("corruptions.safetensors");
    for name in ["waves", "noise", "grey"] {
        let source = source(&fixture, name);
        let (_, expected) = fixture.bytes(&format!("jpeg_compression.{name}"));
        for (level, expected) in expected.chunks_exact(source.pixels.len()).enumerate() {
            let jpeg = Corruption::JpegCompression;
            let made = corrupt(&source, jpeg, level + 1, &mut draws()).unwrap();
            let pillows = distance(expected, &source.pixels);
            let ours = distance(&made.pixels, &source.pixels);
            assert!(
                (ours / pillows - 1.0).abs() < 0.02,
                "{name} {level}: {ours} {pillows}"
            );
            // Another encoder rounds some coefficients to the other side.
            let apart = distance(&made.pixels, expected);
            assert!(apart < 0.4 * pillows, "{name} {level}: {apart}");
        }
    }
}

#[test]
fn normal_noise_has_its_deviation() {
    for (level, deviation) in [0.04, 0.06, 0.08, 0.09, 0.10].into_iter().enumerate() {
        let made = corrupt(
            &flat(96, 128),
            Corruption::GaussianNoise,
            level + 1,
            &mut draws(),
        );
        let (mean, variance) = moments(&made.unwrap().pixels);
        let expected = (255.0f64 * deviation).powi(2);
        // Bytes are cut off: half a level lower. Five deviations over 27,648 bytes.
        assert!(
            (mean - 127.5).abs() < 5.0 * (expected / 27_648.0).sqrt(),
            "{mean}"
        );
        assert!(
            (variance / expected - 1.0).abs() < 0.05,
            "{variance} {expected}"
        );
    }
}

#[test]
fn shot_noise_has_the_mean_and_variance_of_poisson_numbers() {
    for (level, photons) in [500.0, 250.0, 100.0, 75.0, 50.0].into_iter().enumerate() {
        for byte in [10u8, 40, 128] {
            let made = corrupt(
                &flat(96, byte),
                Corruption::ShotNoise,
                level + 1,
                &mut draws(),
            );
            let (mean, variance) = moments(&made.unwrap().pixels);
            let value = f64::from(byte) / 255.0;
            let expected = 255.0f64.powi(2) * value / photons;
            // Cutting to bytes takes up to a level off.
            let error = 5.0 * (expected / 27_648.0).sqrt();
            let from = f64::from(byte) - 1.0 - error;
            assert!(
                (from..=f64::from(byte) + error).contains(&mean),
                "{byte} {photons} {mean}"
            );
            assert!(
                (variance / expected - 1.0).abs() < 0.06,
                "{byte} {photons} {variance} {expected}"
            );
        }
    }
}

#[test]
fn impulse_noise_hits_its_share_half_of_it_white() {
    for (level, share) in [0.01, 0.02, 0.03, 0.05, 0.07].into_iter().enumerate() {
        let made = corrupt(
            &flat(96, 128),
            Corruption::ImpulseNoise,
            level + 1,
            &mut draws(),
        );
        let made = made.unwrap();
        let count = |byte: u8| made.pixels.iter().filter(|&&b| b == byte).count() as f64;
        let expected = share / 2.0 * 27_648.0;
        for hit in [count(0), count(255)] {
            assert!(
                (hit - expected).abs() < 5.0 * expected.sqrt(),
                "{hit} {expected}"
            );
        }
        assert_eq!(count(0) + count(255) + count(128), 27_648.0);
    }
}

#[test]
fn blurs_and_warps_leave_one_colour_as_it_is() {
    for corruption in [
        Corruption::DefocusBlur,
        Corruption::GlassBlur,
        Corruption::MotionBlur,
        Corruption::ZoomBlur,
        Corruption::ElasticTransform,
        Corruption::Pixelate,
        Corruption::Contrast,
    ] {
        for severity in 1..=5 {
            let made = corrupt(&flat(32, 128), corruption, severity, &mut draws()).unwrap();
            // One level lower where sums round down.
            assert!(
                made.pixels.iter().all(|b| (127..=128).contains(b)),
                "{corruption:?}"
            );
        }
    }
}

#[test]
fn weather_whitens() {
    for (corruption, least) in [(Corruption::Snow, 5.0), (Corruption::Frost, 15.0)] {
        let means: Vec<f64> = (1..=5)
            .map(|severity| {
                let made = corrupt(&flat(32, 60), corruption, severity, &mut draws()).unwrap();
                moments(&made.pixels).0 - 60.0
            })
            .collect();
        assert!(
            means.iter().all(|&more| more > least),
            "{corruption:?} {means:?}"
        );
    }
    // Fog keeps the brightest value and veils the rest.
    let gradient: Vec<u8> = (0..32 * 32 * 3).map(|i| (i / 3 % 32 * 8) as u8).collect();
    let source = image(32, 32, 3, gradient);
    for severity in 1..=5 {
        let made = corrupt(&source, Corruption::Fog, severity, &mut draws()).unwrap();
        let (mean, variance) = moments(&made.pixels);
        assert!(made.pixels.iter().max() <= Some(&248), "{mean}");
        assert!(variance < moments(&source.pixels).1, "{variance}");
    }
}

#[test]
fn every_corruption_is_a_function_of_image_severity_and_draws_and_keeps_any_size() {
    let fixture = Fixture::open("corruptions.safetensors");
    let odd = image(5, 9, 3, (0..135).map(|i| (i * 37 % 256) as u8).collect());
    let dot = image(1, 1, 1, vec![200]);
    for corruption in Corruption::ALL {
        let at = |source: &Image, severity, index| {
            let mut draws = Draws::for_corruption(3, corruption, index);
            corrupt(source, corruption, severity, &mut draws).unwrap()
        };
        let noise = source(&fixture, "noise");
        // The affine part of the elastic transform gets weaker as its displacements get finer.
        let more = corruption != Corruption::ElasticTransform;
        let far = |severity| -> f64 {
            let one = |index| distance(&at(&noise, severity, index).pixels, &noise.pixels);
            (0..10).map(one).sum()
        };
        assert!(
            far(1) > 0.0 && (far(5) > far(1)) == more,
            "{corruption:?} {} {}",
            far(1),
            far(5)
        );
        assert_eq!(at(&noise, 3, 1), at(&noise, 3, 1));
        let fixed = [
            Corruption::DefocusBlur,
            Corruption::ZoomBlur,
            Corruption::Brightness,
            Corruption::Contrast,
            Corruption::Pixelate,
            Corruption::JpegCompression,
        ];
        assert_eq!(
            at(&noise, 5, 1) == at(&noise, 5, 2),
            fixed.contains(&corruption)
        );
        for source in [&odd, &dot, &self::source(&fixture, "grey")] {
            let made = at(source, 5, 0);
            let size = [made.height, made.width, made.channels];
            assert_eq!(size, [source.height, source.width, source.channels]);
        }
    }
}

#[test]
fn a_corrupted_evaluation_depends_on_the_image_and_not_on_batches_workers_or_subsets() {
    let set = Arc::new(patterned([0, 1, 2, 3].repeat(5), 4, 8, 3));
    let step = |seed| Transform::Corrupt {
        corruption: Corruption::GaussianNoise,
        severity: 4,
        seed,
    };
    let images = |set: &Arc<_>, size, workers, seed| -> Vec<Vec<f32>> {
        let pipeline = Pipeline::new(vec![step(seed)]).unwrap();
        let loader = Loader::for_evaluation(Arc::clone(set), pipeline, size, workers, &Device::Cpu);
        let batches = loader.unwrap().epoch(0, 0);
        let rows = batches.flat_map(|batch| {
            let images = batch.unwrap().images.flatten_from(1).unwrap();
            images.to_vec2::<f32>().unwrap()
        });
        rows.collect()
    };
    let whole = images(&set, 20, 0, 7);
    assert_eq!(whole, images(&set, 3, 2, 7));
    assert_ne!(whole, images(&set, 20, 0, 8));
    let part = Arc::new(set.subset(Split::Test, &[13, 4]).unwrap());
    assert_eq!(
        images(&part, 2, 0, 7),
        [whole[13].clone(), whole[4].clone()]
    );
    let alone = corrupt(
        &set.image(13).unwrap(),
        Corruption::GaussianNoise,
        4,
        &mut Draws::for_corruption(7, Corruption::GaussianNoise, 13),
    );
    let pipeline = Pipeline::new(Vec::new()).unwrap();
    let alone = pipeline.apply(&alone.unwrap(), &mut draws()).unwrap();
    let alone = alone.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(alone, whole[13]);
}

#[test]
fn corruptions_are_read_by_name_and_their_severity_is_checked() {
    let text = r#"{"kind":"corrupt","corruption":"jpeg_compression","severity":3,"seed":0}"#;
    let step: Transform = serde_json::from_str(text).unwrap();
    assert!(!step.is_random());
    for corruption in Corruption::ALL {
        let name: Corruption = serde_json::from_value(corruption.name().into()).unwrap();
        assert_eq!(name, corruption);
    }
    for severity in [0, 6] {
        let step = Transform::Corrupt {
            corruption: Corruption::Fog,
            severity,
            seed: 0,
        };
        assert_eq!(
            Pipeline::new(vec![step]).unwrap_err().to_string(),
            format!("`corrupt.severity`: expected 1 to 5, got {severity}")
        );
        let error = corrupt(&flat(4, 0), Corruption::Fog, severity, &mut draws());
        let expected = format!("`severity`: expected 1 to 5, got {severity}");
        assert_eq!(error.unwrap_err().to_string(), expected);
    }
}

fn write_npy(path: &Path, shape: &str, data: &[u8]) {
    let mut header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}");
    header += &" ".repeat(117 - header.len());
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn files_of_cifar_c_are_read_by_severity_and_checked_against_the_test_images() {
    let test = patterned(vec![0, 1, 1], 2, 2, 3);
    let folder = tempfile::tempdir().unwrap();
    let pixels: Vec<u8> = (0..180).collect();
    write_npy(&folder.path().join("fog.npy"), "(15, 2, 2, 3)", &pixels);
    write_npy(
        &folder.path().join("labels.npy"),
        "(15,)",
        &[0, 1, 1].repeat(5),
    );
    write_npy(
        &folder.path().join("snow.npy"),
        "(5, 2, 2, 3)",
        &pixels[..60],
    );
    let read = |test: &mr2_data::ImageSet, corruption, severity| {
        let images = TestImages::CifarC {
            path: "".into(),
            corruption,
            severity,
        };
        let result = images.apply(test, folder.path());
        let root = folder.path().display().to_string();
        result.map_err(|error| error.to_string().replace(&root, "ROOT"))
    };
    let found = read(&test, Corruption::Fog, 4).unwrap();
    assert_eq!(
        (found.labels(), found.split()),
        (test.labels(), test.split())
    );
    assert_eq!(found.image(1).unwrap().pixels[..], pixels[120..132]);
    assert_eq!(
        read(&test, Corruption::Snow, 1).unwrap_err(),
        "ROOT/snow.npy: NumPy array: it has shape [5, 2, 2, 3], expected bytes of shape [15, 2, 2, \
         3]: the 3 test images of patterned at 5 severities"
    );
    assert_eq!(
        read(&test, Corruption::Fog, 6).unwrap_err(),
        "`test_images.severity`: expected 1 to 5, got 6"
    );
    let other = test.with_labels(vec![0, 1, 0]).unwrap();
    assert_eq!(
        read(&other, Corruption::Fog, 1).unwrap_err(),
        "ROOT/labels.npy: labels: label 2 is 1, but that test image of patterned has another. The \
         files are of another data set or another order of its images"
    );
    let missing = read(&test, Corruption::Frost, 1).unwrap_err();
    assert!(
        missing.starts_with("ROOT/frost.npy: cannot be read: "),
        "{missing}"
    );
}
