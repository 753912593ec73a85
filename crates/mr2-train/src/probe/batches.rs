//! Which images a step sees: shuffles that are functions of the seed and the epoch.

use mr2_nn::rng;

use super::config::EpochLength;
use crate::error::{Error, Result};

/// An image of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Drawn {
    /// How often all images were shuffled before: which view of the image is taken.
    pub(super) shuffle: u64,
    pub(super) image: u32,
}

/// The batches of a training.
pub(super) struct Batches {
    seed: u64,
    images: usize,
    per_batch: usize,
    /// Steps of an epoch, as schedules count them.
    pub(super) steps_per_epoch: u64,
    endless: bool,
    order: Option<(u64, Vec<u32>)>,
}

impl Batches {
    /// # Errors
    /// Too few images for one full batch, where batches must be full.
    pub(super) fn new(
        seed: u64,
        images: usize,
        per_batch: usize,
        length: EpochLength,
    ) -> Result<Self> {
        let steps = steps_per_epoch(images, per_batch, length)?;
        Ok(Self {
            seed,
            images,
            per_batch,
            steps_per_epoch: steps,
            endless: matches!(length, EpochLength::Steps { .. }),
            order: None,
        })
    }

    /// The images of a step, those of an earlier shuffle first.
    pub(super) fn batch(&mut self, step: u64) -> Vec<Drawn> {
        if self.endless {
            let first = step as usize * self.per_batch;
            return (first..first + self.per_batch)
                .map(|place| self.draw(place / self.images, place % self.images))
                .collect();
        }
        let shuffle = (step / self.steps_per_epoch) as usize;
        let first = (step % self.steps_per_epoch) as usize * self.per_batch;
        (first..(first + self.per_batch).min(self.images))
            .map(|place| self.draw(shuffle, place))
            .collect()
    }

    fn draw(&mut self, shuffle: usize, place: usize) -> Drawn {
        let shuffle = shuffle as u64;
        let image = match &self.order {
            Some((known, order)) if *known == shuffle => order[place],
            _ => {
                let order = order(self.seed, shuffle, self.images);
                let image = order[place];
                self.order = Some((shuffle, order));
                image
            }
        };
        Drawn { shuffle, image }
    }
}

/// # Errors
/// Too few images for one full batch, where batches must be full.
pub(super) fn steps_per_epoch(images: usize, per_batch: usize, length: EpochLength) -> Result<u64> {
    let steps = match length {
        EpochLength::FullBatches {} => images / per_batch,
        EpochLength::AllImages {} => images.div_ceil(per_batch),
        EpochLength::Steps { steps } => steps as usize,
    };
    match steps {
        0 => Err(Error::Config {
            key: "fit.images_per_batch",
            reason: format!(
                "the {images} training images don't fill a batch of {per_batch}, and this protocol drops short ones: \
                 choose at most {images} (and the learning rate to go with it)"
            ),
        }),
        steps => Ok(steps as u64),
    }
}

/// Images sorted by random numbers; of equal ones the first comes first.
fn order(seed: u64, epoch: u64, images: usize) -> Vec<u32> {
    let stream = rng::stream(seed, &format!("probe.epoch.{epoch}"));
    let mut order: Vec<u32> = (0..images as u32).collect();
    order.sort_by_cached_key(|&image| rng::hash(stream, u64::from(image)));
    order
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn drawn(length: EpochLength, steps: u64) -> Vec<Vec<Drawn>> {
        let mut batches = Batches::new(3, 10, 4, length).unwrap();
        (0..steps).map(|step| batches.batch(step)).collect()
    }

    fn seen(length: EpochLength, steps: u64) -> Vec<Vec<u32>> {
        let batches = drawn(length, steps).into_iter();
        let images = |batch: Vec<Drawn>| batch.iter().map(|drawn| drawn.image).collect();
        batches.map(images).collect()
    }

    #[test]
    fn every_shuffle_has_a_number_of_its_own() {
        let shuffles = |length| -> Vec<u64> {
            let batches = drawn(length, 5).concat();
            batches.iter().map(|drawn| drawn.shuffle).collect()
        };
        let whole = shuffles(EpochLength::Steps { steps: 2 });
        assert_eq!(whole, [[0; 10], [1; 10]].concat());
        let dropped = shuffles(EpochLength::FullBatches {});
        assert_eq!(dropped, [&[0; 8][..], &[1; 8], &[2; 4]].concat());
    }

    #[test]
    fn epochs_are_whole_and_endless_shuffles_have_no_border() {
        let all = seen(EpochLength::AllImages {}, 6);
        let sizes: Vec<usize> = all.iter().map(Vec::len).collect();
        assert_eq!(sizes, [4, 4, 2, 4, 4, 2]);
        for epoch in all.chunks(3) {
            let mut images = epoch.concat();
            images.sort_unstable();
            assert_eq!(images, (0..10).collect::<Vec<_>>());
        }
        assert_ne!(all[..3], all[3..]);
        let endless = seen(EpochLength::Steps { steps: 2 }, 5).concat();
        assert_eq!(endless, all.concat());
        let full = seen(EpochLength::FullBatches {}, 4);
        assert_eq!(full, [&all[..2], &all[3..5]].concat());
    }

    #[test]
    fn images_that_fill_no_batch_are_an_error_that_says_what_to_change() {
        let error = Batches::new(0, 3, 4, EpochLength::FullBatches {})
            .err()
            .unwrap();
        assert!(error.to_string().contains("choose at most 3"), "{error}");
    }
}
