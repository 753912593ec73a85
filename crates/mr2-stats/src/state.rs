//! Everything that a batch changes: tensors on the device, by name.
use candle_core::{Device, Result, Tensor};

use crate::averages::Averages;
use crate::estimator::{Centre, StatsConfig};
use crate::moments::global_mean;
use crate::norm::Norm;
use crate::segment::Groups;
use crate::segment_sum::{ClassRows, above, wide_dtype};
use crate::snapshot::Wide;
use crate::update::Update;

/// The moving averages and how many batches are in them. Numbers are 0 until a class's first batch.
pub(crate) struct State {
    rows: ClassRows,
    /// (classes): how many batches have had the class; on the host.
    batches: Tensor,
    centre: Option<MovingCentre>,
    averages: Averages,
}

/// The moving average of the batch mean.
struct MovingCentre {
    /// (dim)
    mean: Tensor,
    /// (1): how many batches it has seen; on the host.
    batches: Tensor,
}

/// Where a tensor of the state lives: on the host if labels alone decide it, since there it is known
/// without waiting for the device.
pub(crate) fn home<'a>(name: &str, device: &'a Device) -> &'a Device {
    match name {
        "batches" | "degrees" | "centre_batches" => &Device::Cpu,
        _ => device,
    }
}

impl State {
    /// Asks `source` for each tensor by name and shape, in a fixed order.
    pub fn build(
        config: &StatsConfig,
        classes: usize,
        dim: usize,
        rows: ClassRows,
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
            rows,
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
        let (rows, dtype) = (ClassRows::on(device), wide_dtype(device));
        Self::build(config, classes, dim, rows, |name, shape| {
            Tensor::zeros(shape, dtype, home(name, device))
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
        let device = features.device();
        let update = Update::new(groups, config, &self.batches, self.rows, device)?;
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
        let keep = (above(&self.batches, 0.0)?.to_dtype(self.batches.dtype())? * decay)?;
        let keep = keep.to_device(self.mean.device())?;
        let old = self.mean.broadcast_mul(&keep)?;
        let new = batch_mean.broadcast_mul(&keep.affine(-1.0, 1.0)?)?;
        Ok(Self {
            mean: (old + new)?,
            batches: (&self.batches + 1.0)?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use candle_core::DType;

    use super::*;
    use crate::estimator::Estimator;

    /// Four batches of six classes: with absent, single and masked samples, and class 5 in none.
    fn observe(config: &StatsConfig, rows: ClassRows) -> State {
        let zeros = |_: &str, shape: &[usize]| Tensor::zeros(shape, DType::F64, &Device::Cpu);
        let mut state = State::build(config, 6, 3, rows, zeros).unwrap();
        let batches = [
            [0, 0, 1, 4, 1],
            [2, 2, 2, 0, 1],
            [4, 4, 0, 0, 3],
            [1, 2, 2, 4, 0],
        ];
        for (step, labels) in (0u32..).zip(batches) {
            let values = (0..15).map(|i| f64::from((i * 7 + step * 5) % 13) - 4.0);
            let features = Tensor::from_iter(values, &Device::Cpu).unwrap();
            let features = features.reshape((5, 3)).unwrap();
            let keep = [true, true, true, step != 2, true];
            let groups = Groups::new(&labels, 6, Some(&keep)).unwrap();
            state.observe(&features, &groups, config).unwrap();
        }
        state
    }

    #[test]
    fn rows_for_every_class_give_what_rows_for_those_present_give() {
        for estimator in Estimator::ALL {
            for (norm, centre) in [(2.0, Centre::None), (3.0, Centre::GlobalMean)] {
                let config = StatsConfig {
                    norm,
                    decay: 0.75,
                    estimator,
                    centre,
                };
                let [a, b] =
                    [ClassRows::Present, ClassRows::Every].map(|rows| observe(&config, rows));
                for ((name, a), (_, b)) in a.fields().into_iter().zip(b.fields()) {
                    let numbers = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f64>().unwrap();
                    for (x, y) in numbers(a).into_iter().zip(numbers(b)) {
                        let near = (x - y).abs() <= 1e-12 * (1.0 + x.abs());
                        assert!(near, "{estimator:?}, {norm}, {name}: {x} and {y}");
                    }
                }
            }
        }
    }
}
