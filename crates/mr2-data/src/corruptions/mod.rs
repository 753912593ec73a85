//! Common corruptions in the manner of Hendrycks & Dietterich (ICLR 2019, 1903.12261), made on the
//! fly: fifteen kinds at five severities, with the parameters and the arithmetic of CIFAR-10-C
//! (hendrycks/robustness ImageNet-C/create_c/make_cifar_c.py) for images of any size.
//!
//! Random numbers are our own, and three kinds are procedures of our own where the original calls
//! ImageMagick or reads photographs: `motion_blur`, `snow` (its streaks) and `frost`. JPEG is encoded
//! without the original's halving of the colour channels. So accuracies on these images are **not**
//! comparable with those on CIFAR-10-C itself; for that, read its files
//! ([`TestImages::CifarC`](crate::TestImages::CifarC)).

mod blur;
mod digital;
mod elastic;
mod filters;
mod noise;
mod raster;
mod severity;
mod weather;

use crate::error::{Error, Result};
use crate::random::{Draws, Purpose};
use crate::source::Image;
use crate::transforms::Canvas;
use raster::Raster;

/// A kind of corruption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Corruption {
    /// Normal noise on each byte.
    GaussianNoise,
    /// Photons counted: Poisson noise on each byte.
    ShotNoise,
    /// A share of the bytes black or white.
    ImpulseNoise,
    /// Out of focus: a small disk.
    DefocusBlur,
    /// Frosted glass: pixels exchanged with neighbours between two blurs.
    GlassBlur,
    /// The camera moved: weights that fall along a line of random direction. Ours, for ImageMagick's.
    MotionBlur,
    /// The camera came nearer: the mean of enlargements.
    ZoomBlur,
    /// Flakes in streaks. The streaks are ours, for ImageMagick's.
    Snow,
    /// A frozen window. A texture of ours, for the original's photographs.
    Frost,
    /// A plasma fractal.
    Fog,
    /// A higher HSV value.
    Brightness,
    /// Nearer to each channel's mean.
    Contrast,
    /// A random affine map and small displacements.
    ElasticTransform,
    /// Fewer pixels.
    Pixelate,
    /// JPEG of low quality; colour channels at full size, where the original's have half.
    JpegCompression,
}

impl Corruption {
    /// All kinds, in the order of the paper.
    pub const ALL: [Corruption; 15] = [
        Corruption::GaussianNoise,
        Corruption::ShotNoise,
        Corruption::ImpulseNoise,
        Corruption::DefocusBlur,
        Corruption::GlassBlur,
        Corruption::MotionBlur,
        Corruption::ZoomBlur,
        Corruption::Snow,
        Corruption::Frost,
        Corruption::Fog,
        Corruption::Brightness,
        Corruption::Contrast,
        Corruption::ElasticTransform,
        Corruption::Pixelate,
        Corruption::JpegCompression,
    ];

    /// The name in a configuration and of CIFAR-C's file.
    pub fn name(self) -> &'static str {
        match self {
            Corruption::GaussianNoise => "gaussian_noise",
            Corruption::ShotNoise => "shot_noise",
            Corruption::ImpulseNoise => "impulse_noise",
            Corruption::DefocusBlur => "defocus_blur",
            Corruption::GlassBlur => "glass_blur",
            Corruption::MotionBlur => "motion_blur",
            Corruption::ZoomBlur => "zoom_blur",
            Corruption::Snow => "snow",
            Corruption::Frost => "frost",
            Corruption::Fog => "fog",
            Corruption::Brightness => "brightness",
            Corruption::Contrast => "contrast",
            Corruption::ElasticTransform => "elastic_transform",
            Corruption::Pixelate => "pixelate",
            Corruption::JpegCompression => "jpeg_compression",
        }
    }
}

impl Draws {
    /// The draws that corrupt the image at `original_index` of the data set as released. They are the
    /// same at every severity, so that a higher one is more of the same.
    pub fn for_corruption(seed: u64, corruption: Corruption, original_index: u64) -> Self {
        Draws::new(Purpose::Corruption, seed, corruption as u64, original_index)
    }
}

/// Corrupts an image; sizes and channels stay.
///
/// # Errors
/// A severity outside 1..=5, or an image whose bytes are not those of its size.
pub fn corrupt(
    image: &Image,
    corruption: Corruption,
    severity: usize,
    draws: &mut Draws,
) -> Result<Image<'static>> {
    image.check()?;
    check_severity("severity", severity)?;
    let mut canvas = Canvas::default();
    canvas.load(image);
    apply(&mut canvas, corruption, severity, draws)
        .map_err(|reason| Error::config("image", reason))?;
    Ok(Image {
        pixels: canvas.pixels().to_vec().into(),
        height: canvas.height,
        width: canvas.width,
        channels: canvas.channels,
    })
}

pub(crate) fn check_severity(field: &'static str, severity: usize) -> Result<()> {
    match severity {
        1..=5 => Ok(()),
        _ => Err(Error::config(
            field,
            format!("expected 1 to 5, got {severity}"),
        )),
    }
}

/// The corruption of the canvas; `severity` is known to be 1 to 5.
pub(crate) fn apply(
    canvas: &mut Canvas,
    corruption: Corruption,
    severity: usize,
    draws: &mut Draws,
) -> std::result::Result<(), String> {
    let level = severity - 1;
    match corruption {
        Corruption::Pixelate => {
            digital::pixelate(canvas, severity::PIXELATE[level]);
            return Ok(());
        }
        Corruption::JpegCompression => return digital::jpeg(canvas, severity::JPEG[level]),
        _ => {}
    }
    let mut raster = Raster::of(canvas);
    let image = &mut raster;
    match corruption {
        Corruption::GaussianNoise => noise::gaussian(image, severity::GAUSSIAN[level], draws),
        Corruption::ShotNoise => noise::shot(image, severity::SHOT[level], draws),
        Corruption::ImpulseNoise => noise::impulse(image, severity::IMPULSE[level], draws),
        Corruption::DefocusBlur => blur::defocus(image, severity::DEFOCUS[level]),
        Corruption::GlassBlur => blur::glass(image, severity::GLASS[level], draws),
        Corruption::MotionBlur => blur::motion(image, severity::MOTION[level], draws),
        Corruption::ZoomBlur => blur::zoom(image, severity::ZOOM[level]),
        Corruption::Snow => weather::snow(image, &severity::SNOW[level], draws),
        Corruption::Frost => weather::frost(image, severity::FROST[level], draws),
        Corruption::Fog => weather::fog(image, severity::FOG[level], draws),
        Corruption::Brightness => digital::brightness(image, severity::BRIGHTNESS[level]),
        Corruption::Contrast => digital::contrast(image, severity::CONTRAST[level]),
        Corruption::ElasticTransform => elastic::warp(image, severity::ELASTIC[level], draws),
        Corruption::Pixelate | Corruption::JpegCompression => {} // done on bytes, above
    }
    raster.write(canvas);
    Ok(())
}
