//! Every transform against torchvision on Pillow images. All are equal to the bit.

use crate::fixtures::Fixture;
use mr2_data::{Draws, Image, Interpolation, Pipeline, RandomResizedCrop, Transform};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::HashMap;

struct Reference {
    fixture: Fixture,
    cases: Vec<Value>,
}

impl Reference {
    fn open() -> Self {
        let fixture = Fixture::open("transforms.safetensors");
        let cases = fixture.record()["cases"].as_array().unwrap().clone();
        Reference { fixture, cases }
    }

    fn of_kind(&self, kind: &str) -> Vec<&Value> {
        let cases: Vec<_> = self
            .cases
            .iter()
            .filter(|case| case["kind"] == kind)
            .collect();
        assert!(!cases.is_empty(), "no case of {kind}");
        cases
    }

    fn source(&self, case: &Value) -> Image<'static> {
        let name = format!("source.{}", case["source"].as_str().unwrap());
        let (shape, pixels) = self.fixture.bytes(&name);
        let (height, width, channels) = (shape[0], shape[1], shape[2]);
        Image {
            pixels: Cow::Owned(pixels),
            height,
            width,
            channels,
        }
    }

    /// The transform's bytes against the reference's.
    fn check(&self, case: &Value, transform: Transform) {
        let name = case["name"].as_str().unwrap();
        let (shape, expected) = self.fixture.bytes(name);
        let (found_shape, found) = bytes(&self.source(case), transform);
        assert_eq!(found_shape, shape, "{case}");
        let furthest = found
            .iter()
            .zip(&expected)
            .map(|(a, b)| a.abs_diff(*b))
            .max();
        assert_eq!(furthest, Some(0), "levels from torchvision in {case}");
    }
}

/// The (height, width, channel) bytes that a transform makes.
fn bytes(image: &Image, transform: Transform) -> (Vec<usize>, Vec<u8>) {
    let pipeline = Pipeline::new(vec![transform]).unwrap();
    let tensor = pipeline
        .apply(image, &mut Draws::for_image(0, 0, 0))
        .unwrap();
    let values = tensor.permute((1, 2, 0)).unwrap().flatten_all().unwrap();
    let bytes = values
        .to_vec1::<f32>()
        .unwrap()
        .into_iter()
        .map(|v| (v * 255.0).round() as u8);
    let (channels, height, width) = tensor.dims3().unwrap();
    (vec![height, width, channels], bytes.collect())
}

fn number(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

fn floats(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap())
        .collect()
}

fn interpolation(case: &Value) -> Interpolation {
    serde_json::from_value(case["interpolation"].clone()).unwrap()
}

#[test]
fn resize_is_pillows_to_the_bit() {
    let reference = Reference::open();
    for case in reference.of_kind("resize") {
        let (height, width) = (number(&case["size"][0]), number(&case["size"][1]));
        let interpolation = interpolation(case);
        reference.check(
            case,
            Transform::Resize {
                height,
                width,
                interpolation,
            },
        );
    }
    for case in reference.of_kind("resize_short_side") {
        let (size, interpolation) = (number(&case["size"]), interpolation(case));
        reference.check(
            case,
            Transform::ResizeShortSide {
                size,
                interpolation,
            },
        );
    }
}

#[test]
fn centre_crop_is_torchvisions() {
    let reference = Reference::open();
    for case in reference.of_kind("centre_crop") {
        reference.check(
            case,
            Transform::CentreCrop {
                size: number(&case["size"]),
            },
        );
    }
}

#[test]
fn horizontal_flip_is_torchvisions() {
    let reference = Reference::open();
    for case in reference.of_kind("flip") {
        reference.check(case, Transform::HorizontalFlip { p: 1.0 });
    }
}

#[test]
fn random_crop_makes_every_crop_of_torchvisions_equally_often_and_no_other() {
    let reference = Reference::open();
    let case = reference.of_kind("random_crop")[0];
    let image = reference.source(case);
    let (shape, expected) = reference.fixture.bytes(case["name"].as_str().unwrap());
    let places: HashMap<&[u8], usize> = expected
        .chunks_exact(5 * 5 * 3)
        .enumerate()
        .map(|(i, crop)| (crop, i))
        .collect();
    assert_eq!(places.len(), shape[0], "crops of the reference are alike");
    let (size, padding) = (number(&case["size"]), number(&case["padding"]));
    let pipeline = Pipeline::new(vec![Transform::RandomCrop { size, padding }]).unwrap();
    let mut counts = vec![0; shape[0]];
    let draws_per_place = 400;
    for index in 0..(shape[0] * draws_per_place) as u64 {
        let crop = pipeline
            .apply(&image, &mut Draws::for_image(3, 0, index))
            .unwrap();
        let values = crop.permute((1, 2, 0)).unwrap().flatten_all().unwrap();
        let crop: Vec<u8> = values
            .to_vec1::<f32>()
            .unwrap()
            .iter()
            .map(|v| (v * 255.0).round() as u8)
            .collect();
        counts[places[crop.as_slice()]] += 1;
    }
    // Five standard deviations of a binomial count.
    let allowed = 5.0 * (draws_per_place as f64).sqrt();
    let even = |&count: &i32| (f64::from(count) - draws_per_place as f64).abs() < allowed;
    assert!(counts.iter().all(even), "{counts:?}");
}

#[test]
fn random_resized_crop_draws_and_resizes_as_torchvision() {
    let reference = Reference::open();
    for case in reference.of_kind("random_resized_crop") {
        let image = reference.source(case);
        let (scale, ratio) = (floats(&case["scale"]), floats(&case["ratio"]));
        let crop = RandomResizedCrop {
            size: number(&case["size"]),
            scale: [scale[0], scale[1]],
            ratio: [ratio[0], ratio[1]],
            interpolation: interpolation(case),
        };
        let mut uniforms = floats(&case["uniforms"]).into_iter();
        let found = crop.crop_box(image.height, image.width, || uniforms.next().unwrap());
        let expected: Vec<usize> = case["box"].as_array().unwrap().iter().map(number).collect();
        assert_eq!(
            [found.top, found.left, found.height, found.width],
            expected[..],
            "{case}"
        );
        let part = Image {
            pixels: (found.top..found.top + found.height)
                .flat_map(|row| {
                    let start = (row * image.width + found.left) * image.channels;
                    image.pixels[start..start + found.width * image.channels].to_vec()
                })
                .collect::<Vec<u8>>()
                .into(),
            height: found.height,
            width: found.width,
            channels: image.channels,
        };
        let (size, interpolation) = (crop.size, crop.interpolation);
        let (_, pixels) = bytes(
            &part,
            Transform::Resize {
                height: size,
                width: size,
                interpolation,
            },
        );
        assert_eq!(
            pixels,
            reference.fixture.bytes(case["name"].as_str().unwrap()).1,
            "{case}"
        );
    }
}

#[test]
fn random_resized_crop_in_a_pipeline_resizes_the_box_that_its_draws_give() {
    let reference = Reference::open();
    let case = reference.of_kind("random_resized_crop")[0];
    let image = reference.source(case);
    let crop = RandomResizedCrop {
        size: 9,
        scale: [0.08, 1.0],
        ratio: [0.75, 4.0 / 3.0],
        interpolation: Interpolation::Bilinear,
    };
    let mut draws = Draws::for_image(0, 0, 0);
    let part = crop.crop_box(image.height, image.width, || draws.uniform());
    let (shape, pixels) = bytes(&image, Transform::RandomResizedCrop(crop));
    assert_eq!(shape, [9, 9, image.channels]);
    let rows: Vec<u8> = (part.top..part.top + part.height)
        .flat_map(|row| {
            let start = (row * image.width + part.left) * image.channels;
            image.pixels[start..start + part.width * image.channels].to_vec()
        })
        .collect();
    let part = Image {
        pixels: rows.into(),
        height: part.height,
        width: part.width,
        channels: 3,
    };
    let resize = Transform::Resize {
        height: 9,
        width: 9,
        interpolation: Interpolation::Bilinear,
    };
    assert_eq!(pixels, bytes(&part, resize).1);
}

/// Whole pipelines to numbers, compared bit by bit.
fn check_numbers(kind: &str, steps: impl Fn(&Value) -> Vec<Transform>) {
    let reference = Reference::open();
    for case in reference.of_kind(kind) {
        let pipeline = Pipeline::new(steps(case)).unwrap();
        let image = reference.source(case);
        let found = pipeline
            .apply(&image, &mut Draws::for_image(0, 0, 0))
            .unwrap();
        let found = found.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let expected = reference.fixture.floats(case["name"].as_str().unwrap());
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert!(bits(&found) == bits(&expected), "{case}");
    }
}

fn normalize(case: &Value) -> Transform {
    Transform::Normalize {
        mean: floats(&case["mean"]),
        std: floats(&case["std"]),
    }
}

#[test]
fn numbers_are_torchvisions_to_the_bit() {
    check_numbers("normalize", |case| vec![normalize(case)]);
    check_numbers("no_normalize", |_| Vec::new());
}

#[test]
fn a_whole_evaluation_pipeline_is_torchvisions_to_the_bit() {
    check_numbers("evaluation", |case| {
        let interpolation = Interpolation::Bicubic;
        vec![
            Transform::ResizeShortSide {
                size: 24,
                interpolation,
            },
            Transform::CentreCrop { size: 21 },
            normalize(case),
        ]
    });
}

#[test]
fn flips_come_with_their_probability() {
    let image = Image {
        pixels: Cow::Owned(vec![0, 255]),
        height: 1,
        width: 2,
        channels: 1,
    };
    let pipeline = Pipeline::new(vec![Transform::HorizontalFlip { p: 0.3 }]).unwrap();
    let flipped = |index: &u64| {
        let result = pipeline
            .apply(&image, &mut Draws::for_image(0, 0, *index))
            .unwrap();
        result.flatten_all().unwrap().to_vec1::<f32>().unwrap()[0] == 1.0
    };
    let count = (0..10_000).filter(flipped).count();
    assert!((2_770..3_230).contains(&count), "{count}"); // five standard deviations
}

#[test]
fn transforms_read_from_a_configuration_as_they_are_written() {
    let steps = vec![
        Transform::RandomResizedCrop(RandomResizedCrop {
            size: 224,
            scale: [0.08, 1.0],
            ratio: [0.75, 4.0 / 3.0],
            interpolation: Interpolation::Bicubic,
        }),
        Transform::HorizontalFlip { p: 0.5 },
        Transform::Normalize {
            mean: vec![0.5; 3],
            std: vec![0.25; 3],
        },
    ];
    let text = serde_json::to_string(&steps).unwrap();
    assert!(text.contains(r#""kind":"random_resized_crop""#), "{text}");
    assert_eq!(
        serde_json::from_str::<Vec<Transform>>(&text).unwrap(),
        steps
    );
    let unknown = r#"{"kind":"centre_crop","size":224,"padding":4}"#;
    let error = serde_json::from_str::<Transform>(unknown)
        .unwrap_err()
        .to_string();
    assert!(error.contains("padding"), "{error}");
    let unknown = r#"{"kind":"random_resized_crop","size":9,"scale":[0.1,1],"ratio":[1,1],
        "interpolation":"bilinear","tries":3}"#;
    let error = serde_json::from_str::<Transform>(unknown)
        .unwrap_err()
        .to_string();
    assert!(error.contains("tries"), "{error}");
}
