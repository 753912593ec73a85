//! The mean over windows on a CUDA device.

use super::AvgPool2d;
use crate::graph::{Act, Core, DeviceNode, DeviceSlot};
use crate::kernels::cuda::pooling::{mean, mean_gradient};
use crate::kernels::pooling::{Divisor, Windows};
use crate::layers::max_pool::windows;
use candle_core::{Result, Tensor};
use std::sync::Arc;

pub(super) fn forward(layer: &AvgPool2d, x: &Act, slot: &Arc<DeviceSlot>) -> Result<Act> {
    let (kernel, stride, padding) = (layer.kernel, layer.stride, layer.padding);
    let (windows, shape) = windows("avg_pool", slot.shape, kernel, stride, padding)?;
    let divisor = layer.divisor();
    let out = mean(&windows, divisor, &slot.values)?;
    x.core.record_on_device(shape, out, &[x], &[], || MeanNode {
        windows,
        divisor,
        x: slot.clone(),
    })
}

struct MeanNode {
    windows: Windows,
    divisor: Divisor,
    x: Arc<DeviceSlot>,
}

impl DeviceNode for MeanNode {
    fn name(&self) -> &'static str {
        "avg_pool"
    }

    fn backward(&self, core: &Core, _: &DeviceSlot, gradient: Tensor) -> Result<()> {
        let part = mean_gradient(&self.windows, self.divisor, &gradient)?;
        self.x.give_gradient(core, part)
    }
}
