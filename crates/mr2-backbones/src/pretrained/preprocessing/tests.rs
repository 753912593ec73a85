//! Published configurations mean what the libraries that wrote them make of them.
use super::*;

#[derive(Deserialize)]
struct Case {
    kind: String,
    name: String,
    config: String,
    expected: Expected,
}

#[derive(Deserialize)]
struct Expected {
    /// Width and height of an image of 500 x 375 pixels before the crop.
    resized: [usize; 2],
    cropped: [usize; 2],
    filter: Interpolation,
    mean: [f64; 3],
    std: [f64; 3],
}

fn kind(name: &str) -> ConfigKind {
    match name {
        "timm" => ConfigKind::Timm,
        "open_clip" => ConfigKind::OpenClip,
        "transformers" => ConfigKind::Transformers,
        other => panic!("{other}"),
    }
}

#[test]
fn configurations_are_read_as_their_libraries_read_them() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("published.json")).unwrap();
    assert!(cases.len() > 15);
    for case in cases {
        let read = Preprocessing::from_config(kind(&case.kind), &case.config).unwrap();
        let resized = match read.resize {
            Resize::Square => [read.crop; 2],
            Resize::ShortSide(side) => [500 * side / 375, side],
        };
        assert_eq!(resized, case.expected.resized, "{}", case.name);
        assert_eq!([read.crop; 2], case.expected.cropped, "{}", case.name);
        assert_eq!(read.interpolation, case.expected.filter, "{}", case.name);
        let near = |a: [f64; 3], b: [f64; 3]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-7);
        assert!(near(read.mean, case.expected.mean), "{}", case.name);
        assert!(near(read.std, case.expected.std), "{}", case.name);
    }
}

#[test]
fn what_is_missing_or_unsupported_is_named() {
    let refuse = |kind, text: &str, wanted: &str| {
        let error = Preprocessing::from_config(kind, text).unwrap_err();
        assert!(error.contains(wanted), "{error}");
    };
    refuse(ConfigKind::Timm, "{", "not valid JSON");
    refuse(ConfigKind::Timm, "{}", "`input_size` is missing");
    refuse(
        ConfigKind::Timm,
        r#"{"input_size": [3, 224, 256]}"#,
        "[3, side, side]",
    );
    let timm = r#"{"input_size": [3, 8, 8], "crop_pct": 0.9, "crop_mode": "border"}"#;
    refuse(ConfigKind::Timm, timm, "\"border\" isn't supported");
    refuse(
        ConfigKind::Timm,
        r#"{"input_size": [3, 8, 8], "crop_pct": 7}"#,
        "expected 0.1 to 1",
    );
    refuse(ConfigKind::OpenClip, "{}", "`preprocess_cfg` is missing");
    refuse(
        ConfigKind::Transformers,
        r#"{"resample": 1}"#,
        "expected 2 (bilinear) or 3 (bicubic)",
    );
    let sides = r#"{"resample": 2, "image_mean": [0, 0, 0], "image_std": [1, 1, 1], "size": {"height": 8, "width": 9}}"#;
    refuse(
        ConfigKind::Transformers,
        sides,
        "expected a square, got 8 x 9",
    );
    let mean = r#"{"resample": 2, "image_mean": [0, 0], "size": 8}"#;
    refuse(
        ConfigKind::Transformers,
        mean,
        "`image_mean`: expected three numbers",
    );
}

#[test]
fn another_image_size_changes_the_sides_in_proportion() {
    let read = Preprocessing {
        resize: Resize::ShortSide(256),
        interpolation: Interpolation::Bicubic,
        crop: 224,
        mean: [0.5; 3],
        std: [0.5; 3],
    };
    let larger = read.for_side(448);
    assert_eq!((larger.resize, larger.crop), (Resize::ShortSide(512), 448));
}
