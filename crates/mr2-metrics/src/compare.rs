//! A method against the reference: over seeds, and over test images.

use std::collections::BTreeMap;

use crate::assemble::{Scored, Splits};
use crate::bootstrap::{BootstrapConfig, BootstrapInterval, bootstrap_sums};
use crate::class_report::{Comparison, MethodRow, ReportConfig};
use crate::error::Error;
use crate::holm::holm;
use crate::metric::{Metric, image_weights};
use crate::paired::paired_interval;
use crate::verdict::{adjusted_verdict, verdict};

/// A method's comparison with the reference over the seeds that both have.
pub(crate) struct Comparer<'a> {
    base: &'a MethodRow,
    level: f64,
    over_images: BTreeMap<Metric, BootstrapInterval>,
}

impl<'a> Comparer<'a> {
    /// `base` is the reference's row and `base_runs` its runs.
    pub fn new(
        method: &Scored<'_>,
        base: &'a MethodRow,
        base_runs: &Scored<'_>,
        splits: &Splits,
        config: &ReportConfig,
    ) -> Result<Self, Error> {
        let over_images = match &config.bootstrap {
            Some(bootstrap) => over_images(method, base_runs, splits, bootstrap)?,
            None => BTreeMap::new(),
        };
        Ok(Self {
            base,
            level: config.level,
            over_images,
        })
    }

    /// The comparison on one metric; `values` are the method's, in the order of `seeds`.
    pub fn compare(
        &self,
        metric: Metric,
        seeds: &[u64],
        values: &[f64],
    ) -> Result<Option<Comparison>, Error> {
        let Some(base) = self.base.cell(metric) else {
            return Ok(None);
        };
        let position = |seed: &u64| self.base.seeds.iter().position(|other| other == seed);
        let (own, other): (Vec<f64>, Vec<f64>) = seeds
            .iter()
            .zip(values)
            .filter_map(|(seed, &own)| position(seed).map(|other| (own, base.per_seed[other])))
            .unzip();
        if own.is_empty() {
            return Ok(None);
        }
        let paired = paired_interval(&own, &other, self.level)?;
        Ok(Some(Comparison {
            verdict: verdict(&paired, metric.direction()),
            holm_p: paired.p,
            holm_verdict: adjusted_verdict(&paired, paired.p, metric.direction()),
            paired,
            image_bootstrap: self.over_images.get(&metric).copied(),
        }))
    }
}

/// Adjusts every metric's p for the number of rows compared on it.
pub(crate) fn adjust(rows: &mut [MethodRow]) -> Result<(), Error> {
    for metric in Metric::ALL {
        let mut compared: Vec<&mut Comparison> = rows
            .iter_mut()
            .filter_map(|row| row.metrics.get_mut(&metric)?.against_reference.as_mut())
            .collect();
        let p: Vec<Option<f64>> = compared.iter().map(|one| one.paired.p).collect();
        for (one, adjusted) in compared.iter_mut().zip(holm(&p)?) {
            one.holm_p = adjusted;
            one.holm_verdict = adjusted_verdict(&one.paired, adjusted, metric.direction());
        }
    }
    Ok(())
}

/// The intervals over test images of the mean differences over the shared seeds, for every
/// metric that is a sum over images; none where a run's images are not known.
fn over_images(
    method: &Scored<'_>,
    base: &Scored<'_>,
    splits: &Splits,
    config: &BootstrapConfig,
) -> Result<BTreeMap<Metric, BootstrapInterval>, Error> {
    let mut columns: BTreeMap<Metric, Vec<f64>> = BTreeMap::new();
    let mut test_set = None;
    let shared: Vec<u64> = method
        .runs
        .keys()
        .copied()
        .filter(|seed| base.runs.contains_key(seed))
        .collect();
    for seed in &shared {
        let (own, other) = (method.runs[seed].run, base.runs[seed].run);
        let count = &own.per_class.count;
        let (Some(own), Some(other)) = (own.images, other.images) else {
            return Ok(BTreeMap::new());
        };
        test_set = Some((own.labels, count.len()));
        for metric in Metric::ALL {
            let Some(weights) = image_weights(metric, count, &splits[seed]) else {
                continue;
            };
            let column = columns
                .entry(metric)
                .or_insert_with(|| vec![0.0; own.labels.len()]);
            for (image, &label) in own.labels.iter().enumerate() {
                let right = |predictions: &[u32]| f64::from(u8::from(predictions[image] == label));
                let gain = right(own.predictions) - right(other.predictions);
                column[image] += gain * weights[label as usize] / shared.len() as f64;
            }
        }
    }
    let Some((labels, classes)) = test_set else {
        return Ok(BTreeMap::new());
    };
    let (metrics, columns): (Vec<Metric>, Vec<Vec<f64>>) = columns.into_iter().unzip();
    Ok(metrics
        .into_iter()
        .zip(bootstrap_sums(labels, &columns, classes, config)?)
        .collect())
}
