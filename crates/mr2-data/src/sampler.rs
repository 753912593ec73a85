//! Which images come in which order: a function of labels, seed and epoch.

use crate::error::{Error, Result};
use crate::image_set::ImageSet;
use crate::random::{Draws, Purpose};
use std::collections::VecDeque;

/// The order of an epoch.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Sampler {
    /// The order of the set.
    Sequential,
    /// Every image once, in an order of its own each epoch.
    Shuffled,
    /// Class-balanced re-sampling: as many draws, with replacement, as the set has images, each image with a
    /// probability proportional to the inverse of its class's count. Classes with images are thus equally
    /// likely. Each draw is augmented in its own way, also of an image that an epoch draws many times.
    /// Where all classes with images have equally many, nothing is re-sampled: a [`Loader`](crate::Loader)
    /// makes the batches of [`Sampler::Shuffled`].
    ///
    /// Source: the `Resample` rule of kaidic/LDAM-DRW (`ImbalancedDatasetSampler` in utils.py). Its weights are
    /// the inverse of the effective number (1 − βⁿ)/(1 − β) with β = 0.9999 instead of n, which draws a class of
    /// 500 images 2.5 % more often against one of 5 than the inverse count does.
    Resampled {},
    /// Every batch has `images_per_class` different images of each of `classes_per_batch` classes.
    /// Classes take turns, so that small classes come as often as large ones, and so do the images of
    /// a class within an epoch; classes without images are left out. An epoch has as many batches as
    /// are needed to draw as many images as the set has, rounded down.
    ClassBalanced {
        /// Classes in a batch.
        classes_per_batch: usize,
        /// Images of each.
        images_per_class: usize,
    },
}

impl Sampler {
    /// Checks the sampler against a set and a batch size.
    pub(crate) fn validate(&self, set: &ImageSet, images_per_batch: usize) -> Result<()> {
        let Sampler::ClassBalanced {
            classes_per_batch,
            images_per_class,
        } = self
        else {
            return Ok(());
        };
        let (classes, images) = (*classes_per_batch, *images_per_class);
        if classes.checked_mul(images) != Some(images_per_batch) {
            let reason = format!(
                "expected classes_per_batch x images_per_class = {classes} x {images}, got \
                 {images_per_batch}"
            );
            return Err(Error::config("images_per_batch", reason));
        }
        let counts = set.counts();
        let present = counts.iter().filter(|&&count| count > 0).count();
        if classes > present {
            let reason = format!(
                "expected at most the {present} classes of {}, got {classes}",
                set.name()
            );
            return Err(Error::config("classes_per_batch", reason));
        }
        match counts.iter().position(|&count| count > 0 && count < images) {
            Some(class) => Err(Error::ClassTooSmall {
                set: set.name().to_string(),
                class: set.classes()[class].clone(),
                found: counts[class],
                needed: images,
                field: "images_per_class",
            }),
            None => Ok(()),
        }
    }

    /// What it comes to on classes of these counts: re-sampling balanced data is plain shuffling.
    pub(crate) fn on(self, counts: &[usize]) -> Self {
        let mut present = counts.iter().filter(|&&count| count > 0);
        let first = present.next();
        match self {
            Sampler::Resampled {} if present.all(|count| Some(count) == first) => Sampler::Shuffled,
            other => other,
        }
    }

    /// Whether an image that an epoch draws again is augmented anew.
    pub(crate) fn augments_each_draw(&self) -> bool {
        matches!(self, Sampler::Resampled {})
    }

    /// The images of an epoch, batch after batch.
    pub(crate) fn order(&self, labels: &[u32], seed: u64, epoch: u64) -> Vec<u32> {
        let mut draws = Draws::new(Purpose::Order, seed, epoch, 0);
        match self {
            Sampler::Sequential => (0..labels.len() as u32).collect(),
            Sampler::Shuffled => {
                let mut order: Vec<u32> = (0..labels.len() as u32).collect();
                draws.shuffle(&mut order);
                order
            }
            Sampler::Resampled {} => resampled(labels, &mut draws),
            Sampler::ClassBalanced {
                classes_per_batch,
                images_per_class,
            } => balanced(labels, *classes_per_batch, *images_per_class, &mut draws),
        }
    }
}

/// A class, each as likely, and then an image of it, each as likely: proportional to the inverse count.
fn resampled(labels: &[u32], draws: &mut Draws) -> Vec<u32> {
    let by_class = images_by_class(labels);
    labels
        .iter()
        .map(|_| {
            let of_class = &by_class[draws.below(by_class.len())];
            of_class[draws.below(of_class.len())]
        })
        .collect()
}

/// The images of every class that has any.
fn images_by_class(labels: &[u32]) -> Vec<Vec<u32>> {
    let mut by_class: Vec<Vec<u32>> = Vec::new();
    for (index, &label) in labels.iter().enumerate() {
        let class = label as usize;
        by_class.resize_with(by_class.len().max(class + 1), Vec::new);
        by_class[class].push(index as u32);
    }
    by_class.retain(|indices| !indices.is_empty());
    by_class
}

fn balanced(labels: &[u32], classes: usize, images: usize, draws: &mut Draws) -> Vec<u32> {
    let by_class = images_by_class(labels);
    let mut class_turns = VecDeque::new();
    let mut image_turns = vec![VecDeque::new(); by_class.len()];
    let batches = labels.len() / (classes * images);
    let mut order = Vec::with_capacity(batches * classes * images);
    for _ in 0..batches {
        for class in next_turns(classes, by_class.len(), &mut class_turns, draws) {
            let (of_class, turns) = (&by_class[class], &mut image_turns[class]);
            let drawn = next_turns(images, of_class.len(), turns, draws);
            order.extend(drawn.into_iter().map(|at| of_class[at]));
        }
    }
    order
}

/// The next `count` different numbers of `0..of` whose turn it is. Where one round of turns ends
/// within a batch, numbers that the batch already has keep their turn in the next round.
fn next_turns(
    count: usize,
    of: usize,
    turns: &mut VecDeque<usize>,
    draws: &mut Draws,
) -> Vec<usize> {
    let mut taken: Vec<usize> = Vec::with_capacity(count);
    let mut waiting = Vec::new();
    while taken.len() < count {
        match turns.pop_front() {
            Some(number) if taken.contains(&number) => waiting.push(number),
            Some(number) => taken.push(number),
            None => {
                let mut round: Vec<usize> = (0..of).collect();
                draws.shuffle(&mut round);
                turns.extend(round);
            }
        }
    }
    waiting
        .into_iter()
        .rev()
        .for_each(|number| turns.push_front(number));
    taken
}
