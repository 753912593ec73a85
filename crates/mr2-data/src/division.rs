//! Training images divided by the hash of their content: no seed, no order of files, copies together.

use crate::error::{Error, Result};
use crate::image_set::ImageSet;
use std::collections::HashMap;

/// Parts in ten of a plain folder that are for training.
const TRAIN: usize = 7;

/// Parts in ten of a plain folder; 0 for a part that isn't made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share(pub usize);

/// Which images are in which part, ascending.
#[derive(Debug, Default)]
pub(crate) struct Division {
    pub train: Vec<u32>,
    pub validation: Vec<u32>,
    pub test: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Train,
    Validation,
    Test,
}

/// Divides `set`, whose images have the contents `hashes`.
///
/// # Errors
/// A class with fewer distinct images than parts, or whose images are all copies of other classes' in a
/// way that leaves a part without one.
pub(crate) fn divide(
    set: &ImageSet,
    hashes: &[[u8; 32]],
    validation: Share,
    test: Share,
) -> Result<Division> {
    let mut places: HashMap<[u8; 32], Place> = HashMap::new();
    for (class, indices) in set.by_class().iter().enumerate() {
        let mut distinct: Vec<_> = indices.iter().map(|&i| hashes[i as usize]).collect();
        distinct.sort_unstable();
        distinct.dedup();
        let wanted = Quotas::of(distinct.len(), validation, test);
        let parts = 1 + usize::from(wanted.validation > 0) + usize::from(wanted.test > 0);
        let too_small = |found, needed| Error::FewDistinctImages {
            set: set.name().to_string(),
            class: set.classes()[class].clone(),
            found,
            needed,
        };
        if distinct.len() < parts {
            return Err(too_small(distinct.len(), parts));
        }
        let given = distinct.iter().filter_map(|hash| places.get(hash).copied());
        let mut left = wanted.without(given);
        let free: Vec<_> = distinct
            .iter()
            .filter(|hash| !places.contains_key(*hash))
            .collect();
        let shared = distinct.len() - free.len();
        for hash in free {
            places.insert(*hash, left.next());
        }
        let has = |place| distinct.iter().any(|hash| places[hash] == place);
        let lacks_test = wanted.test > 0 && !has(Place::Test);
        let lacks_validation = wanted.validation > 0 && !has(Place::Validation);
        if !has(Place::Train) || lacks_test || lacks_validation {
            return Err(too_small(distinct.len() - shared, parts));
        }
    }
    let mut division = Division::default();
    for (index, hash) in (0u32..).zip(hashes) {
        match places[hash] {
            Place::Train => division.train.push(index),
            Place::Validation => division.validation.push(index),
            Place::Test => division.test.push(index),
        }
    }
    Ok(division)
}

/// How many contents of a class go to test and validation; the rest are for training.
#[derive(Debug, Clone, Copy)]
struct Quotas {
    validation: usize,
    test: usize,
}

impl Quotas {
    /// The shares of `distinct` contents, rounded, at least one each.
    fn of(distinct: usize, validation: Share, test: Share) -> Self {
        let all = TRAIN + validation.0 + test.0;
        let quota = |Share(parts)| match parts {
            0 => 0,
            parts => ((2 * parts * distinct + all) / (2 * all)).max(1),
        };
        Quotas {
            validation: quota(validation),
            test: quota(test),
        }
    }

    /// What is left where some have their place already, as copies of another class's images.
    fn without(self, given: impl Iterator<Item = Place>) -> Self {
        given.fold(self, |left, place| match place {
            Place::Train => left,
            Place::Validation => Quotas {
                validation: left.validation.saturating_sub(1),
                ..left
            },
            Place::Test => Quotas {
                test: left.test.saturating_sub(1),
                ..left
            },
        })
    }

    /// The place of the next content, in the order of the hashes.
    fn next(&mut self) -> Place {
        if self.test > 0 {
            self.test -= 1;
            Place::Test
        } else if self.validation > 0 {
            self.validation -= 1;
            Place::Validation
        } else {
            Place::Train
        }
    }
}
