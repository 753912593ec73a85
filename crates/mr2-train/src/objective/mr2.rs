//! Margin regularisation: logit margins and representation margins from class statistics.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use mr2_loss::{Mr2Config, gamma, mr2, spread_threshold};
use mr2_stats::ClassStats;

use super::{Margins, Objective, Representation, StepInput, StepLoss};
use crate::error::Result;
use crate::report::Watched;

pub(super) struct Mr2 {
    config: Mr2Config,
    statistics: ClassStats,
}

impl Mr2 {
    pub(super) fn new(
        config: Mr2Config,
        classes: usize,
        feature_dim: usize,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let stats = config.stats.clone();
        let statistics = ClassStats::new(stats, classes, feature_dim, dtype, device)?;
        Ok(Self { config, statistics })
    }
}

impl Objective for Mr2 {
    fn start_epoch(&mut self) -> Result<()> {
        if self.config.restart_every_epoch {
            self.statistics.restart()?;
        }
        Ok(())
    }

    fn observe(&mut self, step: &StepInput<'_>) -> Result<()> {
        Ok(self.statistics.observe(step.features, step.pairs)?)
    }

    fn loss(&self, step: &StepInput<'_>) -> Result<StepLoss> {
        let terms = mr2(
            step.logits,
            step.target(),
            step.features,
            step.pairs,
            &self.statistics.snapshot()?,
            &self.config,
        )?;
        let weight = self.config.representation.weight;
        Ok(StepLoss {
            total: terms.total,
            classification: terms.logit_margin,
            representation: terms
                .representation
                .map(|term| Representation { term, weight }),
        })
    }

    fn margins(&self) -> Result<Margins> {
        let snapshot = self.statistics.snapshot()?;
        let known = |tensor: &Tensor| tensor.to_dtype(DType::F64);
        let gamma = known(&gamma(&snapshot, &self.config.gamma)?)?.to_vec1()?;
        let threshold = spread_threshold(&snapshot, self.config.representation.spread)?;
        Ok(Margins {
            gamma: gamma.into_iter().map(Some).collect(),
            spread_threshold: Some(known(&threshold)?.to_scalar()?),
        })
    }

    fn watched(&self) -> Option<Watched> {
        Some(Watched {
            representation_weight: self.config.representation.weight,
            decay: self.config.stats.decay,
        })
    }

    fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        Ok(self.statistics.tensors()?)
    }

    fn load(&mut self, tensors: &HashMap<String, Tensor>) -> Result<()> {
        Ok(self.statistics.load(tensors)?)
    }
}
