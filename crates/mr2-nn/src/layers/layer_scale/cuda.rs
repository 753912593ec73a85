//! LayerScale on a CUDA device.

use super::LayerScale;
use crate::graph::{Act, Core, DeviceNode, DeviceSlot};
use crate::kernels::cuda::layer_scale::{backward, forward as scale};
use candle_core::{Result, Tensor};
use std::sync::Arc;

pub(super) fn forward(
    layer: &LayerScale,
    x: &Act,
    slot: &Arc<DeviceSlot>,
    skip: &Act,
) -> Result<Act> {
    let (core, skip_slot) = (&x.core, skip.device_slot()?);
    let gamma = layer.gamma.contiguous()?;
    let out = scale(&slot.values, &gamma, &skip_slot.values)?;
    // The factors as they are now, for the backward pass.
    let gamma = match core.tracks(&[x, skip], &[&layer.gamma]) {
        true => gamma.detach().copy()?,
        false => gamma,
    };
    core.record_on_device(slot.shape, out, &[x, skip], &[&layer.gamma], || {
        LayerScaleNode {
            x: slot.clone(),
            skip: skip_slot.clone(),
            gamma,
            layer: layer.clone(),
        }
    })
}

struct LayerScaleNode {
    x: Arc<DeviceSlot>,
    skip: Arc<DeviceSlot>,
    /// The factors as they were in the forward pass.
    gamma: Tensor,
    layer: LayerScale,
}

impl DeviceNode for LayerScaleNode {
    fn name(&self) -> &'static str {
        "layer_scale"
    }

    fn backward(&self, core: &Core, _: &DeviceSlot, gradient: Tensor) -> Result<()> {
        let parameter = &self.layer.gamma;
        let (part, sums) = backward(
            &gradient,
            &self.x.values,
            &self.gamma,
            parameter.is_variable(),
        )?;
        if let Some(sums) = sums {
            core.add_parameter_gradient(parameter, sums)?;
        }
        if self.x.tracked {
            self.x.give_gradient(core, part)?;
        }
        match self.skip.tracked {
            true => self.skip.give_gradient(core, gradient),
            false => Ok(()),
        }
    }
}
