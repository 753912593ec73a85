//! Everything that a batch changes: tensors on the device, by name.
use candle_core::{Device, Result, Tensor};

use crate::averages::Averages;
use crate::estimator::{Centre, StatsConfig};
use crate::moments::global_mean;
use crate::norm::Norm;
use crate::segment::Groups;
use crate::segment_sum::wide_dtype;
use crate::snapshot::Wide;
use crate::update::Update;

/// The moving averages and how many batches are in them. Numbers are 0 until a class's first batch.
pub(crate) struct State {
    /// (classes): how many batches have had the class.
    batches: Tensor,
    centre: Option<MovingCentre>,
    averages: Averages,
}

/// The moving average of the batch mean.
struct MovingCentre {
    /// (dim)
    mean: Tensor,
    /// (1): how many batches it has seen.
    batches: Tensor,
}

impl State {
    /// Asks `source` for each tensor by name and shape, in a fixed order.
    pub fn build(
        config: &StatsConfig,
        classes: usize,
        dim: usize,
        mut source: impl FnMut(&'static str, &[usize]) -> Result<Tensor>,
    ) -> Result<Self> {
        let averages = Averages::build(config.estimator, classes, dim, &mut source)?;
        let centre = match config.centre {
            Centre::None => None,
            Centre::GlobalMean => Some(MovingCentre {
                mean: source("centre", &[dim])?,
                batches: source("centre_batches", &[1])?,
            }),
        };
        Ok(Self {
            batches: source("batches", &[classes])?,
            centre,
            averages,
        })
    }

    pub fn unseen(
        config: &StatsConfig,
        classes: usize,
        dim: usize,
        device: &Device,
    ) -> Result<Self> {
        let dtype = wide_dtype(device);
        Self::build(config, classes, dim, |_, shape| {
            Tensor::zeros(shape, dtype, device)
        })
    }

    /// The tensors by name, in the order of [`State::build`].
    pub fn fields(&self) -> Vec<(&'static str, &Tensor)> {
        let mut fields = self.averages.fields();
        if let Some(MovingCentre { mean, batches }) = &self.centre {
            fields.extend([("centre", mean), ("centre_batches", batches)]);
        }
        fields.push(("batches", &self.batches));
        fields
    }

    /// Takes one batch with at least one sample in a class. After an error nothing has changed.
    pub fn observe(
        &mut self,
        features: &Tensor,
        groups: &Groups,
        config: &StatsConfig,
    ) -> Result<()> {
        let centre = match &self.centre {
            None => None,
            Some(centre) => Some(centre.after(global_mean(features, groups)?, config.decay)?),
        };
        let about = centre.as_ref().map(|centre| &centre.mean);
        let update = Update::new(groups, config, &self.batches)?;
        self.averages = self.averages.after(features, groups, about, &update)?;
        self.batches = update.counted(&self.batches)?;
        self.centre = centre;
        Ok(())
    }

    /// The statistics now.
    pub fn wide(&self, norm: Norm) -> Result<Wide> {
        self.averages.wide(&self.batches, norm)
    }
}

impl MovingCentre {
    fn after(&self, batch_mean: Tensor, decay: f64) -> Result<Self> {
        let keep = (self.batches.gt(0.0)?.to_dtype(self.batches.dtype())? * decay)?;
        let old = self.mean.broadcast_mul(&keep)?;
        let new = batch_mean.broadcast_mul(&keep.affine(-1.0, 1.0)?)?;
        Ok(Self {
            mean: (old + new)?,
            batches: (&self.batches + 1.0)?,
        })
    }
}
