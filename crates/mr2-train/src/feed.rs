//! The batches of training: the loader's, or, where the model is on a GPU, its images are few enough to lie there and no more is
//! done to them than flips and one crop, windows of those. Both are the same to the bit; the second uploads no image.

use candle_core::{Device, Tensor};
use mr2_data::{Batch, Loader, WindowBatch, Windows};
use mr2_nn::ops::{ImageWindow, image_windows};

use crate::error::{Error, Result};

/// The most bytes of images that are held on a device: seven times CIFAR's.
const SMALL: usize = 1 << 30;

pub(crate) enum Feed<'a> {
    /// Made by the loader, on the CPU.
    Loader(&'a Loader),
    /// Made on the device.
    Held(Held<'a>),
}

/// The images of a set on the device, and what its loader shows of them.
#[derive(Clone)]
pub(crate) struct Held<'a> {
    windows: Windows<'a>,
    images: Tensor,
    tables: Tensor,
}

impl<'a> Feed<'a> {
    pub(crate) fn new(loader: &'a Loader, device: &Device) -> Result<Self> {
        let small = |windows: &Windows<'_>| device.is_cuda() && windows.bytes() <= SMALL;
        match loader.windows().filter(small) {
            None => Ok(Self::Loader(loader)),
            Some(windows) => Ok(Self::Held(Held::new(windows, device)?)),
        }
    }

    /// The batches of an epoch from `first_batch` on, as [`Loader::epoch`] gives them.
    pub(crate) fn epoch(
        &self,
        epoch: u64,
        first_batch: usize,
    ) -> Box<dyn Iterator<Item = Result<Batch>> + 'a> {
        match self {
            Self::Loader(loader) => {
                let batches = loader.epoch(epoch, first_batch);
                Box::new(batches.map(|batch| batch.map_err(Error::from)))
            }
            Self::Held(held) => {
                let batches = held.windows.epoch(epoch, first_batch);
                let held = held.clone();
                Box::new(batches.map(move |batch| held.batch(batch?)))
            }
        }
    }
}

impl<'a> Held<'a> {
    fn new(windows: Windows<'a>, device: &Device) -> Result<Self> {
        Ok(Self {
            images: windows.images()?.to_device(device)?,
            tables: windows.tables()?.to_device(device)?,
            windows,
        })
    }

    fn batch(&self, batch: WindowBatch) -> Result<Batch> {
        let own = batch.indices.iter().zip(&batch.windows);
        let windows: Vec<ImageWindow> = own
            .map(|(&image, window)| ImageWindow {
                image,
                top: window.top,
                left: window.left,
                mirrored: window.mirrored,
            })
            .collect();
        let [height, width] = self.windows.size();
        Ok(Batch {
            images: image_windows(&self.images, &self.tables, &windows, height, width)?,
            labels: batch.labels,
            indices: batch.indices,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use super::*;
    use mr2_data::{ImageSet, LoaderConfig, Pipeline, Sampler, Source, Split, Transform};

    const SIDE: usize = 9;

    fn loader(channels: usize, transforms: Vec<Transform>, sampler: Sampler) -> Loader {
        let images = 23;
        let bytes = (0..images * SIDE * (SIDE + 1) * channels).map(|i| (i * 89 % 251) as u8);
        let source = Source::Memory {
            pixels: bytes.collect(),
            height: SIDE,
            width: SIDE + 1,
            channels,
        };
        let classes = ["a", "b", "c"].map(String::from).to_vec();
        let labels = (0..images as u32).map(|i| i * i % 3).collect();
        let all = ImageSet::new("noise", Split::Train, classes, labels, source).unwrap();
        let some: Vec<u32> = (0..images as u32).rev().filter(|i| i % 5 != 0).collect();
        let set = all.subset(Split::Train, &some).unwrap();
        let config = LoaderConfig {
            images_per_batch: 4,
            sampler,
            seed: 3,
            workers: 0,
            drop_last: false,
        };
        let pipeline = Pipeline::new(transforms).unwrap();
        Loader::new(Arc::new(set), pipeline, config, &Device::Cpu).unwrap()
    }

    fn normalize(channels: usize) -> Transform {
        Transform::Normalize {
            mean: (0..channels).map(|c| 0.4 + 0.05 * c as f64).collect(),
            std: vec![0.25; channels],
        }
    }

    /// Every batch of two epochs, to the bit.
    #[track_caller]
    fn same(channels: usize, transforms: Vec<Transform>, sampler: Sampler) {
        let loader = loader(channels, transforms, sampler);
        let windows = loader.windows().expect("windows");
        let held = Feed::Held(Held::new(windows, &Device::Cpu).unwrap());
        for (epoch, first) in [(0, 0), (7, 2)] {
            let expected: Vec<Batch> = loader.epoch(epoch, first).map(|b| b.unwrap()).collect();
            let found: Vec<Batch> = held.epoch(epoch, first).map(|b| b.unwrap()).collect();
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                assert_eq!(found.labels, expected.labels);
                assert_eq!(found.indices, expected.indices);
                assert_eq!(found.images.dims(), expected.images.dims());
                let bits = |batch: &Batch| -> Vec<u32> {
                    let values = batch.images.flatten_all().unwrap().to_vec1::<f32>();
                    values.unwrap().into_iter().map(f32::to_bits).collect()
                };
                assert_eq!(bits(found), bits(expected));
            }
        }
    }

    #[test]
    fn held_images_give_the_loaders_batches_to_the_bit() {
        let crop = |size, padding| Transform::RandomCrop { size, padding };
        let flip = |p| Transform::HorizontalFlip { p };
        let centre = |size| Transform::CentreCrop { size };
        let shuffled = || Sampler::Shuffled;
        same(1, vec![crop(8, 4), flip(0.5), normalize(1)], shuffled());
        same(3, vec![crop(12, 2), flip(0.5), normalize(3)], shuffled());
        same(3, vec![flip(0.5), crop(9, 3), flip(0.5)], shuffled());
        same(3, vec![flip(0.5), centre(6), normalize(3)], shuffled());
        same(1, vec![centre(13), flip(1.0)], Sampler::Sequential);
        same(1, vec![], shuffled());
    }

    #[test]
    fn held_images_follow_the_sampler() {
        let transforms = || {
            vec![
                Transform::RandomCrop {
                    size: 9,
                    padding: 2,
                },
                normalize(3),
            ]
        };
        let balanced = Sampler::ClassBalanced {
            classes_per_batch: 2,
            images_per_class: 2,
        };
        same(3, transforms(), balanced);
        same(3, transforms(), Sampler::Resampled {});
    }

    #[test]
    fn other_pipelines_and_the_cpu_have_the_loaders_own() {
        let twice = Transform::CentreCrop { size: 6 };
        let resized = Transform::ResizeShortSide {
            size: 12,
            interpolation: mr2_data::Interpolation::Bilinear,
        };
        for transforms in [vec![twice.clone(), twice], vec![resized]] {
            assert!(loader(1, transforms, Sampler::Shuffled).windows().is_none());
        }
        let simple = loader(1, vec![], Sampler::Shuffled);
        assert!(simple.windows().is_some());
        let feed = Feed::new(&simple, &Device::Cpu).unwrap();
        assert!(matches!(feed, Feed::Loader(_)));
    }

    #[test]
    fn a_crop_that_does_not_fit_is_the_loaders_error() {
        let transforms = vec![Transform::RandomCrop {
            size: 40,
            padding: 1,
        }];
        let loader = loader(1, transforms, Sampler::Shuffled);
        let held = Held::new(loader.windows().unwrap(), &Device::Cpu).unwrap();
        let found = Feed::Held(held).epoch(0, 0).next().unwrap().unwrap_err();
        let expected = loader.epoch(0, 0).next().unwrap().unwrap_err();
        assert_eq!(found.to_string(), Error::from(expected).to_string());
    }
}
