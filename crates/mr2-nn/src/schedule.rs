//! Learning-rate schedules as functions of the step: nothing to step, nothing to save.
//!
//! A schedule is a factor on the base learning rate. A resumed run asks for the factor of the
//! step it continues at and has what the uninterrupted run had.
//!
//! ```
//! use mr2_nn::schedule::Schedule;
//! let schedule = Schedule::WarmupCosine {
//!     warmup_steps: 10,
//!     total_steps: 110,
//!     start_factor: 0.1,
//!     final_factor: 0.0,
//!     update_every_steps: 1,
//! };
//! schedule.validate()?;
//! let lr: Vec<f64> = [0, 10, 60, 110].map(|step| 0.1 * schedule.factor(step)).to_vec();
//! assert_eq!(lr[..2], [0.1 * 0.1, 0.1]);
//! assert!((lr[2] - 0.05).abs() < 1e-12 && lr[3] == 0.0);
//! # Ok::<(), candle_core::Error>(())
//! ```
use candle_core::{Result, bail};
use serde::{Deserialize, Serialize};

/// The factor on the learning rate at every step; step 0 is the first optimiser step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// Always 1.
    // With braces, since serde lets unknown keys of a tagged unit variant pass.
    Constant {},
    /// Linear from `start_factor` at step 0 to 1 at `warmup_steps`, then half a cosine to
    /// `final_factor` at `total_steps`, where it stays. It is `torch.optim.lr_scheduler`'s
    /// `LinearLR` followed by `CosineAnnealingLR`.
    WarmupCosine {
        /// Steps until the factor is 1; 0 for no warm-up.
        warmup_steps: u64,
        /// The step at which the cosine reaches `final_factor`.
        total_steps: u64,
        /// The factor at step 0.
        start_factor: f64,
        /// The factor at the end.
        final_factor: f64,
        /// The factor changes at multiples of this only: 1 for every step, the steps of an epoch
        /// for recipes that step their scheduler once an epoch.
        update_every_steps: u64,
    },
    /// Linear warm-up as above; at each milestone the factor is multiplied by `factor`
    /// (`MultiStepLR`, its milestones counted from step 0).
    Step {
        /// Ascending steps.
        milestones: Vec<u64>,
        /// The multiplier at each milestone.
        factor: f64,
        /// Steps until the factor is 1; 0 for no warm-up.
        warmup_steps: u64,
        /// The factor at step 0.
        start_factor: f64,
    },
}

impl Schedule {
    /// The factor at `step`.
    pub fn factor(&self, step: u64) -> f64 {
        match self {
            Self::Constant {} => 1.0,
            Self::WarmupCosine {
                warmup_steps,
                total_steps,
                start_factor,
                final_factor,
                update_every_steps,
            } => {
                let step = step - step % (*update_every_steps).max(1);
                if step < *warmup_steps {
                    return warmup(step, *warmup_steps, *start_factor);
                }
                if step >= *total_steps {
                    return *final_factor;
                }
                let done = (step - warmup_steps) as f64 / (total_steps - warmup_steps) as f64;
                let cosine = 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
                final_factor + (1.0 - final_factor) * cosine
            }
            Self::Step {
                milestones,
                factor,
                warmup_steps,
                start_factor,
            } => {
                let passed = milestones
                    .iter()
                    .filter(|&&milestone| milestone <= step)
                    .count();
                let decay = (0..passed).fold(1.0, |decay, _| decay * factor);
                decay * warmup(step, *warmup_steps, *start_factor)
            }
        }
    }

    /// Refuses what can't be meant.
    ///
    /// # Errors
    /// A warm-up as long as the whole schedule or longer; factors that are negative or not
    /// finite; `update_every_steps` of 0; milestones that don't ascend or lie within the warm-up.
    pub fn validate(&self) -> Result<()> {
        match self {
            Self::Constant {} => Ok(()),
            Self::WarmupCosine {
                warmup_steps,
                total_steps,
                start_factor,
                final_factor,
                update_every_steps,
            } => {
                if warmup_steps >= total_steps {
                    bail!(
                        "schedule: warmup_steps must be smaller than total_steps, got \
                         {warmup_steps} and {total_steps}"
                    )
                }
                if *update_every_steps == 0 {
                    bail!("schedule: update_every_steps must be at least 1, got 0")
                }
                check_factor("start_factor", *start_factor)?;
                check_factor("final_factor", *final_factor)
            }
            Self::Step {
                milestones,
                factor,
                warmup_steps,
                start_factor,
            } => {
                if !milestones.is_sorted_by(|a, b| a < b) {
                    bail!("schedule: milestones must ascend strictly, got {milestones:?}")
                }
                if let Some(first) = milestones.first().filter(|&first| first < warmup_steps) {
                    bail!(
                        "schedule: the first milestone must not lie within the warm-up, got \
                         milestone {first} and warmup_steps {warmup_steps}"
                    )
                }
                check_factor("factor", *factor)?;
                check_factor("start_factor", *start_factor)
            }
        }
    }
}

fn warmup(step: u64, warmup_steps: u64, start_factor: f64) -> f64 {
    if step >= warmup_steps {
        return 1.0;
    }
    start_factor + (1.0 - start_factor) * (step as f64 / warmup_steps as f64)
}

fn check_factor(name: &str, value: f64) -> Result<()> {
    if !value.is_finite() || value < 0.0 {
        bail!("schedule: {name} must be finite and not negative, got {value}")
    }
    Ok(())
}
