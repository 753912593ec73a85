//! One batch's step of the moving averages of the classes that it has.
use candle_core::{Device, Result, Tensor};

use crate::StatsConfig;
use crate::norm::Norm;
use crate::segment::Groups;
use crate::segment_sum::{ClassRows, above, filled, wide_vector};

/// What the averages of one batch share. Its tensors have the rows of its [`ClassRows`]. What labels alone
/// decide is computed on the host, and uploaded where the device needs it.
pub(crate) struct Update {
    rows: Rows,
    pub norm: Norm,
    device: Device,
    /// How many batches had the class before; on the host.
    batches_before: Tensor,
    /// The share of the past that stays: 0 where there is none, 1 where the batch has nothing.
    pub keep: Tensor,
    decay: f64,
}

/// The rows of the state that a batch changes.
enum Rows {
    /// (present): those of these classes.
    Present(Tensor),
    /// All, but nothing changes in those where `absent`, (classes) on the host, is 1 and not 0.
    Every { absent: Tensor },
}

impl Update {
    /// `batches`, (classes) on the host; averages on `device`.
    pub fn new(
        groups: &Groups,
        config: &StatsConfig,
        batches: &Tensor,
        rows: ClassRows,
        device: &Device,
    ) -> Result<Self> {
        let (host, wide) = (&Device::Cpu, batches.dtype());
        let rows = match rows {
            ClassRows::Present => Rows::Present(Tensor::new(groups.present.as_slice(), host)?),
            ClassRows::Every => {
                let absent = groups.of_every_class(|count| f64::from(u8::from(count == 0)));
                Rows::Every {
                    absent: wide_vector(absent, wide, host)?,
                }
            }
        };
        let (norm, decay) = (Norm(config.norm), config.decay);
        let batches_before = rows.select(batches)?;
        let keep = (above(&batches_before, 0.0)?.to_dtype(wide)? * decay)?;
        Ok(Self {
            keep: rows.all_where_absent(keep)?.to_device(device)?,
            rows,
            norm,
            device: device.clone(),
            batches_before,
            decay,
        })
    }

    /// Which classes the rows are of.
    pub fn class_rows(&self) -> ClassRows {
        match self.rows {
            Rows::Present(_) => ClassRows::Present,
            Rows::Every { .. } => ClassRows::Every,
        }
    }

    /// The counts of batches after this one, on the host.
    pub fn counted(&self, batches: &Tensor) -> Result<Tensor> {
        match &self.rows {
            Rows::Present(_) => self.replace(batches, &(&self.batches_before + 1.0)?),
            Rows::Every { absent } => batches + absent.affine(-1.0, 1.0)?,
        }
    }

    /// What the host has computed, where the averages are.
    pub fn uploaded(&self, host: &Tensor) -> Result<Tensor> {
        host.to_device(&self.device)
    }

    /// The rows of a state.
    pub fn select(&self, state: &Tensor) -> Result<Tensor> {
        self.rows.select(state)
    }

    /// A state of shape (classes) with these rows in place of its own.
    pub fn replace(&self, state: &Tensor, rows: &Tensor) -> Result<Tensor> {
        match &self.rows {
            Rows::Present(classes) => state.scatter(classes, rows, 0),
            Rows::Every { .. } => Ok(rows.clone()),
        }
    }

    /// As [`Update::replace`] for a state of shape (classes, dim), which may be changed in place.
    pub fn replace_wide(&self, state: &Tensor, rows: &Tensor) -> Result<Tensor> {
        let Rows::Present(classes) = &self.rows else {
            return Ok(rows.clone());
        };
        let index = classes.unsqueeze(1)?.broadcast_as(rows.shape())?;
        state.scatter_set(&index.contiguous()?, rows, 0)?;
        Ok(state.clone())
    }

    /// The samples of each class in the batch, on the host.
    pub fn counts(&self, groups: &Groups) -> Result<Tensor> {
        let counts = match &self.rows {
            Rows::Present(_) => groups.counts.iter().map(|&n| f64::from(n)).collect(),
            Rows::Every { .. } => groups.of_every_class(f64::from),
        };
        wide_vector(counts, self.keep.dtype(), &Device::Cpu)
    }

    /// The moving average, with the values of the batch.
    pub fn average(&self, state: &Tensor, batch: &Tensor, keep: &Tensor) -> Result<Tensor> {
        let old = (self.select(state)? * keep)?;
        let new = (old + (batch * keep.affine(-1.0, 1.0)?)?)?;
        self.replace(state, &new)
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
    /// has fewer, nothing where there was no such batch. On the host, as its arguments.
    pub fn keep_of_sums(&self, degrees: &Tensor, counts: &Tensor) -> Result<Tensor> {
        let before = self.select(degrees)?;
        let keep = (above(&before, 0.0)?.to_dtype(before.dtype())? * self.decay)?;
        keep.maximum(&counts.le(&filled(counts, 1.0)?)?.to_dtype(before.dtype())?)
    }

    /// What stays of deviations from running means: all at the first batch of a class, which has
    /// none to deviate from, nothing at the second.
    pub fn keep_of_deviations(&self) -> Result<Tensor> {
        let dtype = self.keep.dtype();
        let before = &self.batches_before;
        let first = before.eq(&before.zeros_like()?)?.to_dtype(dtype)?;
        let often = above(before, 1.0)?.to_dtype(dtype)?;
        let keep = (first + (often * self.decay)?)?;
        self.uploaded(&self.rows.all_where_absent(keep)?)
    }
}

impl Rows {
    fn select(&self, state: &Tensor) -> Result<Tensor> {
        match self {
            Self::Present(classes) => state.index_select(classes, 0),
            Self::Every { .. } => Ok(state.clone()),
        }
    }

    /// `keep`, but 1 in rows of which the batch has nothing.
    fn all_where_absent(&self, keep: Tensor) -> Result<Tensor> {
        match self {
            Self::Present(_) => Ok(keep),
            Self::Every { absent } => keep.maximum(absent),
        }
    }
}
