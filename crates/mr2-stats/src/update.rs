//! One batch's step of the moving averages of the classes that it has.
use candle_core::{Result, Tensor};

use crate::StatsConfig;
use crate::norm::Norm;
use crate::segment::Groups;

/// What the averages of one batch share.
pub(crate) struct Update {
    /// (present): the classes.
    pub classes: Tensor,
    pub norm: Norm,
    /// (present): how many batches had the class before.
    pub batches_before: Tensor,
    /// (present): the share of the past that stays, 0 where there is none.
    pub keep: Tensor,
    decay: f64,
}

impl Update {
    pub fn new(groups: &Groups, config: &StatsConfig, batches: &Tensor) -> Result<Self> {
        let classes = Tensor::new(groups.present.as_slice(), batches.device())?;
        let batches_before = batches.index_select(&classes, 0)?;
        let (norm, decay) = (Norm(config.norm), config.decay);
        let keep = (batches_before.gt(0.0)?.to_dtype(batches.dtype())? * decay)?;
        Ok(Self {
            classes,
            norm,
            batches_before,
            keep,
            decay,
        })
    }

    /// The counts of batches after this one.
    pub fn counted(&self, batches: &Tensor) -> Result<Tensor> {
        batches.scatter(&self.classes, &(&self.batches_before + 1.0)?, 0)
    }

    /// The moving average, with the values of the classes present.
    pub fn average(&self, state: &Tensor, batch: &Tensor, keep: &Tensor) -> Result<Tensor> {
        let old = (state.index_select(&self.classes, 0)? * keep)?;
        let new = (old + (batch * keep.affine(-1.0, 1.0)?)?)?;
        state.scatter(&self.classes, &new, 0)
    }

    /// The moving averages of p-norm and L2 deviations, given as (state, batch): one if p = 2.
    pub fn average_both(
        &self,
        of_norm: (&Tensor, &Tensor),
        of_l2: (&Tensor, &Tensor),
        keep: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let averaged = self.average(of_norm.0, of_norm.1, keep)?;
        let pairs = match self.norm.is_l2() {
            true => averaged.clone(),
            false => self.average(of_l2.0, of_l2.1, keep)?,
        };
        Ok((averaged, pairs))
    }

    /// What stays of sums over batches with two samples of a class: all of it where this batch
    /// has one sample, nothing where there was no such batch.
    pub fn keep_of_sums(&self, degrees: &Tensor, counts: &Tensor) -> Result<Tensor> {
        let before = degrees.index_select(&self.classes, 0)?;
        let keep = (before.gt(0.0)?.to_dtype(before.dtype())? * self.decay)?;
        keep.maximum(&counts.eq(1.0)?.to_dtype(before.dtype())?)
    }

    /// What stays of deviations from running means: all at the first batch of a class, which has
    /// none to deviate from, nothing at the second.
    pub fn keep_of_deviations(&self) -> Result<Tensor> {
        let dtype = self.keep.dtype();
        let first = self.batches_before.eq(0.0)?.to_dtype(dtype)?;
        let often = self.batches_before.gt(1.0)?.to_dtype(dtype)?;
        first + (often * self.decay)?
    }
}
