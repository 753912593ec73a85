//! Dropout on a CUDA device.

use crate::graph::{Act, Core, DeviceNode, DeviceSlot};
use crate::kernels::cuda::dropout::apply;
use crate::kernels::dropout::Mask;
use candle_core::{Result, Tensor};
use std::sync::Arc;

pub(super) fn forward(x: &Act, slot: &Arc<DeviceSlot>, mask: Mask) -> Result<Act> {
    let out = apply(mask, &slot.values)?;
    x.core
        .record_on_device(slot.shape, out, &[x], &[], || DropoutNode {
            x: slot.clone(),
            mask,
        })
}

/// On an ordinary tensor: times a constant, so that Candle knows the gradient.
pub(super) fn forward_tensor(x: &Tensor, mask: Mask) -> Result<Tensor> {
    x * apply(mask, &x.detach().ones_like()?)?
}

struct DropoutNode {
    x: Arc<DeviceSlot>,
    mask: Mask,
}

impl DeviceNode for DropoutNode {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn backward(&self, core: &Core, _: &DeviceSlot, gradient: Tensor) -> Result<()> {
        self.x.give_gradient(core, apply(self.mask, &gradient)?)
    }
}
