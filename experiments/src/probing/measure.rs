//! What classifiers of the same test images are worth: groups of classes chosen on one half of the images and measured
//! on the other, differences with intervals over images.

use anyhow::{Context, Result};
use mr2_metrics::{BootstrapConfig, ImageHalves, Interval, Metric, ReportConfig, bootstrap_sums};
use serde::Serialize;

/// What is measured, in the order of the table.
pub const MEASURES: [Metric; 6] = [
    Metric::Overall,
    Metric::Easy,
    Metric::Medium,
    Metric::Hard,
    Metric::WorstClass,
    Metric::Gap,
];

/// A measure of a classifier.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// Which.
    pub metric: Metric,
    /// A share of 1; `None` with fewer than three classes, or one test image of each.
    pub value: Option<f64>,
    /// The difference to the first classifier and its interval over images; `None` for the first itself.
    pub difference: Option<Difference>,
}

/// A difference of two classifiers on the same images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// This one minus the first.
    pub value: f64,
    /// 95 %, by a bootstrap over images within classes.
    pub interval: Interval,
}

/// Measures classifiers by their predictions of the same images; hard classes are the first one's.
///
/// # Errors
/// When a prediction is no class, or there is no image.
pub fn measure(
    labels: &[u32],
    predictions: &[&[u32]],
    classes: usize,
) -> Result<Vec<Vec<Measured>>> {
    let first = predictions.first().context("no classifier to measure")?;
    let halves = ImageHalves::new(labels, first, classes)?;
    let bootstrap = ReportConfig::standard().bootstrap;
    let bootstrap = bootstrap.context("a report has a bootstrap")?;
    let mut rows: Vec<Vec<Measured>> = vec![Vec::new(); predictions.len()];
    for metric in MEASURES {
        let weights = halves.weights(metric);
        let differences = match &weights {
            Some(weights) => differences(labels, predictions, weights, classes, &bootstrap)?,
            None => vec![None; predictions.len()],
        };
        for ((row, predictions), difference) in rows.iter_mut().zip(predictions).zip(differences) {
            let value = weights.as_ref().map(|weights| {
                let hits = labels.iter().zip(*predictions).zip(weights);
                hits.filter(|((label, found), _)| label == found)
                    .map(|(_, w)| w)
                    .sum()
            });
            row.push(Measured {
                metric,
                value,
                difference,
            });
        }
    }
    Ok(rows)
}

fn differences(
    labels: &[u32],
    predictions: &[&[u32]],
    weights: &[f64],
    classes: usize,
    bootstrap: &BootstrapConfig,
) -> Result<Vec<Option<Difference>>> {
    let first = predictions[0];
    let columns: Vec<Vec<f64>> = (predictions[1..].iter())
        .map(|others| {
            let right = |found: &[u32], image: usize| f64::from(found[image] == labels[image]);
            let gain = |image| weights[image] * (right(others, image) - right(first, image));
            (0..labels.len()).map(gain).collect()
        })
        .collect();
    let mut found = vec![None];
    if !columns.is_empty() {
        let intervals = bootstrap_sums(labels, &columns, classes, bootstrap)?;
        found.extend(columns.iter().zip(intervals).map(|(column, interval)| {
            Some(Difference {
                value: column.iter().sum(),
                interval: interval.interval,
            })
        }));
    }
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_that_of_the_values_and_its_interval_holds_it() {
        let labels: Vec<u32> = (0..120).map(|image| image % 3).collect();
        let erm: Vec<u32> = (0..120)
            .map(|i| if i % 5 == 0 { (i + 1) % 3 } else { i % 3 })
            .collect();
        let other: Vec<u32> = (0..120)
            .map(|i| if i % 9 == 0 { (i + 1) % 3 } else { i % 3 })
            .collect();
        let rows = measure(&labels, &[&erm, &other, &erm], 3).unwrap();
        assert!(rows[0].iter().all(|measured| measured.difference.is_none()));
        for (own, first) in rows[1].iter().zip(&rows[0]) {
            let difference = own.difference.as_ref().unwrap();
            let expected = own.value.unwrap() - first.value.unwrap();
            assert!((difference.value - expected).abs() < 1e-12);
            let Interval { low, high } = difference.interval;
            assert!(low <= expected && expected <= high, "{:?}", own.metric);
        }
        let same = rows[2]
            .iter()
            .map(|measured| measured.difference.clone().unwrap());
        assert!(
            same.into_iter()
                .all(|d| d.value == 0.0 && d.interval.low == 0.0 && d.interval.high == 0.0)
        );
    }

    #[test]
    fn two_classes_have_no_thirds() {
        let rows = measure(&[0, 1, 0, 1], &[&[0, 1, 1, 1]], 2).unwrap();
        let value = |metric| rows[0].iter().find(|m| m.metric == metric).unwrap().value;
        assert_eq!(value(Metric::Overall), Some(0.75));
        assert_eq!(value(Metric::Hard), None);
    }
}
