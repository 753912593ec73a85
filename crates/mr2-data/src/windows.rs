//! Batches as windows of images that are held somewhere else, such as in a GPU's memory: which image each is of, and what is seen
//! of it. With a table of what each byte becomes, that is all that it takes to make the batches of a [`Loader`].

use crate::epoch::Job;
use crate::error::Result;
use crate::loader::{Loader, Recipe};
use crate::transforms::{Window, are_windows, window_size};
use candle_core::{Device, Tensor};

/// Images and labels of one step, the images as windows of those in [`Windows::images`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowBatch {
    /// What is seen of each image.
    pub windows: Vec<Window>,
    /// The label of each image.
    pub labels: Vec<u32>,
    /// The position of each image in the set.
    pub indices: Vec<u32>,
}

/// A loader whose pipeline is flips and at most one crop of images of one size, in memory as bytes.
///
/// ```
/// use mr2_data::candle_core::Device;
/// use mr2_data::{ImageSet, Loader, Pipeline, Source, Split, Transform};
/// use std::sync::Arc;
///
/// let source = Source::Memory { pixels: vec![9; 2 * 6 * 6], height: 6, width: 6, channels: 1 };
/// let classes = vec!["a".to_string()];
/// let set = ImageSet::new("two", Split::Test, classes, vec![0, 0], source)?;
/// let pipeline = Pipeline::new(vec![Transform::CentreCrop { size: 4 }])?;
/// let loader = Loader::for_evaluation(Arc::new(set), pipeline, 2, 0, &Device::Cpu)?;
///
/// let windows = loader.windows().expect("one crop of images in memory");
/// assert_eq!(windows.images()?.dims(), [2, 6, 6, 1]);
/// assert_eq!(windows.size(), [4, 4]);
/// let batch = windows.epoch(0, 0).next().expect("one batch")?;
/// assert_eq!((batch.windows[1].top, batch.windows[1].left), (1, 1));
/// assert_eq!(batch.indices, [0, 1]);
/// # Ok::<(), mr2_data::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Windows<'a> {
    loader: &'a Loader,
    /// (channels, height, width) of the images.
    shape: [usize; 3],
}

impl<'a> Windows<'a> {
    pub(crate) fn of(loader: &'a Loader) -> Option<Self> {
        let shape = loader.set().image_shape()?;
        are_windows(loader.transforms()).then_some(Windows { loader, shape })
    }

    /// Bytes of the set's images.
    pub fn bytes(&self) -> usize {
        self.loader.set().len() * self.shape.iter().product::<usize>()
    }

    /// The set's images, (image, height, width, channel) in bytes, on the CPU.
    ///
    /// # Errors
    /// Only Candle's own.
    pub fn images(&self) -> Result<Tensor> {
        let (set, [channels, height, width]) = (self.loader.set(), self.shape);
        let mut pixels = Vec::with_capacity(self.bytes());
        for index in 0..set.len() {
            pixels.extend_from_slice(&set.image(index)?.pixels);
        }
        let shape = (set.len(), height, width, channels);
        Ok(Tensor::from_vec(pixels, shape, &Device::Cpu)?)
    }

    /// Rows and columns of every window.
    pub fn size(&self) -> [usize; 2] {
        let [_, height, width] = self.shape;
        window_size(self.loader.transforms(), [height, width])
    }

    /// What each byte becomes, (channel, byte) in f32, on the CPU.
    ///
    /// # Errors
    /// Only Candle's own.
    pub fn tables(&self) -> Result<Tensor> {
        let tables = self.loader.recipe().pipeline.tables(self.shape[0]);
        let shape = (tables.len(), tables[0].len());
        Ok(Tensor::from_slice(&tables.concat(), shape, &Device::Cpu)?)
    }

    /// What [`Loader::epoch`] gives, as windows; each is made when it is asked for.
    pub fn epoch(
        &self,
        epoch: u64,
        first_batch: usize,
    ) -> impl Iterator<Item = Result<WindowBatch>> + use<> {
        let (job, [_, height, width]) = (self.loader.job(epoch), self.shape);
        let batches = first_batch..self.loader.batches_per_epoch();
        batches.map(move |number| job.windows(number, [height, width]))
    }
}

impl Job {
    /// Of images of so many rows and columns.
    fn windows(&self, number: usize, image: [usize; 2]) -> Result<WindowBatch> {
        let Recipe { set, pipeline, .. } = &*self.recipe;
        let transforms = pipeline.transforms();
        let places = self.places(number);
        let indices = self.order[places.clone()].to_vec();
        let label = |&index: &u32| set.label(index as usize);
        let window = |place: usize| {
            let window = Window::of(transforms, image, &mut self.draws(place)?);
            let name = || set.image_name(self.order[place] as usize);
            window.map_err(|misfit| misfit.of(name()))
        };
        Ok(WindowBatch {
            windows: places.map(window).collect::<Result<_>>()?,
            labels: indices.iter().map(label).collect::<Result<_>>()?,
            indices,
        })
    }
}
