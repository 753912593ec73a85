//! What each estimator keeps, what it makes of a batch and what it shows.
use candle_core::{Result, Tensor};

use crate::estimator::Estimator;
use crate::moments::{Running, moments};
use crate::norm::Norm;
use crate::segment::Groups;
use crate::segment_sum::above;
use crate::snapshot::Wide;
use crate::update::Update;

type Fields<'a> = Vec<(&'static str, &'a Tensor)>;

/// The moving averages of one estimator.
pub(crate) enum Averages {
    BatchLocal(BatchLocal),
    Pooled(Pooled),
    RunningMean(RunningMean),
}

/// Tensors of shape (classes).
pub(crate) struct BatchLocal {
    mean_norm: Tensor,
    spread: Tensor,
    pair_spread: Tensor,
}

/// Tensors of shape (classes).
pub(crate) struct Pooled {
    /// `mean ‖φ‖²` for p = 2, `‖mean‖_p²` for others.
    level: Tensor,
    /// `Σ ‖φ − mean‖_p²`, over batches with two samples of the class or more.
    deviations: Tensor,
    /// `Σ ‖φ − mean‖_2²`, over the same.
    pair_deviations: Tensor,
    /// n − 1, over the same; on the host.
    degrees: Tensor,
}

/// Tensors of shape (classes), but for the mean.
pub(crate) struct RunningMean {
    /// (classes, dim), changed in place on the CPU.
    mean: Tensor,
    mean_norm: Tensor,
    spread: Tensor,
    pair_spread: Tensor,
}

impl Averages {
    /// Asks `source` for each tensor by name and shape, in the order of [`Averages::fields`].
    pub fn build(
        estimator: Estimator,
        classes: usize,
        dim: usize,
        mut source: impl FnMut(&'static str, &[usize]) -> Result<Tensor>,
    ) -> Result<Self> {
        Ok(match estimator {
            Estimator::BatchLocal => Self::BatchLocal(BatchLocal {
                mean_norm: source("mean_norm", &[classes])?,
                spread: source("spread", &[classes])?,
                pair_spread: source("pair_spread", &[classes])?,
            }),
            Estimator::Pooled => Self::Pooled(Pooled {
                level: source("level", &[classes])?,
                deviations: source("deviations", &[classes])?,
                pair_deviations: source("pair_deviations", &[classes])?,
                degrees: source("degrees", &[classes])?,
            }),
            Estimator::RunningMean => Self::RunningMean(RunningMean {
                mean: source("mean", &[classes, dim])?,
                mean_norm: source("mean_norm", &[classes])?,
                spread: source("spread", &[classes])?,
                pair_spread: source("pair_spread", &[classes])?,
            }),
        })
    }

    pub fn fields(&self) -> Fields<'_> {
        match self {
            Self::BatchLocal(BatchLocal {
                mean_norm,
                spread,
                pair_spread,
            }) => {
                vec![
                    ("mean_norm", mean_norm),
                    ("spread", spread),
                    ("pair_spread", pair_spread),
                ]
            }
            Self::Pooled(Pooled {
                level,
                deviations,
                pair_deviations,
                degrees,
            }) => vec![
                ("level", level),
                ("deviations", deviations),
                ("pair_deviations", pair_deviations),
                ("degrees", degrees),
            ],
            Self::RunningMean(RunningMean {
                mean,
                mean_norm,
                spread,
                pair_spread,
            }) => vec![
                ("mean", mean),
                ("mean_norm", mean_norm),
                ("spread", spread),
                ("pair_spread", pair_spread),
            ],
        }
    }

    /// The averages after a batch; `about` is the centre, if there is one.
    pub fn after(
        &self,
        features: &Tensor,
        groups: &Groups,
        about: Option<&Tensor>,
        update: &Update,
    ) -> Result<Self> {
        Ok(match self {
            Self::BatchLocal(own) => Self::BatchLocal(own.after(features, groups, about, update)?),
            Self::Pooled(own) => Self::Pooled(own.after(features, groups, about, update)?),
            Self::RunningMean(own) => {
                Self::RunningMean(own.after(features, groups, about, update)?)
            }
        })
    }

    /// The statistics, given how many batches had each class, on the host.
    pub fn wide(&self, batches: &Tensor, norm: Norm) -> Result<Wide> {
        match self {
            Self::BatchLocal(own) => own.wide(batches),
            Self::Pooled(own) => own.wide(batches, norm),
            Self::RunningMean(own) => own.wide(batches),
        }
    }
}

impl BatchLocal {
    fn after(
        &self,
        features: &Tensor,
        groups: &Groups,
        about: Option<&Tensor>,
        update: &Update,
    ) -> Result<Self> {
        let rows = update.class_rows();
        let batch = moments(features, groups, update.norm, about, None, rows)?;
        let (spread, pair_spread) = update.average_both(
            (&self.spread, &batch.spread),
            (&self.pair_spread, &batch.pair_spread),
            &update.keep,
        )?;
        let mean_norm = update.average(&self.mean_norm, &batch.mean_norm, &update.keep)?;
        Ok(Self {
            mean_norm,
            spread,
            pair_spread,
        })
    }

    fn wide(&self, batches: &Tensor) -> Result<Wide> {
        let seen = above(batches, 0.0)?.to_device(self.spread.device())?;
        Ok(Wide {
            m: self.mean_norm.clone(),
            v: self.spread.clone(),
            second_moment: (&self.mean_norm + &self.spread)?,
            pair_spread: self.pair_spread.clone(),
            has_spread: seen.clone(),
            seen,
        })
    }
}

impl Pooled {
    fn after(
        &self,
        features: &Tensor,
        groups: &Groups,
        about: Option<&Tensor>,
        update: &Update,
    ) -> Result<Self> {
        let rows = update.class_rows();
        let batch = moments(features, groups, update.norm, about, None, rows)?;
        let level = match update.norm.is_l2() {
            // The mean of ‖φ‖² over the batch, exactly.
            true => (&batch.mean_norm + &batch.spread)?,
            false => batch.mean_norm,
        };
        let counts = update.counts(groups)?;
        let keep_degrees = update.keep_of_sums(&self.degrees, &counts)?;
        let keep = update.uploaded(&keep_degrees)?;
        let counts_there = update.uploaded(&counts)?;
        let (deviations, pair_deviations) = update.average_both(
            (&self.deviations, &(&batch.spread * &counts_there)?),
            (
                &self.pair_deviations,
                &(&batch.pair_spread * &counts_there)?,
            ),
            &keep,
        )?;
        Ok(Self {
            level: update.average(&self.level, &level, &update.keep)?,
            deviations,
            pair_deviations,
            degrees: update.average(&self.degrees, &(counts - 1.0)?, &keep_degrees)?,
        })
    }

    fn wide(&self, batches: &Tensor, norm: Norm) -> Result<Wide> {
        let device = self.level.device();
        let zeros = self.degrees.zeros_like()?;
        let has_spread = self.degrees.gt(&zeros)?.to_device(device)?;
        // 0 / 1 for classes without degrees of freedom, whose sums are 0.
        let none = self.degrees.eq(&zeros)?.to_dtype(self.degrees.dtype())?;
        let divisor = (&self.degrees + none)?.to_device(device)?;
        let v = (&self.deviations / &divisor)?;
        let (m, second_moment) = match norm.is_l2() {
            true => ((&self.level - &v)?.relu()?, self.level.clone()),
            false => {
                let known = has_spread.to_dtype(v.dtype())?;
                (self.level.clone(), ((&self.level + &v)? * known)?)
            }
        };
        let pair_spread = (&self.pair_deviations / &divisor)?;
        Ok(Wide {
            m,
            v,
            second_moment,
            pair_spread,
            seen: above(batches, 0.0)?.to_device(device)?,
            has_spread,
        })
    }
}

impl RunningMean {
    fn after(
        &self,
        features: &Tensor,
        groups: &Groups,
        about: Option<&Tensor>,
        update: &Update,
    ) -> Result<Self> {
        let running = Running {
            mean: update.select(&self.mean)?,
            keep: update.keep.clone(),
        };
        let rows = update.class_rows();
        let batch = moments(features, groups, update.norm, about, Some(&running), rows)?;
        let (spread, pair_spread) = update.average_both(
            (&self.spread, &batch.spread),
            (&self.pair_spread, &batch.pair_spread),
            &update.keep_of_deviations()?,
        )?;
        // The norm of the averaged mean, not an average of norms.
        let mean_norm = update.replace(&self.mean_norm, &batch.mean_norm)?;
        let mean = match &batch.running_mean {
            Some(rows) => update.replace_wide(&self.mean, rows)?,
            None => self.mean.clone(),
        };
        Ok(Self {
            mean,
            mean_norm,
            spread,
            pair_spread,
        })
    }

    fn wide(&self, batches: &Tensor) -> Result<Wide> {
        let device = self.spread.device();
        let has_spread = above(batches, 1.0)?.to_device(device)?;
        let known = has_spread.to_dtype(self.spread.dtype())?;
        Ok(Wide {
            m: self.mean_norm.clone(),
            v: self.spread.clone(),
            second_moment: ((&self.mean_norm + &self.spread)? * known)?,
            pair_spread: self.pair_spread.clone(),
            seen: above(batches, 0.0)?.to_device(device)?,
            has_spread,
        })
    }
}
