//! Margin regularisation: logit margins and representation margins from class statistics.

use std::collections::HashMap;

use candle_core::{DType, Tensor};
use mr2_loss::{FeatureMemory, Mr2Config, Positives, gamma, mr2_with_memory, spread_threshold};
use mr2_stats::ClassStats;

use super::{Margins, Objective, Representation, Setting, StepInput, StepLoss};
use crate::error::Result;
use crate::report::Watched;

pub(super) struct Mr2 {
    config: Mr2Config,
    statistics: ClassStats,
    /// Where the representation margin takes positives from earlier batches.
    memory: Option<FeatureMemory>,
}

/// What the names of the memory's tensors begin with, beside those of the statistics.
const MEMORY: &str = "memory.";

impl Mr2 {
    pub(super) fn new(config: Mr2Config, setting: &Setting<'_>) -> Result<Self> {
        config.check()?;
        let statistics = ClassStats::new(
            config.stats.clone(),
            setting.classes,
            setting.feature_dim,
            setting.dtype,
            setting.device,
        )?;
        let memory = match config.representation.positives {
            Positives::Memory(capacity) if config.representation.weight > 0.0 => {
                Some(FeatureMemory::new(
                    capacity,
                    setting.classes,
                    setting.feature_dim,
                    setting.dtype,
                    setting.device,
                )?)
            }
            _ => None,
        };
        Ok(Self {
            config,
            statistics,
            memory,
        })
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
        self.statistics.observe(step.features, step.pairs)?;
        if let Some(memory) = &mut self.memory {
            memory.push(step.features, step.pairs)?;
        }
        Ok(())
    }

    fn loss(&self, step: &StepInput<'_>) -> Result<StepLoss> {
        let terms = mr2_with_memory(
            step.logits,
            step.target(),
            step.features,
            step.pairs,
            &self.statistics.snapshot()?,
            self.memory.as_ref(),
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

    fn margins(&self) -> Result<Option<Margins>> {
        let snapshot = self.statistics.snapshot()?;
        let known = |tensor: &Tensor| tensor.to_dtype(DType::F64);
        let gamma = known(&gamma(&snapshot, &self.config.gamma)?)?.to_vec1()?;
        let threshold = spread_threshold(&snapshot, self.config.representation.spread)?;
        Ok(Some(Margins {
            gamma: gamma.into_iter().map(Some).collect(),
            spread_threshold: Some(known(&threshold)?.to_scalar()?),
        }))
    }

    fn watched(&self) -> Option<Watched> {
        Some(Watched {
            representation_weight: self.config.representation.weight,
            decay: self.config.stats.decay,
        })
    }

    fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        let mut tensors = self.statistics.tensors()?;
        if let Some(memory) = &self.memory {
            let named = memory.tensors()?.into_iter();
            tensors.extend(named.map(|(name, tensor)| (format!("{MEMORY}{name}"), tensor)));
        }
        Ok(tensors)
    }

    fn load(&mut self, tensors: &HashMap<String, Tensor>) -> Result<()> {
        let Some(memory) = &mut self.memory else {
            return Ok(self.statistics.load(tensors)?);
        };
        let (mut statistics, mut remembered) = (HashMap::new(), HashMap::new());
        for (name, tensor) in tensors {
            match name.strip_prefix(MEMORY) {
                Some(name) => remembered.insert(name.to_string(), tensor.clone()),
                None => statistics.insert(name.clone(), tensor.clone()),
            };
        }
        memory.load(&remembered)?;
        Ok(self.statistics.load(&statistics)?)
    }
}
