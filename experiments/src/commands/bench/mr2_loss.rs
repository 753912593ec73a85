//! What MR2 does in a training step between the network's outputs and its backward pass.

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use mr2_loss::{Mr2Config, Preset, Target, mr2};
use mr2_stats::{ClassStats, Pairs};

/// The statistics and the loss that reads them.
pub(crate) struct Mr2Loss {
    config: Mr2Config,
    statistics: ClassStats,
    classes: usize,
}

impl Mr2Loss {
    pub(crate) fn new(
        preset: Preset,
        classes: usize,
        feature_dim: usize,
        device: &Device,
    ) -> Result<Self> {
        let config = preset.config();
        let stats = config.stats.clone();
        let statistics = ClassStats::new(stats, classes, feature_dim, DType::F32, device)?;
        Ok(Self {
            config,
            statistics,
            classes,
        })
    }

    /// The loss of a batch, a scalar, after the statistics took it: `logits` (batch, classes),
    /// `features` (batch, feature_dim).
    pub(crate) fn forward(
        &mut self,
        logits: &Tensor,
        features: &Tensor,
        labels: &[u32],
    ) -> Result<Tensor> {
        let pairs = Pairs::new(labels, self.classes)?;
        self.statistics.observe(features, &pairs)?;
        let (target, snapshot) = (Target::Hard(labels), self.statistics.snapshot()?);
        Ok(mr2(logits, target, features, &pairs, &snapshot, &self.config)?.total)
    }
}
