//! The learning-rate schedule of a run file: told in epochs, run in steps.

use mr2_nn::schedule::Schedule;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The learning rate's factor over the run. Epochs may be fractions; a run's last step is its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ScheduleConfig {
    /// Always 1.
    Constant {},
    /// Linear warm-up, then half a cosine to the end of the run.
    WarmupCosine {
        /// Epochs until the factor is 1; 0 for no warm-up.
        warmup_epochs: f64,
        /// The factor at the first step.
        start_factor: f64,
        /// The factor at the end of the run.
        final_factor: f64,
        /// When the factor changes.
        update: Update,
    },
    /// Linear warm-up; at each milestone the factor is multiplied by `factor`.
    Step {
        /// Epochs, ascending.
        milestones: Vec<f64>,
        /// The multiplier at each milestone.
        factor: f64,
        /// Epochs until the factor is 1; 0 for no warm-up.
        warmup_epochs: f64,
        /// The factor at the first step.
        start_factor: f64,
    },
}

/// When a schedule's factor changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Update {
    /// At every step.
    EveryStep,
    /// At the beginning of every epoch, as recipes do that step their scheduler once an epoch.
    EveryEpoch,
}

impl ScheduleConfig {
    /// The schedule in steps, for a run of `epochs` epochs of `steps_per_epoch` steps.
    ///
    /// # Errors
    /// For negative or non-finite values, milestones that don't ascend, and a warm-up that isn't
    /// shorter than the run.
    pub fn in_steps(&self, epochs: u64, steps_per_epoch: u64) -> Result<Schedule> {
        let steps = |key, value: f64| match value.is_finite() && value >= 0.0 {
            true => Ok((value * steps_per_epoch as f64).round() as u64),
            false => Err(refused(
                key,
                format!("must be finite and not negative, got {value}"),
            )),
        };
        let schedule = match self {
            Self::Constant {} => Schedule::Constant {},
            Self::WarmupCosine {
                warmup_epochs,
                start_factor,
                final_factor,
                update,
            } => {
                if *warmup_epochs >= epochs as f64 {
                    let reason =
                        format!("must be less than the {epochs} epochs, got {warmup_epochs}");
                    return Err(refused("schedule.warmup_epochs", reason));
                }
                Schedule::WarmupCosine {
                    warmup_steps: steps("schedule.warmup_epochs", *warmup_epochs)?,
                    total_steps: epochs * steps_per_epoch,
                    start_factor: *start_factor,
                    final_factor: *final_factor,
                    update_every_steps: match update {
                        Update::EveryStep => 1,
                        Update::EveryEpoch => steps_per_epoch,
                    },
                }
            }
            Self::Step {
                milestones,
                factor,
                warmup_epochs,
                start_factor,
            } => Schedule::Step {
                milestones: milestones
                    .iter()
                    .map(|epoch| steps("schedule.milestones", *epoch))
                    .collect::<Result<_>>()?,
                factor: *factor,
                warmup_steps: steps("schedule.warmup_epochs", *warmup_epochs)?,
                start_factor: *start_factor,
            },
        };
        schedule
            .validate()
            .map_err(|error| refused("schedule", Error::reason(&error)))?;
        Ok(schedule)
    }
}

fn refused(key: &'static str, reason: String) -> Error {
    Error::Config { key, reason }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn cosine(warmup_epochs: f64, update: Update) -> ScheduleConfig {
        ScheduleConfig::WarmupCosine {
            warmup_epochs,
            start_factor: 0.1,
            final_factor: 0.0,
            update,
        }
    }

    #[test]
    fn the_cosine_ends_with_the_run_whatever_its_length() {
        for epochs in [1, 6, 200] {
            let schedule = cosine(0.5, Update::EveryStep).in_steps(epochs, 78).unwrap();
            assert_eq!(schedule.factor(0), 0.1);
            assert_eq!(schedule.factor(39), 1.0);
            assert_eq!(schedule.factor(epochs * 78), 0.0);
            assert!(schedule.factor(epochs * 78 - 1) > 0.0);
        }
    }

    #[test]
    fn a_factor_updated_every_epoch_stays_within_the_epoch() {
        let schedule = cosine(0.0, Update::EveryEpoch).in_steps(4, 10).unwrap();
        assert_eq!(schedule.factor(19), schedule.factor(10));
        assert!(schedule.factor(20) < schedule.factor(19));
    }

    #[test]
    fn milestones_are_epochs() {
        let schedule = ScheduleConfig::Step {
            milestones: vec![2.0, 3.5],
            factor: 0.1,
            warmup_epochs: 1.0,
            start_factor: 0.0,
        };
        let schedule = schedule.in_steps(4, 10).unwrap();
        assert_eq!(schedule.factor(5), 0.5);
        assert_eq!(schedule.factor(19), 1.0);
        assert_eq!(schedule.factor(20), 0.1);
        assert!((schedule.factor(35) - 0.01).abs() < 1e-15);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_its_key() {
        for (schedule, key) in [
            (cosine(6.0, Update::EveryStep), "schedule.warmup_epochs"),
            (
                cosine(f64::NAN, Update::EveryStep),
                "schedule.warmup_epochs",
            ),
            (cosine(-1.0, Update::EveryStep), "schedule.warmup_epochs"),
            (
                ScheduleConfig::Step {
                    milestones: vec![3.0, 2.0],
                    factor: 0.1,
                    warmup_epochs: 0.0,
                    start_factor: 1.0,
                },
                "schedule",
            ),
        ] {
            let message = schedule.in_steps(6, 78).unwrap_err().to_string();
            assert!(message.contains(&format!("`{key}`")), "{message}");
        }
    }
}
