//! LDAM: additive margins that grow with a class's rarity, on a cosine head.

use mr2_loss::baselines::{class_balanced_weights, class_weighted_mean, ldam, ldam_margins};

use super::{Objective, Reweight, Setting, StepInput, StepLoss};
use crate::error::{Error, Result};

pub(super) struct Ldam {
    /// Of each class.
    margins: Vec<f64>,
    scale: f64,
    deferred: Option<Deferred>,
}

/// Deferred re-weighting.
struct Deferred {
    /// Epochs before it.
    epoch: u64,
    /// Of each class.
    weights: Vec<f64>,
}

impl Ldam {
    pub(super) fn new(
        max_margin: f64,
        scale: f64,
        reweight: &Reweight,
        setting: &Setting<'_>,
    ) -> Result<Self> {
        let (cosines, labels) = setting.rehearsal()?;
        let margins = ldam_margins(&setting.counts, max_margin)?;
        ldam(&cosines, &labels, &margins, scale, None)?;
        let deferred = match *reweight {
            Reweight::Off {} => None,
            Reweight::Deferred { epoch, beta } => {
                let epochs = setting.config.epochs;
                if epoch >= epochs {
                    let reason = format!(
                        "ldam: reweight.epoch must be less than the {epochs} epochs, got {epoch}; \
                         write reweight = {{ kind = \"off\" }} for none"
                    );
                    return Err(Error::Config {
                        key: "objective",
                        reason,
                    });
                }
                let weights = class_balanced_weights(&setting.counts, beta)?;
                Some(Deferred { epoch, weights })
            }
        };
        Ok(Self {
            margins,
            scale,
            deferred,
        })
    }
}

impl Objective for Ldam {
    fn loss(&self, step: &StepInput<'_>) -> Result<StepLoss> {
        let deferred = self.deferred.as_ref();
        let weights = deferred
            .filter(|deferred| step.epoch >= deferred.epoch)
            .map(|deferred| deferred.weights.as_slice());
        let labels = step.labels();
        let losses =
            ldam(step.logits, labels, &self.margins, self.scale, weights).map_err(|error| {
                Error::Config {
                    key: "objective",
                    reason: format!(
                        "{}; write head = {{ kind = \"cosine\", scale = 1.0 }}, as the objective has its \
                         own scale",
                        Error::reason(&error)
                    ),
                }
            })?;
        Ok(StepLoss::of(match weights {
            None => losses.mean_all()?,
            Some(weights) => class_weighted_mean(&losses, labels, weights)?,
        }))
    }
}
