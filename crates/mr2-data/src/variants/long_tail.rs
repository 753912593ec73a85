//! Class sizes of long-tailed sets, as in kaidic/LDAM-DRW imbalance_cifar.py.

use crate::error::{Error, Result};
use crate::image_set::ImageSet;

/// How sizes fall over the classes in label order.
#[derive(Clone, Copy)]
pub(super) enum Profile {
    /// By the same factor from each class to the next.
    Exponential,
    /// Once, after the first half of the classes.
    Step,
}

/// The number of images that each class keeps; the largest has an equal share of the set.
pub(super) fn sizes(set: &ImageSet, profile: Profile, ratio: f64) -> Result<Vec<usize>> {
    let field = "training_images.ratio";
    if !(ratio > 0.0 && ratio <= 1.0) {
        let reason = format!("expected above 0 and at most 1, got {ratio}");
        return Err(Error::config(field, reason));
    }
    let classes = set.classes().len();
    let largest = set.len() as f64 / classes.max(1) as f64;
    let size = |class: usize| match profile {
        // A set of one class has no tail: 0 / 1.
        Profile::Exponential => largest * ratio.powf(class as f64 / (classes.max(2) - 1) as f64),
        Profile::Step if class < classes / 2 => largest,
        Profile::Step => largest * ratio,
    };
    let sizes: Vec<usize> = (0..classes).map(|class| size(class) as usize).collect();
    match sizes.iter().position(|&size| size == 0) {
        Some(class) => Err(Error::config(
            field,
            format!(
                "{}: with {ratio} class {} would keep none of its images. Take a larger ratio",
                set.name(),
                set.classes()[class]
            ),
        )),
        None => Ok(sizes),
    }
}
