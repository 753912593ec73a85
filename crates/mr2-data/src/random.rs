//! Random draws that are functions of (seed, epoch, index) and of nothing else, so that neither
//! the number of threads nor a resumed run can change them.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// What a sequence of draws is for. Sequences of different purposes are unrelated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Order = 1,
    Augmentation = 2,
    Validation = 3,
    Subset = 4,
    LabelNoise = 5,
    Corruption = 6,
}

/// A sequence of random draws.
#[derive(Debug, Clone)]
pub struct Draws {
    numbers: ChaCha8Rng,
    image: u64,
}

impl Draws {
    pub(crate) fn new(purpose: Purpose, seed: u64, epoch: u64, index: u64) -> Self {
        let mut key = [0u8; 32];
        for (slot, word) in key
            .chunks_exact_mut(8)
            .zip([seed, epoch, index, purpose as u64])
        {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        Draws {
            numbers: ChaCha8Rng::from_seed(key),
            image: index,
        }
    }

    /// The draws that augment image `index` in `epoch`. A corruption takes `index` for the image's
    /// place in the data set as released.
    pub fn for_image(seed: u64, epoch: u64, index: u64) -> Self {
        Self::new(Purpose::Augmentation, seed, epoch, index)
    }

    /// The same draws for the image at `original_index` of the data set as released.
    pub(crate) fn of_original(self, original_index: u32) -> Self {
        Draws {
            image: u64::from(original_index),
            ..self
        }
    }

    /// Which image of the data set as released the draws are for.
    pub(crate) fn image(&self) -> u64 {
        self.image
    }

    /// The next number, normal with mean 0 and variance 1 (Box and Muller's cosine of two uniforms).
    pub fn normal(&mut self) -> f64 {
        let (radius, angle) = (1.0 - self.uniform(), self.uniform());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }

    /// The next number, uniform in [0, 1) with 53 random bits.
    pub fn uniform(&mut self) -> f64 {
        (self.numbers.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// The next number, uniform in 0..bound; 0 for a bound of 0. The deviation from uniform is
    /// below bound / 2^53.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.uniform() * bound as f64) as usize
    }

    /// Fisher-Yates.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_depend_on_every_part_of_the_key() {
        let first = |purpose, seed, epoch, index| {
            Draws::new(purpose, seed, epoch, index).uniform().to_bits()
        };
        let base = first(Purpose::Order, 1, 2, 3);
        assert_eq!(base, first(Purpose::Order, 1, 2, 3));
        for other in [
            first(Purpose::Validation, 1, 2, 3),
            first(Purpose::Order, 2, 2, 3),
            first(Purpose::Order, 1, 3, 3),
            first(Purpose::Order, 1, 2, 4),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn below_covers_its_range_evenly() {
        let mut draws = Draws::for_image(7, 0, 0);
        let mut counts = [0usize; 9];
        for _ in 0..90_000 {
            counts[draws.below(9)] += 1;
        }
        assert!(
            counts.iter().all(|&n| (9_500..10_500).contains(&n)),
            "{counts:?}"
        );
        assert_eq!(draws.below(0), 0);
    }

    #[test]
    fn shuffle_reaches_every_order_equally_often() {
        let mut counts = std::collections::HashMap::new();
        for index in 0..6_000 {
            let mut items = [0, 1, 2];
            Draws::new(Purpose::Order, 1, 0, index).shuffle(&mut items);
            *counts.entry(items).or_insert(0usize) += 1;
        }
        assert_eq!(counts.len(), 6);
        assert!(
            counts.values().all(|&n| (850..1_150).contains(&n)),
            "{counts:?}"
        );
    }
}
