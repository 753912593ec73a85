//! AutoAugment and RandAugment: each operation to the bit, and how operations are drawn.

use crate::fixtures::Fixture;
use mr2_data::{
    AugmentOp, AutoAugment, AutoAugmentPolicy, Draws, Image, Pipeline, RandAugment, Transform,
};
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};

const AUTO: AutoAugment = AutoAugment {
    policy: AutoAugmentPolicy::Cifar10,
    fill: 0,
};
const RAND: RandAugment = RandAugment {
    num_ops: 2,
    magnitude: 9,
    num_magnitude_bins: 31,
    fill: 0,
};

fn fixture() -> (Fixture, Value) {
    let fixture = Fixture::open("augment.safetensors");
    let record = fixture.record();
    (fixture, record)
}

fn source(fixture: &Fixture, name: &str) -> Image<'static> {
    let (shape, pixels) = fixture.bytes(&format!("source.{name}"));
    Image {
        pixels: pixels.into(),
        height: shape[0],
        width: shape[1],
        channels: shape[2],
    }
}

fn op(value: &Value) -> AugmentOp {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn every_operation_is_torchvisions_on_pillow_images_to_the_bit() {
    let (fixture, record) = fixture();
    let mut seen = HashSet::new();
    let mut wrong = Vec::new();
    for case in record["cases"].as_array().unwrap() {
        let [name, index, kind, magnitude, fill] = &case.as_array().unwrap()[..] else {
            panic!("{case}");
        };
        let image = source(&fixture, name.as_str().unwrap());
        let (op, fill) = (op(kind), fill.as_u64().unwrap() as u8);
        let found = op.apply(&image, magnitude.as_f64().unwrap(), fill).unwrap();
        let (shape, results) = fixture.bytes(&format!("result.{}", name.as_str().unwrap()));
        assert_eq!([found.height, found.width, found.channels], shape[1..]);
        let index = index.as_u64().unwrap() as usize;
        let expected = results.chunks_exact(found.pixels.len()).nth(index);
        if Some(&found.pixels[..]) != expected {
            wrong.push(case.to_string());
        }
        seen.insert((op, image.channels));
    }
    assert!(wrong.is_empty(), "{} differ: {wrong:#?}", wrong.len());
    assert_eq!(seen.len(), 2 * AugmentOp::ALL.len());
}

#[test]
fn strengths_are_torchvisions() {
    let (_, record) = fixture();
    for case in record["strengths"].as_array().unwrap() {
        let number = |key: &str| case[key].as_u64().unwrap() as usize;
        let (op, values) = (op(&case["op"]), case["values"].as_array().unwrap());
        assert_eq!(op.is_signed(), case["signed"].as_bool().unwrap(), "{case}");
        for (index, expected) in values.iter().enumerate() {
            let expected = expected.as_f64().unwrap();
            let found = op.magnitude(index, number("bins"), number("height"), number("width"));
            // torch sums in vectors of the machine's width, so the last bits of f32 vary.
            assert!(
                (found - expected).abs() <= 3e-7 * expected,
                "{found} in {case}"
            );
        }
    }
}

/// How often each sequence of operations is drawn.
fn counts(
    draw: impl Fn(&mut Draws) -> Vec<(AugmentOp, f64)>,
    times: u64,
) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for index in 0..times {
        let drawn = draw(&mut Draws::for_image(5, 0, index));
        *counts.entry(format!("{drawn:?}")).or_insert(0) += 1;
    }
    counts
}

/// Adds the signs that a magnitude may have, with their probabilities.
fn with_signs(op: AugmentOp, magnitude: f64) -> Vec<((AugmentOp, f64), f64)> {
    match op.is_signed() {
        true => vec![((op, magnitude), 0.5), ((op, -magnitude), 0.5)],
        false => vec![((op, magnitude), 1.0)],
    }
}

#[track_caller]
fn check_counts(found: &BTreeMap<String, usize>, expected: &BTreeMap<String, f64>, times: f64) {
    for (drawn, probability) in expected {
        let (count, mean) = (
            found.get(drawn).copied().unwrap_or(0) as f64,
            probability * times,
        );
        let deviation = (mean * (1.0 - probability)).sqrt();
        assert!(
            (count - mean).abs() <= 5.0 * deviation,
            "{drawn}: {count}, expected {mean}"
        );
    }
    for drawn in found.keys() {
        assert!(expected.contains_key(drawn), "{drawn} must not be drawn");
    }
    let sum: f64 = expected.values().sum();
    assert!((sum - 1.0).abs() < 1e-9);
}

#[test]
fn auto_augment_draws_every_pair_of_the_policy_with_its_probabilities_strengths_and_signs() {
    let (_, record) = fixture();
    let mut expected = BTreeMap::new();
    for pair in record["cifar10"].as_array().unwrap() {
        let mut sequences = vec![(Vec::new(), 1.0 / 25.0)];
        for step in pair.as_array().unwrap() {
            let (op, chance) = (op(&step[0]), step[1].as_f64().unwrap());
            let magnitude = op.magnitude(step[2].as_u64().unwrap() as usize, 10, 32, 48);
            let mut next = Vec::new();
            for (sequence, probability) in sequences {
                next.push((sequence.clone(), probability * (1.0 - chance)));
                for (step, sign) in with_signs(op, magnitude) {
                    let longer = [&sequence[..], &[step]].concat();
                    next.push((longer, probability * chance * sign));
                }
            }
            sequences = next;
        }
        for (sequence, probability) in sequences {
            *expected.entry(format!("{sequence:?}")).or_insert(0.0) += probability;
        }
    }
    expected.retain(|_, probability| *probability > 0.0);
    let found = counts(|draws| AUTO.draw(32, 48, draws), 200_000);
    check_counts(&found, &expected, 200_000.0);
}

#[test]
fn rand_augment_draws_each_operation_but_invert_equally_often_at_its_strength() {
    let mut expected = BTreeMap::new();
    for op in AugmentOp::ALL {
        if op != AugmentOp::Invert {
            for (step, sign) in with_signs(op, op.magnitude(9, 31, 32, 48)) {
                expected.insert(format!("{:?}", [step]), sign / 14.0);
            }
        }
    }
    let one = RandAugment { num_ops: 1, ..RAND };
    let found = counts(|draws| one.draw(32, 48, draws), 50_000);
    check_counts(&found, &expected, 50_000.0);
    let two = RAND.draw(32, 48, &mut Draws::for_image(5, 0, 1));
    assert_eq!(two.len(), 2);
}

#[test]
fn in_a_pipeline_the_drawn_operations_are_done_in_turn() {
    let (fixture, _) = fixture();
    for name in ["noise", "grey"] {
        let image = source(&fixture, name);
        for index in 0..200 {
            let draws = || Draws::for_image(9, 0, index);
            let (height, width) = (image.height, image.width);
            let steps = [
                (
                    Transform::AutoAugment(AUTO),
                    AUTO.draw(height, width, &mut draws()),
                ),
                (
                    Transform::RandAugment(RAND),
                    RAND.draw(height, width, &mut draws()),
                ),
            ];
            for (transform, drawn) in steps {
                let mut expected = image.clone();
                for (op, magnitude) in drawn {
                    expected = op.apply(&expected, magnitude, 0).unwrap();
                }
                let pipeline = Pipeline::new(vec![transform]).unwrap();
                let found = pipeline.apply(&image, &mut draws()).unwrap();
                let found = found.permute((1, 2, 0)).unwrap().flatten_all().unwrap();
                let found = found.to_vec1::<f32>().unwrap();
                let bytes = found.iter().map(|v| (v * 255.0).round() as u8);
                assert!(bytes.eq(expected.pixels.iter().copied()), "{name} {index}");
            }
        }
    }
}

#[test]
fn augmentation_is_random_and_its_settings_are_checked() {
    assert!(Transform::AutoAugment(AUTO).is_random() && Transform::RandAugment(RAND).is_random());
    let refused = |augment| {
        let made = Pipeline::new(vec![Transform::RandAugment(augment)]);
        made.unwrap_err().to_string()
    };
    assert_eq!(
        refused(RandAugment { num_ops: 0, ..RAND }),
        "`rand_augment.num_ops`: expected 1 to 100, got 0"
    );
    assert_eq!(
        refused(RandAugment {
            magnitude: 31,
            ..RAND
        }),
        "`rand_augment.magnitude`: expected less than num_magnitude_bins = 31, got 31"
    );
    assert_eq!(
        refused(RandAugment {
            num_magnitude_bins: 1,
            ..RAND
        }),
        "`rand_augment.num_magnitude_bins`: expected at least 2, got 1"
    );
    let text = r#"{"kind":"auto_augment","policy":"cifar10","fill":0}"#;
    let read: Transform = serde_json::from_str(text).unwrap();
    assert_eq!(read, Transform::AutoAugment(AUTO));
    let text = r#"{"kind":"rand_augment","num_ops":2,"magnitude":9,"num_magnitude_bins":31}"#;
    let error = serde_json::from_str::<Transform>(text)
        .unwrap_err()
        .to_string();
    assert!(error.contains("missing field `fill`"), "{error}");
    let image = Image {
        pixels: vec![0; 4].into(),
        height: 2,
        width: 2,
        channels: 1,
    };
    for (op, magnitude) in [(AugmentOp::Posterize, 9.0), (AugmentOp::ShearX, f64::NAN)] {
        let error = op.apply(&image, magnitude, 0).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("`magnitude`: of {op:?}: out of range: {magnitude}")
        );
    }
}
