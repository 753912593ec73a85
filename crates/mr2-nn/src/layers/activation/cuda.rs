//! Activations on a CUDA device.

use super::Activation;
use crate::graph::{Act, Core, DeviceNode, DeviceSlot};
use crate::kernels::cuda::gelu::{follow, gradient};
use candle_core::{Result, Tensor};
use std::sync::Arc;

pub(super) fn forward(activation: Activation, x: &Act, slot: &Arc<DeviceSlot>) -> Result<Act> {
    let out = follow(slot.values.clone(), None, None, Some(activation))?;
    x.core
        .record_on_device(slot.shape, out, &[x], &[], || ActivationNode {
            x: slot.clone(),
            activation,
        })
}

struct ActivationNode {
    x: Arc<DeviceSlot>,
    activation: Activation,
}

impl DeviceNode for ActivationNode {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn backward(&self, core: &Core, _: &DeviceSlot, from: Tensor) -> Result<()> {
        let (part, _) = gradient(self.activation, &from, &self.x.values, None, false)?;
        self.x.give_gradient(core, part)
    }
}
