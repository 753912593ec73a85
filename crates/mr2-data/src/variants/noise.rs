//! Label noise: an exact share of each class's images gets another class's label.

use crate::error::{Error, Result};
use crate::image_set::ImageSet;
use crate::random::{Draws, Purpose};

/// Every other class is equally likely.
pub(super) fn symmetric(set: &ImageSet, share: f64, seed: u64) -> Result<Vec<u32>> {
    let classes = at_least_two(set)?;
    flip(set, share, seed, |class, draws| {
        Some((class + 1 + draws.below(classes - 1)) % classes)
    })
}

/// The next class, and after the last the first.
pub(super) fn pair_flip(set: &ImageSet, share: f64, seed: u64) -> Result<Vec<u32>> {
    let classes = at_least_two(set)?;
    flip(set, share, seed, |class, _| Some((class + 1) % classes))
}

/// Classes of CIFAR-10 that are taken for others, by name.
const CIFAR10_CONFUSIONS: [(&str, &str); 5] = [
    ("truck", "automobile"),
    ("bird", "airplane"),
    ("deer", "horse"),
    ("cat", "dog"),
    ("dog", "cat"),
];

/// The pairs of [`CIFAR10_CONFUSIONS`].
pub(super) fn asymmetric_cifar10(set: &ImageSet, share: f64, seed: u64) -> Result<Vec<u32>> {
    let number = |name: &str| {
        let found = set.classes().iter().position(|class| class == name);
        found.ok_or_else(|| {
            let reason = format!(
                "needs the classes of CIFAR-10; {} has no {name}",
                set.name()
            );
            Error::config("training_labels.kind", reason)
        })
    };
    let mut targets = vec![None; set.classes().len()];
    for (from, to) in CIFAR10_CONFUSIONS {
        let (from, to) = (number(from)?, number(to)?);
        targets[from] = Some(to);
    }
    flip(set, share, seed, |class, _| targets[class])
}

fn at_least_two(set: &ImageSet) -> Result<usize> {
    match set.classes().len() {
        classes if classes >= 2 => Ok(classes),
        classes => {
            let reason = format!("needs 2 classes or more; {} has {classes}", set.name());
            Err(Error::config("training_labels.kind", reason))
        }
    }
}

/// Relabels the share of each class to `target` of it; classes without a target stay clean.
fn flip(
    set: &ImageSet,
    share: f64,
    seed: u64,
    target: impl Fn(usize, &mut Draws) -> Option<usize>,
) -> Result<Vec<u32>> {
    if !(0.0..=1.0).contains(&share) {
        let reason = format!("expected 0 to 1, got {share}");
        return Err(Error::config("training_labels.share", reason));
    }
    let mut labels = set.labels().to_vec();
    for (class, mut indices) in set.by_class().into_iter().enumerate() {
        let flipped = (share * indices.len() as f64).round() as usize;
        let mut draws = Draws::new(Purpose::LabelNoise, seed, 0, class as u64);
        draws.shuffle(&mut indices);
        for &index in &indices[..flipped] {
            if let Some(other) = target(class, &mut draws) {
                labels[index as usize] = other as u32;
            }
        }
    }
    Ok(labels)
}
