//! The margin of each class, from the exact statistics of frozen features.

use candle_core::{Device, Tensor};
use mr2_loss::{Centre, GammaConfig, Mr2Config, Snapshot, exact, gamma};
use serde::{Deserialize, Serialize};

use super::features::Prepared;
use crate::error::{Error, Result};

/// What a sample's logits are divided by: the margin `γ` of its own class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum MarginConfig {
    /// 1: plain cross-entropy.
    Erm {},
    /// The same for every class: the control that tells the gain of a temperature from the gain of `γ`'s spread.
    Uniform {
        /// `c̄`.
        budget: f64,
    },
    /// MR²'s (arXiv 2602.00205), with `m` and `v` exact over the training features.
    Mr2 {
        /// The norm `p` of the statistics: 2 for linear heads, 3 for L2-normalised features.
        norm: f64,
        /// What the statistics are measured from.
        centre: Centre,
        /// `γ` of the statistics.
        gamma: GammaConfig,
        /// `λ` of the representation loss, which must be 0: see [`MarginConfig::check`].
        representation_weight: f64,
    },
}

impl MarginConfig {
    /// What a preset's margins are on frozen features: its norm, centre and `γ`, and no representation loss.
    pub fn of(preset: &Mr2Config) -> Self {
        Self::Mr2 {
            norm: preset.stats.norm,
            centre: preset.stats.centre,
            gamma: preset.gamma.clone(),
            representation_weight: 0.0,
        }
    }

    /// Whether every number is in its range.
    ///
    /// # Errors
    /// A budget that is not positive; a `λ` other than 0: the representation loss is a function of features alone, and
    /// on a frozen encoder these are constants, so the loss is one too and no head would ever feel it.
    pub fn check(&self) -> Result<()> {
        let refused = |key, reason| Err(Error::Config { key, reason });
        match self {
            Self::Uniform { budget } if !(*budget > 0.0 && budget.is_finite()) => refused(
                "margins.budget",
                format!("must be positive and finite, got {budget}"),
            ),
            Self::Mr2 {
                representation_weight: weight,
                ..
            } if *weight != 0.0 => refused(
                "margins.representation_weight",
                format!(
                    "must be 0 on a frozen encoder, got {weight}: the representation loss depends on features alone, \
                     which don't change, so it is constant and its gradient is zero; only the margins γ can make a \
                     difference (train the encoder to use λ)"
                ),
            ),
            _ => Ok(()),
        }
    }
}

/// A part's statistics, computed once for every norm and centre that is asked for.
pub(super) struct Margins<'a> {
    set: &'a Prepared<'a>,
    known: Vec<(f64, Centre, Snapshot)>,
}

impl<'a> Margins<'a> {
    pub(super) fn new(set: &'a Prepared<'a>) -> Self {
        Self {
            set,
            known: Vec::new(),
        }
    }

    /// `γ` of each class.
    pub(super) fn of(&mut self, config: &MarginConfig) -> Result<Vec<f64>> {
        let classes = self.set.classes;
        match config {
            MarginConfig::Erm {} => Ok(vec![1.0; classes]),
            MarginConfig::Uniform { budget } => Ok(vec![*budget; classes]),
            MarginConfig::Mr2 {
                norm,
                centre,
                gamma: config,
                ..
            } => {
                let margins = gamma(self.snapshot(*norm, *centre)?, config)?;
                Ok(margins.to_dtype(candle_core::DType::F64)?.to_vec1()?)
            }
        }
    }

    fn snapshot(&mut self, norm: f64, centre: Centre) -> Result<&Snapshot> {
        let is_it = |known: &(f64, Centre, Snapshot)| known.0 == norm && known.1 == centre;
        let place = match self.known.iter().position(is_it) {
            Some(place) => place,
            None => {
                let shape = (self.set.len(), self.set.width);
                let features = Tensor::from_slice(&self.set.features, shape, &Device::Cpu)?;
                let labels = &self.set.labels;
                let snapshot = exact(&features, labels, self.set.classes, norm, centre)?;
                self.known.push((norm, centre, snapshot));
                self.known.len() - 1
            }
        };
        Ok(&self.known[place].2)
    }
}
