//! The nearest neighbours' vote on L2-normalised features: a classifier without training.

use mr2_nn::rows::Rows;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::config::Normalise;
use super::features::{Labelled, Prepared, Training, largest};
use crate::error::{Error, Result};

/// Similarities that exist at a time, at most.
const SIMILARITIES: usize = 1 << 24;

/// How neighbours vote: with weights of `exp(cosine / T)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnnConfig {
    /// What result rows call it.
    pub protocol: String,
    /// How many neighbours vote; each is an evaluation of its own.
    pub neighbours: Vec<usize>,
    /// What cosines are divided by in the exponential.
    pub temperature: f64,
}

impl KnnConfig {
    /// DINO's (facebookresearch/dino, `eval_knn.py` at 7c446df): 10, 20, 100 and 200 neighbours, `T` 0.07.
    pub fn dino() -> Self {
        Self {
            protocol: "dino_knn".to_string(),
            neighbours: vec![10, 20, 100, 200],
            temperature: 0.07,
        }
    }

    /// DINOv2's (facebookresearch/dinov2, `dinov2/eval/knn.py` at b8931f7): the same, with these weights
    /// divided by their sum over the largest number of neighbours, which changes no image's order of classes.
    pub fn dinov2() -> Self {
        Self {
            protocol: "dinov2_knn".to_string(),
            ..Self::dino()
        }
    }

    fn check(&self, images: usize) -> Result<()> {
        let refused = |key, reason| Err(Error::Config { key, reason });
        if self.neighbours.is_empty() || self.neighbours.contains(&0) {
            return refused(
                "neighbours",
                "must be at least one number above 0".to_string(),
            );
        }
        if let Some(most) = self.neighbours.iter().find(|&&k| k > images) {
            return refused(
                "neighbours",
                format!("{most} is more than the {images} training images"),
            );
        }
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            return refused(
                "temperature",
                format!("must be positive and finite, got {}", self.temperature),
            );
        }
        Ok(())
    }
}

/// The class that the neighbours of each of `images` vote for, once for each number of neighbours, in their order. Of
/// equally near neighbours the first is nearer, of classes with equal votes the first wins.
///
/// # Shapes
/// Each result is (images).
///
/// # Errors
/// Numbers of neighbours that are 0 or more than there are training images; a temperature that is not positive; sets
/// of different width.
pub fn knn(
    config: &KnnConfig,
    training: &Training<'_>,
    images: &Labelled<'_>,
) -> Result<Vec<Vec<u32>>> {
    let (memory, queries) = (
        Prepared::new(training, Normalise::L2),
        Prepared::new(images, Normalise::L2),
    );
    config.check(memory.len())?;
    if memory.width != queries.width {
        return Err(Error::refused(format!(
            "knn: training images have {} features, the others {}",
            memory.width, queries.width
        )));
    }
    let (labels, classes) = (&memory.labels[..], memory.classes);
    let rows = Rows::new();
    let per_block = (SIMILARITIES / memory.len()).clamp(1, queries.len());
    let mut similarities = vec![0f32; per_block * memory.len()];
    let mut found = vec![Vec::with_capacity(queries.len()); config.neighbours.len()];
    for block in queries.features.chunks(per_block * queries.width) {
        let count = block.len() / queries.width;
        let similarities = &mut similarities[..count * memory.len()];
        rows.linear(block, &memory.features, None, memory.width, similarities)?;
        let votes: Vec<Vec<u32>> = similarities
            .par_chunks_exact(memory.len())
            .map(|similarities| vote(config, similarities, labels, classes))
            .collect();
        for (k, found) in found.iter_mut().enumerate() {
            found.extend(votes.iter().map(|votes| votes[k]));
        }
    }
    Ok(found)
}

/// The class that each number of neighbours votes for.
fn vote(config: &KnnConfig, similarities: &[f32], labels: &[u32], classes: usize) -> Vec<u32> {
    let most = config.neighbours.iter().copied().max().unwrap_or(1);
    let nearer = |&a: &u32, &b: &u32| {
        let (of_a, of_b) = (similarities[a as usize], similarities[b as usize]);
        of_b.total_cmp(&of_a).then(a.cmp(&b))
    };
    let mut nearest: Vec<u32> = (0..similarities.len() as u32).collect();
    if most < nearest.len() {
        nearest.select_nth_unstable_by(most - 1, nearer);
        nearest.truncate(most);
    }
    nearest.sort_unstable_by(nearer);
    // Beside the largest, so that no exponential overflows: a factor that all votes of an image share.
    let power = |image: &u32| f64::from(similarities[*image as usize]) / config.temperature;
    let largest_power = nearest.first().map_or(0.0, power);
    let weights: Vec<f64> = (nearest.iter())
        .map(|image| (power(image) - largest_power).exp())
        .collect();
    let class_of = |image: &u32| labels[*image as usize] as usize;
    (config.neighbours.iter())
        .map(|&k| {
            let mut votes = vec![0f64; classes];
            for (image, weight) in nearest.iter().zip(&weights).take(k) {
                votes[class_of(image)] += weight;
            }
            largest(&votes)
        })
        .collect()
}
