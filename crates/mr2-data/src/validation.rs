//! A validation part carved from the training images: the same number of each class, by seed.

use crate::error::{Error, Result};
use crate::image_set::{ImageSet, Split};
use crate::random::{Draws, Purpose};

/// How many training images to set aside for validation, and by which seed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidationConfig {
    /// Images of each class.
    pub per_class: usize,
    /// Seed of the choice; the same seed gives the same images whatever the run's own seed.
    pub seed: u64,
}

/// Splits `set` into (training, validation). Validation has `per_class` images of every class;
/// both keep the order of `set`.
///
/// # Errors
/// A class that would keep no training image, or `per_class` of 0.
pub fn carve(set: &ImageSet, config: &ValidationConfig) -> Result<(ImageSet, ImageSet)> {
    if config.per_class == 0 {
        let reason = "0 images of each class; leave `validation` out to have none";
        return Err(Error::config("validation.per_class", reason));
    }
    let mut held_out = vec![false; set.len()];
    for (class, mut indices) in set.by_class().into_iter().enumerate() {
        if indices.len() <= config.per_class {
            return Err(Error::ClassTooSmall {
                set: set.name().to_string(),
                class: set.classes()[class].clone(),
                found: indices.len(),
                needed: config.per_class.saturating_add(1),
                field: "validation.per_class",
            });
        }
        Draws::new(Purpose::Validation, config.seed, 0, class as u64).shuffle(&mut indices);
        for &index in &indices[..config.per_class] {
            held_out[index as usize] = true;
        }
    }
    let (validation, train): (Vec<u32>, Vec<u32>) =
        (0..set.len() as u32).partition(|&index| held_out[index as usize]);
    Ok((
        set.subset(Split::Train, &train)?,
        set.subset(Split::Validation, &validation)?,
    ))
}
