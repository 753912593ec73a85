//! Bootstrap over test images: how much a difference owes to the choice of test images, with
//! the trained networks as they are. The interval over seeds ([`paired_interval`]) answers
//! another question: how much it owes to training. Neither contains the other.
//!
//! Images are redrawn within their class, so that the class counts stay those of the test set
//! and no class goes absent. Both methods, and all seeds, see the same redrawn images.
//!
//! [`paired_interval`]: crate::paired_interval

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::error::{Error, check_classes, check_finite, check_length, check_open_unit};
use crate::paired::Interval;

/// How the bootstrap is run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootstrapConfig {
    /// How often the test images are redrawn.
    pub resamples: usize,
    /// Confidence level of the interval.
    pub level: f64,
    /// Seed of the draws.
    pub seed: u64,
}

/// A percentile bootstrap interval over test images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BootstrapInterval {
    /// The interval.
    pub interval: Interval,
    /// Its confidence level.
    pub level: f64,
    /// How often the test images were redrawn.
    pub resamples: usize,
}

/// Bootstrap intervals of sums over test images, one for each of `columns`: `columns[c][i]` is
/// what image i adds to sum c. All sums see the same redrawn images.
///
/// Any statistic that is linear in the per-class accuracies has that form: with weight w_k on
/// the accuracy of class k and n_k images of it, a correct image of class k adds w_k / n_k
/// ([`image_weights`](crate::image_weights)).
///
/// # Errors
/// Lengths that differ, no image, a class out of range, a NaN, or settings out of range.
pub fn bootstrap_sums(
    labels: &[u32],
    columns: &[Vec<f64>],
    classes: usize,
    config: &BootstrapConfig,
) -> Result<Vec<BootstrapInterval>, Error> {
    check_open_unit("bootstrap level", config.level)?;
    if labels.is_empty() {
        return Err(Error::Empty {
            what: "labels",
            minimum: 1,
        });
    }
    if config.resamples == 0 {
        let expected = "at least 1";
        return Err(Error::Setting {
            name: "bootstrap resamples",
            value: 0.0,
            expected,
        });
    }
    check_classes("labels", labels, classes)?;
    for column in columns {
        check_length("column", labels.len(), column.len())?;
        check_finite("column", column.iter().copied())?;
    }
    let by_class = group_by_class(labels, columns, classes);
    let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
    let mut sums = vec![vec![0.0; config.resamples]; columns.len()];
    let mut sum = vec![0.0; columns.len()];
    for resample in 0..config.resamples {
        sum.fill(0.0);
        by_class
            .iter()
            .for_each(|class| redraw(class, &mut sum, &mut rng));
        sums.iter_mut()
            .zip(&sum)
            .for_each(|(column, &sum)| column[resample] = sum);
    }
    let tail = (1.0 - config.level) / 2.0;
    let interval = |column: &mut Vec<f64>| {
        column.sort_unstable_by(f64::total_cmp);
        let interval = Interval {
            low: quantile(column, tail),
            high: quantile(column, 1.0 - tail),
        };
        BootstrapInterval {
            interval,
            level: config.level,
            resamples: config.resamples,
        }
    };
    Ok(sums.iter_mut().map(interval).collect())
}

/// The images of one class.
struct ClassImages {
    count: usize,
    /// The columns of each image that adds anything, one image after the other; the other
    /// images come after them and add 0.
    added: Vec<f64>,
}

fn group_by_class(labels: &[u32], columns: &[Vec<f64>], classes: usize) -> Vec<ClassImages> {
    let mut by_class: Vec<ClassImages> = (0..classes)
        .map(|_| ClassImages {
            count: 0,
            added: Vec::new(),
        })
        .collect();
    for (image, &label) in labels.iter().enumerate() {
        let class = &mut by_class[label as usize];
        class.count += 1;
        if columns.iter().any(|column| column[image] != 0.0) {
            class
                .added
                .extend(columns.iter().map(|column| column[image]));
        }
    }
    by_class.retain(|class| !class.added.is_empty());
    by_class
}

/// Adds up as many images of the class as it has, drawn with replacement.
fn redraw(class: &ClassImages, sum: &mut [f64], rng: &mut ChaCha8Rng) {
    let width = sum.len();
    for _ in 0..class.count {
        let start = rng.random_range(0..class.count) * width;
        if let Some(image) = class.added.get(start..start + width) {
            sum.iter_mut()
                .zip(image)
                .for_each(|(sum, added)| *sum += added);
        }
    }
}

/// Quantile of sorted values, linear between the two neighbours.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let position = share * (sorted.len() - 1) as f64;
    let (below, above) = (position.floor() as usize, position.ceil() as usize);
    sorted[below] + (position - position.floor()) * (sorted[above] - sorted[below])
}
