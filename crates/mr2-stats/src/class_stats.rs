//! Moving averages of per-class statistics over batches.
use candle_core::{DType, Device, Result, Tensor, bail};

use crate::moments::check_features;
use crate::norm::Norm;
use crate::state::State;
use crate::{Pairs, Snapshot, StatsConfig};

/// The statistics of every class, updated batch by batch.
///
/// A class that no batch has had is *unseen*: all its numbers are 0. What a class has after one
/// batch, or after batches with one sample each, depends on the [`crate::Estimator`]; the
/// [`Snapshot`]'s masks say which numbers are there.
pub struct ClassStats {
    config: StatsConfig,
    classes: usize,
    feature_dim: usize,
    dtype: DType,
    device: Device,
    pub(crate) state: State,
}

impl ClassStats {
    /// Statistics of `classes` unseen classes of features of width `feature_dim`; snapshots are in
    /// `dtype`.
    ///
    /// # Errors
    /// A config whose numbers are out of range, no classes or features, a dtype that is no float.
    pub fn new(
        config: StatsConfig,
        classes: usize,
        feature_dim: usize,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        Self::with_state(config, classes, feature_dim, dtype, device, |config| {
            State::unseen(config, classes, feature_dim, device)
        })
    }

    /// Asks `state` for the state once the rest is known to be in range.
    pub(crate) fn with_state(
        config: StatsConfig,
        classes: usize,
        feature_dim: usize,
        dtype: DType,
        device: &Device,
        state: impl FnOnce(&StatsConfig) -> Result<State>,
    ) -> Result<Self> {
        config.check()?;
        if classes == 0 || feature_dim == 0 {
            bail!("classes and feature_dim must be at least 1, got {classes} and {feature_dim}")
        }
        if !dtype.is_float() {
            bail!("dtype must be a float dtype, got {dtype:?}")
        }
        let state = state(&config)?;
        Ok(Self {
            config,
            classes,
            feature_dim,
            dtype,
            device: device.clone(),
            state,
        })
    }

    /// Takes one batch of features. No gradient passes. Samples that `pairs` masks are ignored.
    ///
    /// # Shapes
    /// `features` (batch, feature_dim), of any float dtype, on the device of the statistics.
    ///
    /// # Errors
    /// Another shape, device or number of classes; on the CPU a NaN or infinite feature (the error
    /// names class and sample). After an error the statistics are as before.
    ///
    /// On an accelerator nothing waits for the features to look at them: one that isn't finite spoils
    /// the statistics of every class, as it does the loss. On CUDA the snapshot may then show 0 for `m`
    /// and `v` of classes that are seen; [`ClassStats::tensors`] alone notices.
    pub fn observe(&mut self, features: &Tensor, pairs: &Pairs) -> Result<()> {
        check_features(features, pairs.batch(), Some(self.feature_dim))?;
        if pairs.classes() != self.classes {
            bail!(
                "pairs must be of {} classes, got {}",
                self.classes,
                pairs.classes()
            )
        }
        if !features.device().same_device(&self.device) {
            bail!(
                "features must be on {:?}, where the statistics are, got {:?}",
                self.device.location(),
                features.device().location()
            )
        }
        if pairs.present().is_empty() {
            return Ok(());
        }
        self.state
            .observe(&features.detach(), pairs.groups(), &self.config)
    }

    /// The statistics now.
    ///
    /// # Errors
    /// Only what the device reports.
    pub fn snapshot(&self) -> Result<Snapshot> {
        self.state.wide(Norm(self.config.norm))?.shown(self.dtype)
    }

    /// Forgets everything: all classes are unseen.
    ///
    /// # Errors
    /// Only what the device reports.
    pub fn restart(&mut self) -> Result<()> {
        self.state = State::unseen(&self.config, self.classes, self.feature_dim, &self.device)?;
        Ok(())
    }

    /// The config.
    pub fn config(&self) -> &StatsConfig {
        &self.config
    }

    /// How many classes there are, seen or not.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The width of the features.
    pub fn feature_dim(&self) -> usize {
        self.feature_dim
    }

    /// The device of the state.
    pub fn device(&self) -> &Device {
        &self.device
    }
}
