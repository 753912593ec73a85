//! A list of transforms, checked once and applied to every image.

use super::normalize::{self, Tables};
use super::{Canvas, Misfit, Transform};
use crate::error::{Error, Result};
use crate::random::Draws;
use crate::source::Image;
use candle_core::{Device, Tensor};

/// Transforms in order, from bytes to numbers. Without `Normalize` the numbers are 0..=1.
#[derive(Debug, Clone)]
pub struct Pipeline {
    transforms: Vec<Transform>,
    /// Of `Normalize`.
    tables: Option<Tables>,
    /// Where there is none.
    plain: Tables,
}

impl Pipeline {
    /// Checks the transforms.
    ///
    /// # Errors
    /// A setting out of range, or a `Normalize` that is not the last step.
    pub fn new(transforms: Vec<Transform>) -> Result<Self> {
        let mut tables = None;
        for (index, transform) in transforms.iter().enumerate() {
            transform.validate()?;
            if let Transform::Normalize { mean, std } = transform {
                if index + 1 != transforms.len() {
                    let reason = format!(
                        "it is step {} of {}, expected last: the other \
                         steps work on bytes",
                        index + 1,
                        transforms.len()
                    );
                    return Err(Error::config("normalize", reason));
                }
                tables = Some(normalize::tables(mean, std));
            }
        }
        let plain = normalize::tables(&[0.0; 3], &[1.0; 3]);
        Ok(Pipeline {
            transforms,
            tables,
            plain,
        })
    }

    /// The steps.
    pub fn transforms(&self) -> &[Transform] {
        &self.transforms
    }

    /// Checks that images of so many channels can be normalised.
    pub(crate) fn check_channels(&self, channels: usize) -> Result<()> {
        match &self.tables {
            Some(tables) if tables.len() != channels => {
                let reason = format!(
                    "it has {} numbers, expected {channels}, the channels of the images",
                    tables.len()
                );
                Err(Error::config("normalize.mean", reason))
            }
            _ => Ok(()),
        }
    }

    /// Applies all steps to one image.
    ///
    /// # Shapes
    /// The result is (channels, height, width) in f32, on the CPU.
    ///
    /// # Errors
    /// A step that does not fit the image, as a crop larger than it; an image whose bytes are not
    /// those of its size.
    pub fn apply(&self, image: &Image, draws: &mut Draws) -> Result<Tensor> {
        image.check()?;
        self.check_channels(image.channels)?;
        let mut canvas = Canvas::default();
        canvas.load(image);
        self.run(&mut canvas, draws)
            .map_err(|misfit| misfit.of("the image".to_string()))?;
        let shape = (canvas.channels, canvas.height, canvas.width);
        let mut values = vec![0.0; canvas.pixels().len()];
        self.write(&canvas, &mut values);
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
    }

    /// The steps on bytes.
    pub(crate) fn run(
        &self,
        canvas: &mut Canvas,
        draws: &mut Draws,
    ) -> std::result::Result<(), Misfit> {
        self.transforms
            .iter()
            .try_for_each(|transform| transform.apply(canvas, draws))
    }

    /// What the last step makes of each byte, for each of so many channels, which [`Pipeline::check_channels`] accepts.
    pub(crate) fn tables(&self, channels: usize) -> &[[f32; 256]] {
        &self.tables.as_ref().unwrap_or(&self.plain)[..channels]
    }

    /// The last step, from bytes to numbers in (channel, height, width) order.
    pub(crate) fn write(&self, canvas: &Canvas, output: &mut [f32]) {
        normalize::write(canvas, self.tables(canvas.channels), output);
    }
}

impl Misfit {
    pub(crate) fn of(self, image: String) -> Error {
        Error::Transform {
            image,
            transform: self.transform,
            reason: self.reason,
        }
    }
}
