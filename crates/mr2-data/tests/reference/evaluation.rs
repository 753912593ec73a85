//! Evaluation transforms of pretrained models against timm, torchvision and open_clip, to the bit.

use crate::fixtures::Fixture;
use mr2_data::{
    Draws, EvaluationGeometry, Image, Interpolation, Pipeline, RandomResizedCrop,
    evaluation_transforms,
};
use serde_json::Value;
use std::borrow::Cow;

const MEAN: [f64; 3] = [0.485, 0.456, 0.406];
const STD: [f64; 3] = [0.229, 0.224, 0.225];

fn source(fixture: &Fixture, case: &Value) -> Image<'static> {
    let name = format!("source.{}", case["source"].as_str().unwrap());
    let (shape, pixels) = fixture.bytes(&name);
    Image {
        pixels: Cow::Owned(pixels),
        height: shape[0],
        width: shape[1],
        channels: shape[2],
    }
}

fn number(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

fn pair(value: &Value) -> [f64; 2] {
    [0, 1].map(|at| value[at].as_f64().unwrap())
}

fn geometry(case: &Value) -> Option<EvaluationGeometry> {
    let size = number(&case["size"]);
    Some(match case["kind"].as_str()? {
        "short_side" => EvaluationGeometry::ShortSide {
            resize: number(&case["resize"]),
            size,
        },
        "timm" => EvaluationGeometry::CropShare {
            size,
            crop_pct: case["crop_pct"].as_f64()?,
        },
        _ => EvaluationGeometry::Whole { size },
    })
}

#[test]
fn evaluation_transforms_give_the_numbers_of_timm_torchvision_and_open_clip() {
    let fixture = Fixture::open("evaluation.safetensors");
    let cases = fixture.record()["cases"].as_array().unwrap().clone();
    let mut seen = 0;
    for case in cases.iter().filter(|case| case["kind"] != "crop_once") {
        let interpolation: Interpolation =
            serde_json::from_value(case["interpolation"].clone()).unwrap();
        let geometry = geometry(case).unwrap();
        let transforms = evaluation_transforms(geometry, interpolation, &MEAN, &STD).unwrap();
        let pipeline = Pipeline::new(transforms).unwrap();
        let image = source(&fixture, case);
        let found = pipeline
            .apply(&image, &mut Draws::for_image(0, 0, 0))
            .unwrap();
        let size = number(&case["size"]);
        assert_eq!(found.dims(), [3, size, size], "{case}");
        let found = found.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(
            found,
            fixture.floats(case["name"].as_str().unwrap()),
            "{case}"
        );
        seen += 1;
    }
    assert_eq!(seen, 32);
}

#[test]
fn a_share_that_is_not_one_is_refused() {
    for crop_pct in [0.0, -0.5, 1.01, f64::NAN] {
        let geometry = EvaluationGeometry::CropShare { size: 8, crop_pct };
        let transforms = evaluation_transforms(geometry, Interpolation::Bicubic, &MEAN, &STD);
        let message = transforms.unwrap_err().to_string();
        let expected = format!("`crop_pct`: expected above 0 and up to 1, got {crop_pct}");
        assert_eq!(message, expected);
    }
}

#[test]
fn a_crop_of_one_draw_is_that_of_mae() {
    let fixture = Fixture::open("evaluation.safetensors");
    let cases = fixture.record()["cases"].as_array().unwrap().clone();
    let mut cut = 0;
    for case in cases.iter().filter(|case| case["kind"] == "crop_once") {
        let image = source(&fixture, case);
        let crop = RandomResizedCrop {
            size: 12,
            scale: pair(&case["scale"]),
            ratio: pair(&case["ratio"]),
            interpolation: Interpolation::Bicubic,
        };
        let uniforms = case["uniforms"].as_array().unwrap();
        let mut uniforms = uniforms.iter().map(|v| v.as_f64().unwrap());
        let found = crop.crop_box_once(image.height, image.width, || uniforms.next().unwrap());
        let expected: Vec<usize> = case["box"].as_array().unwrap().iter().map(number).collect();
        let found = [found.top, found.left, found.height, found.width];
        assert_eq!(found, expected[..], "{case}");
        cut += usize::from(found[2] == image.height || found[3] == image.width);
    }
    assert!(cut >= 10, "few rectangles were cut to the image: {cut}");
}
