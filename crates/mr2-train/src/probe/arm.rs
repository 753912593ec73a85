//! What is tried: one search over the grid for each method, seed, margins and learning rate.

use super::config::{FitConfig, ProbeConfig};
use super::fits::Job;
use super::grid::Grid;
use super::margin::MarginConfig;
use super::probed::{Fitted, HeadResult, Setting};
use super::search::Search;
use crate::error::{Error, Result};

/// What is searched.
pub(super) fn grid(config: &ProbeConfig) -> &Grid {
    match &config.fit {
        FitConfig::Lbfgs { c, .. } => c,
        FitConfig::Steps(steps) => &steps.weight_decay,
    }
}

/// Logistic regression has no learning rate; the loops have one turn then.
pub(super) fn lrs(config: &ProbeConfig) -> &[f64] {
    match &config.fit {
        FitConfig::Lbfgs { .. } => &[1.0],
        FitConfig::Steps(steps) => &steps.lrs,
    }
}

/// What varies but the grid's value, and what its values have reached.
pub(super) struct Arm<'a> {
    pub(super) config: &'a ProbeConfig,
    pub(super) method: usize,
    pub(super) seed: u64,
    pub(super) margins: &'a MarginConfig,
    pub(super) lr: f64,
    pub(super) values: Vec<f64>,
    pub(super) search: Search,
    pub(super) tried: Vec<(usize, Fitted, Option<f64>)>,
}

/// All of them, for at least one seed.
pub(super) fn arms<'a>(config: &'a ProbeConfig, seeds: &[u64]) -> Vec<Arm<'a>> {
    let values = grid(config).values();
    let seeds = match config.fit {
        FitConfig::Lbfgs { .. } => &seeds[..1],
        FitConfig::Steps(_) => seeds,
    };
    let mut arms = Vec::new();
    for (method, it) in config.methods.iter().enumerate() {
        for &seed in seeds {
            for margins in &it.margins {
                for &lr in lrs(config) {
                    arms.push(Arm {
                        config,
                        method,
                        seed,
                        margins,
                        lr,
                        values: values.clone(),
                        search: Search::new(grid(config), values.len()),
                        tried: Vec::new(),
                    });
                }
            }
        }
    }
    arms
}

impl<'a> Arm<'a> {
    pub(super) fn job(&self, place: usize) -> Job<'a> {
        Job {
            margins: self.margins,
            seed: self.seed,
            lr: self.lr,
            value: self.values[place],
        }
    }

    pub(super) fn results(&self) -> impl Iterator<Item = HeadResult> {
        (0..self.tried.len()).map(|place| self.result_of(place))
    }

    pub(super) fn result(&self, place: usize) -> HeadResult {
        let found = self.tried.iter().position(|tried| tried.0 == place);
        self.result_of(found.unwrap_or(0))
    }

    fn result_of(&self, tried: usize) -> HeadResult {
        let (place, fitted, accuracy) = &self.tried[tried];
        let (margins, value) = (self.margins.clone(), self.values[*place]);
        HeadResult {
            method: self.config.methods[self.method].name.clone(),
            seed: self.seed,
            setting: match self.config.fit {
                FitConfig::Lbfgs { .. } => Setting::Lbfgs { margins, c: value },
                FitConfig::Steps(_) => Setting::Steps {
                    margins,
                    lr: self.lr,
                    weight_decay: value,
                },
            },
            end: fitted.end,
            validation_accuracy: *accuracy,
        }
    }
}

/// The best head of a method and seed that is finite.
pub(super) fn best<'a, 'b>(arms: &'b [Arm<'a>]) -> Result<(&'b Arm<'a>, usize, &'b Fitted)> {
    let all = (arms.iter()).flat_map(|arm| arm.tried.iter().map(move |tried| (arm, tried)));
    let finite = all.filter(|(_, (_, fitted, _))| !fitted.diverged());
    let best = finite.reduce(|best, next| if next.1.2 > best.1.2 { next } else { best });
    match best {
        Some((arm, (place, fitted, _))) => Ok((arm, *place, fitted)),
        None => {
            let name = &arms[0].config.methods[arms[0].method].name;
            Err(Error::refused(format!(
                "probe: every head of the method `{name}` became NaN or infinite; lower the learning rates"
            )))
        }
    }
}
