//! The fits themselves, on one set of images.

use mr2_nn::rows::Rows;

use super::config::{FitConfig, ProbeConfig};
use super::features::Prepared;
use super::heads::{self, Spec};
use super::logistic::{Regression, Regressions};
use super::margin::{MarginConfig, Margins};
use super::probed::Fitted;
use crate::error::Result;

/// A fit to do.
pub(super) struct Job<'a> {
    pub(super) margins: &'a MarginConfig,
    pub(super) seed: u64,
    pub(super) lr: f64,
    pub(super) value: f64,
}

/// Fits on one set of images.
pub(super) struct Fits<'a> {
    config: &'a ProbeConfig,
    set: &'a Prepared<'a>,
    pub(super) margins: Margins<'a>,
    pub(super) rows: &'a Rows,
    /// Once one is asked for.
    regressions: Option<Regressions<'a>>,
}

impl<'a> Fits<'a> {
    pub(super) fn new(config: &'a ProbeConfig, set: &'a Prepared<'a>, rows: &'a Rows) -> Self {
        Self {
            config,
            set,
            margins: Margins::new(set),
            rows,
            regressions: None,
        }
    }

    /// The fits in the jobs' order; those of one seed are trained together.
    pub(super) fn run(&mut self, jobs: &[Job<'_>]) -> Result<Vec<Fitted>> {
        let mut margins = Vec::with_capacity(jobs.len());
        for job in jobs {
            margins.push(self.margins.of(job.margins)?);
        }
        let steps = match &self.config.fit {
            FitConfig::Lbfgs {
                tolerance,
                max_iterations,
                ..
            } => {
                let regressions = match self.regressions.take() {
                    Some(known) => known,
                    None => Regressions::new(self.set, self.rows)?,
                };
                let regressions = self.regressions.insert(regressions);
                let fit = |(job, margins): (&Job<'_>, &Vec<f64>)| {
                    let regression = Regression {
                        c: job.value,
                        margins,
                        tolerance: *tolerance,
                        max_iterations: *max_iterations,
                    };
                    regressions.fit(regression)
                };
                return jobs.iter().zip(&margins).map(fit).collect();
            }
            FitConfig::Steps(steps) => steps,
        };
        let mut places: Vec<usize> = (0..jobs.len()).collect();
        places.sort_by_key(|&place| jobs[place].seed);
        let mut fitted = Vec::with_capacity(jobs.len());
        for group in places.chunk_by(|&a, &b| jobs[a].seed == jobs[b].seed) {
            let specs: Vec<Spec> = (group.iter())
                .map(|&place| Spec {
                    lr: jobs[place].lr,
                    weight_decay: jobs[place].value,
                    margins: std::mem::take(&mut margins[place]),
                })
                .collect();
            let found = heads::train(self.set, steps, &specs, jobs[group[0]].seed, self.rows)?;
            fitted.extend(group.iter().copied().zip(found));
        }
        fitted.sort_by_key(|(place, _)| *place);
        Ok(fitted.into_iter().map(|(_, fitted)| fitted).collect())
    }
}
