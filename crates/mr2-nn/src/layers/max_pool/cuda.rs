//! The maximum over windows on a CUDA device.

use super::{MaxPool2d, windows};
use crate::graph::{Act, Core, DeviceNode, DeviceSlot};
use crate::kernels::cuda::pooling::{maximum, maximum_gradient};
use crate::kernels::pooling::Windows;
use candle_core::{Result, Tensor, bail};
use std::sync::Arc;

pub(super) fn forward(layer: &MaxPool2d, x: &Act, slot: &Arc<DeviceSlot>) -> Result<Act> {
    let (kernel, stride, padding) = (layer.kernel, layer.stride, layer.padding);
    let (windows, shape) = windows("max_pool", slot.shape, kernel, stride, padding)?;
    // Only the backward asks where the maxima lie.
    let (out, taps) = maximum(&windows, &slot.values, x.core.tracks(&[x], &[]))?;
    x.core.record_on_device(shape, out, &[x], &[], || MaxNode {
        windows,
        x: slot.clone(),
        taps,
    })
}

struct MaxNode {
    windows: Windows,
    x: Arc<DeviceSlot>,
    /// Which pixel of its window each maximum is.
    taps: Option<Tensor>,
}

impl DeviceNode for MaxNode {
    fn name(&self) -> &'static str {
        "max_pool"
    }

    fn backward(&self, core: &Core, _: &DeviceSlot, gradient: Tensor) -> Result<()> {
        let Some(taps) = &self.taps else {
            bail!("the places of the maxima were not kept");
        };
        let part = maximum_gradient(&self.windows, &gradient, taps)?;
        self.x.give_gradient(core, part)
    }
}
