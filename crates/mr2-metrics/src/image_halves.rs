//! Hard classes of a classifier that has no seeds: chosen on one half of the test images, measured on the other.

use crate::error::{Error, check_classes, check_length};
use crate::metric::Metric;
use crate::thirds::{Thirds, thirds};
use crate::worst::worst_class;

/// The images of each class in two halves, every other image in each, and the groups of classes that a reference's
/// predictions choose on each half. A measure is the mean over the halves, groups chosen on the other one: where one
/// run is all there is (a probe that converges has no seed), this is how chance doesn't count as hardness.
///
/// ```
/// use mr2_metrics::{ImageHalves, Metric};
/// let labels = [0, 0, 1, 1, 2, 2];
/// let reference = [0, 0, 1, 0, 1, 1]; // class 2 is never recognised
/// let halves = ImageHalves::new(&labels, &reference, 3)?;
/// let weights = halves.weights(Metric::Hard).expect("three classes have thirds");
/// let hits = [true, true, true, false, true, false]; // of another classifier
/// let hard: f64 = weights.iter().zip(hits).filter(|(_, hit)| *hit).map(|(w, _)| w).sum();
/// assert_eq!(hard, 0.5);
/// # Ok::<(), mr2_metrics::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ImageHalves {
    labels: Vec<u32>,
    /// Which half each image is in.
    half: Vec<usize>,
    /// Images of each class in each half.
    count: [Vec<u64>; 2],
    /// What each half is measured with.
    groups: [Groups; 2],
}

/// Groups of classes.
#[derive(Debug, Clone, PartialEq)]
struct Groups {
    thirds: Option<Thirds>,
    worst: Option<usize>,
}

impl ImageHalves {
    /// Divides the images and chooses the groups.
    ///
    /// # Errors
    /// Lengths that differ, no image, or a label or prediction not below `classes`.
    pub fn new(labels: &[u32], reference: &[u32], classes: usize) -> Result<Self, Error> {
        check_length("reference", labels.len(), reference.len())?;
        check_classes("labels", labels, classes)?;
        check_classes("reference", reference, classes)?;
        if labels.is_empty() {
            return Err(Error::Empty {
                what: "labels",
                minimum: 1,
            });
        }
        let mut seen = vec![0usize; classes];
        let mut count = [vec![0u64; classes], vec![0u64; classes]];
        let mut correct = count.clone();
        let mut half = Vec::with_capacity(labels.len());
        for (&label, prediction) in labels.iter().zip(reference) {
            let class = label as usize;
            let in_half = seen[class] % 2;
            seen[class] += 1;
            count[in_half][class] += 1;
            correct[in_half][class] += u64::from(label == *prediction);
            half.push(in_half);
        }
        let chosen_on = |half: usize| -> Result<Groups, Error> {
            let accuracy: Vec<Option<f64>> = (correct[half].iter().zip(&count[half]))
                .map(|(&right, &all)| (all > 0).then(|| right as f64 / all as f64))
                .collect();
            Ok(Groups {
                thirds: thirds(&accuracy)?,
                worst: worst_class(&accuracy)?,
            })
        };
        let groups = [chosen_on(1)?, chosen_on(0)?];
        Ok(Self {
            labels: labels.to_vec(),
            half,
            count,
            groups,
        })
    }

    /// What each image adds to the measure if it is recognised; nothing where a half has no such group, and for
    /// measures that are no sums over images.
    pub fn weights(&self, metric: Metric) -> Option<Vec<f64>> {
        match metric {
            Metric::Overall => Some(vec![1.0 / self.labels.len() as f64; self.labels.len()]),
            Metric::Gap => {
                let (easy, hard) = (self.weights(Metric::Easy)?, self.weights(Metric::Hard)?);
                Some(
                    easy.iter()
                        .zip(hard)
                        .map(|(easy, hard)| easy - hard)
                        .collect(),
                )
            }
            Metric::Easy => self.of_groups(|groups| Some(groups.thirds.as_ref()?.easy.clone())),
            Metric::Medium => self.of_groups(|groups| Some(groups.thirds.as_ref()?.medium.clone())),
            Metric::Hard => self.of_groups(|groups| Some(groups.thirds.as_ref()?.hard.clone())),
            Metric::WorstClass => self.of_groups(|groups| Some(vec![groups.worst?])),
            _ => None,
        }
    }

    /// The mean over the halves of the mean accuracy of a group's classes.
    fn of_groups(&self, group: impl Fn(&Groups) -> Option<Vec<usize>>) -> Option<Vec<f64>> {
        let mut of_class = [
            vec![0.0; self.count[0].len()],
            vec![0.0; self.count[1].len()],
        ];
        let halves = of_class.iter_mut().zip(&self.groups).zip(&self.count);
        for ((of_class, groups), count) in halves {
            let mut present = group(groups)?;
            present.retain(|&class| count[class] > 0);
            if present.is_empty() {
                return None;
            }
            let share = 0.5 / present.len() as f64;
            for class in present {
                of_class[class] = share / count[class] as f64;
            }
        }
        let weight = |(&label, &half): (&u32, &usize)| of_class[half][label as usize];
        Some(self.labels.iter().zip(&self.half).map(weight).collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Sums of the weights of recognised images.
    fn value(halves: &ImageHalves, metric: Metric, labels: &[u32], predictions: &[u32]) -> f64 {
        let weights = halves.weights(metric).unwrap();
        let hits = labels
            .iter()
            .zip(predictions)
            .map(|(a, b)| f64::from(a == b));
        weights
            .iter()
            .zip(hits)
            .map(|(weight, hit)| weight * hit)
            .sum()
    }

    #[test]
    fn hard_classes_are_chosen_on_the_other_half() {
        // In the first half class 2 looks hard, in the second class 0: noise, for each half has two images a class.
        let labels = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2];
        let first_half_misses_2 = [0, 1, 0, 1, 1, 1, 1, 1, 1, 2, 1, 2];
        let halves = ImageHalves::new(&labels, &first_half_misses_2, 3).unwrap();
        // On the same images both would be 0; crosswise both are recognised.
        assert_eq!(
            value(&halves, Metric::Hard, &labels, &first_half_misses_2),
            1.0
        );
        assert_eq!(
            value(&halves, Metric::WorstClass, &labels, &first_half_misses_2),
            1.0
        );
        let overall = value(&halves, Metric::Overall, &labels, &first_half_misses_2);
        assert!((overall - 8.0 / 12.0).abs() < 1e-12);
    }

    #[test]
    fn a_perfect_classifier_has_one_everywhere_and_no_gap() {
        let labels: Vec<u32> = (0..60).map(|image| image % 6).collect();
        let reference: Vec<u32> = (0..60).map(|image| (image * 7 / 3) % 6).collect();
        let halves = ImageHalves::new(&labels, &reference, 6).unwrap();
        for metric in [
            Metric::Easy,
            Metric::Medium,
            Metric::Hard,
            Metric::WorstClass,
        ] {
            assert!((value(&halves, metric, &labels, &labels) - 1.0).abs() < 1e-12);
        }
        assert!(value(&halves, Metric::Gap, &labels, &labels).abs() < 1e-12);
    }

    #[test]
    fn one_image_a_class_has_no_groups_to_measure() {
        let halves = ImageHalves::new(&[0, 1, 2], &[0, 1, 1], 3).unwrap();
        assert_eq!(halves.weights(Metric::Hard), None);
        assert!(halves.weights(Metric::Overall).is_some());
        assert!(ImageHalves::new(&[], &[], 3).is_err());
        assert!(ImageHalves::new(&[3], &[0], 3).is_err());
    }
}
