//! The update of running statistics.

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, WithDType, bail};

/// `tensor = (1 - momentum) * tensor + momentum * values`, in place: whoever shares the tensor,
/// such as a checkpoint, sees it, and no graph grows.
pub(super) struct Blend {
    pub(super) momentum: f64,
    pub(super) values: Vec<f64>,
}

impl Blend {
    fn run<T: WithDType>(&self, running: &mut [T]) {
        for (running, &value) in running.iter_mut().zip(&self.values) {
            let old = running.to_f64();
            *running = T::from_f64((1.0 - self.momentum) * old + self.momentum * value);
        }
    }
}

impl InplaceOp1 for Blend {
    fn name(&self) -> &'static str {
        "running-statistics"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            bail!("batch_norm: running statistics must be contiguous");
        };
        match storage {
            CpuStorage::F32(values) => self.run(&mut values[start..end]),
            CpuStorage::F64(values) => self.run(&mut values[start..end]),
            _ => bail!("batch_norm: running statistics must be f32 or f64"),
        }
        Ok(())
    }
}
