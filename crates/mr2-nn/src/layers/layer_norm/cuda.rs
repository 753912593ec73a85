//! Layer normalisation on a CUDA device.

use super::LayerNorm;
use crate::graph::{Act, Core, DeviceNode, DeviceSlot};
use crate::kernels::cuda::layer_norm::{Saved, backward, forward as normalise};
use candle_core::{Result, Tensor};
use std::sync::Arc;

pub(super) fn forward(layer: &LayerNorm, x: &Act, slot: &Arc<DeviceSlot>) -> Result<Act> {
    let core = &x.core;
    let parameters = [&layer.weight, &layer.bias];
    let (weight, bias) = (layer.weight.contiguous()?, layer.bias.contiguous()?);
    let (out, statistics) = normalise(&slot.values, &weight, &bias, layer.eps)?;
    // The weight as it is now, for the backward pass.
    let weight = match core.tracks(&[x], &parameters) {
        true => weight.detach().copy()?,
        false => weight,
    };
    core.record_on_device(slot.shape, out, &[x], &parameters, || LayerNormNode {
        x: slot.clone(),
        weight,
        statistics,
        layer: layer.clone(),
    })
}

struct LayerNormNode {
    x: Arc<DeviceSlot>,
    /// The weight as it was in the forward pass.
    weight: Tensor,
    /// Mean and rate of each row.
    statistics: Tensor,
    layer: LayerNorm,
}

impl DeviceNode for LayerNormNode {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn backward(&self, core: &Core, _: &DeviceSlot, gradient: Tensor) -> Result<()> {
        let saved = Saved {
            x: &self.x.values,
            weight: &self.weight,
            statistics: &self.statistics,
        };
        // What the residual branch has left is added in the same pass.
        let present = match self.x.tracked {
            true => self.x.lend_gradient(core)?,
            false => None,
        };
        let (sums, part) = backward(saved, &gradient, self.x.tracked, present.as_ref())?;
        if let Some(part) = part {
            self.x.give_gradient(core, part)?;
        }
        for (parameter, part) in [&self.layer.weight, &self.layer.bias].into_iter().zip(sums) {
            if parameter.is_variable() {
                core.add_parameter_gradient(parameter, part)?;
            }
        }
        Ok(())
    }
}
