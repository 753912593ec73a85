//! Image files of every kind against Pillow's `convert("RGB")` and `convert("L")`.

use crate::fixtures::Fixture;
use mr2_data::{Error, Image, ImageSet, Source, Split};

/// One image, decoded to `channels` channels.
fn decode(file: Vec<u8>, channels: usize) -> Result<Image<'static>, Error> {
    let files = vec![file];
    let source = Source::Encoded { files, channels };
    let classes = vec!["only".to_string()];
    let set = ImageSet::new("one", Split::Test, classes, vec![0], source)?;
    let image = set.image(0)?;
    Ok(Image {
        pixels: image.pixels.into_owned().into(),
        ..image
    })
}

/// Levels that a channel may be from Pillow's; `None` for what is refused here.
fn allowed(name: &str) -> Option<u8> {
    match name {
        "tiff.palette" => None,
        // The decoder converts with other rounding.
        "tiff.cmyk" => Some(1),
        // The inverse transform rounds elsewhere, and the conversion of colours makes more of it.
        "jpeg.grey" | "jpeg.cmyk" | "jpeg.cmyk_without_adobe" | "jpeg.stored_as_rgb" => Some(1),
        // Colour at half the size is scaled up in two steps, each rounded.
        "jpeg.restarts" | "jpeg.progressive_420" => Some(3),
        _ if name.starts_with("jpeg.42") => Some(3),
        _ if name.starts_with("jpeg.") => Some(2),
        _ => Some(0),
    }
}

#[test]
fn every_kind_of_file_is_what_pillow_makes_of_it() {
    let fixture = Fixture::open("decode.safetensors");
    let record = fixture.record();
    let names: Vec<&String> = record["modes"].as_object().unwrap().keys().collect();
    assert!(names.len() >= 60, "{} files", names.len());
    for name in names {
        for (kind, channels) in [("rgb", 3), ("grey", 1)] {
            let (_, file) = fixture.bytes(&format!("file.{name}"));
            let (shape, expected) = fixture.bytes(&format!("{kind}.{name}"));
            let Some(allowed) = allowed(name) else {
                let message = decode(file, channels).unwrap_err().to_string();
                assert!(message.contains("does not support"), "{name}: {message}");
                continue;
            };
            let image = decode(file, channels).unwrap();
            assert_eq!(
                [image.height, image.width, image.channels],
                shape[..],
                "{name}"
            );
            let pairs = image.pixels.iter().zip(&expected);
            let furthest = pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            assert!(
                furthest <= allowed,
                "{kind} of {name}: {furthest} levels from Pillow"
            );
        }
    }
}

/// The mean over all pixels tells an unbiased rounding from a wrong conversion.
#[test]
fn jpegs_are_a_fraction_of_a_level_from_pillows_on_average() {
    let fixture = Fixture::open("decode.safetensors");
    let record = fixture.record();
    for name in record["modes"].as_object().unwrap().keys() {
        let (_, file) = fixture.bytes(&format!("file.{name}"));
        if name.starts_with("jpeg.") {
            let (_, expected) = fixture.bytes(&format!("rgb.{name}"));
            let image = decode(file, 3).unwrap();
            let pairs = image.pixels.iter().zip(&expected);
            let sum: f64 = pairs.map(|(a, b)| f64::from(a.abs_diff(*b))).sum();
            let mean = sum / expected.len() as f64;
            assert!(mean < 0.5, "{name}: {mean} levels from Pillow on average");
        }
    }
}

#[test]
fn a_jpeg_that_is_cut_off_anywhere_is_an_error() {
    let fixture = Fixture::open("decode.safetensors");
    for name in [
        "jpeg.420_75",
        "jpeg.progressive_420",
        "jpeg.restarts",
        "jpeg.exif_rotated",
    ] {
        let (_, file) = fixture.bytes(&format!("file.{name}"));
        for length in (0..file.len()).step_by(7).chain(file.len() - 2..file.len()) {
            let cut = decode(file[..length].to_vec(), 3);
            assert!(
                cut.is_err(),
                "{name} decodes from {length} of {} bytes",
                file.len()
            );
        }
        // What follows the end is no part of the image.
        let longer = [file.clone(), vec![0; 9], file.clone()].concat();
        assert_eq!(decode(longer, 3).unwrap(), decode(file, 3).unwrap());
    }
}
