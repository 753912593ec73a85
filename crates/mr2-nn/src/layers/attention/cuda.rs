//! Attention on a CUDA device.

use super::Attention;
use crate::graph::{Act, Core, DeviceNode, DeviceSlot, Shape4};
use crate::kernels::attention::Heads;
use crate::kernels::cuda::{attention as whole, flash};
use candle_core::{Result, Tensor};
use std::sync::Arc;

pub(super) fn forward(layer: &Attention, qkv: &Act, slot: &Arc<DeviceSlot>) -> Result<Act> {
    let width = slot.shape.channels / 3;
    let sizes = whole::Attention {
        sizes: Heads {
            tokens: slot.shape.pixels(),
            heads: layer.heads,
            features: width / layer.heads,
            causal: layer.causal,
        },
        batch: slot.shape.batch,
    };
    let fits = flash::fits(&sizes.sizes, sizes.batch, slot.values.dtype());
    let (out, kept) = if fits {
        let (out, sums) = flash::forward(&sizes.sizes, sizes.batch, &slot.values)?;
        (out, Kept::Sums(sums))
    } else {
        let (out, probabilities) = sizes.forward(&slot.values)?;
        (out, Kept::Probabilities(probabilities))
    };
    let shape = Shape4 {
        channels: width,
        ..slot.shape
    };
    let out = out.reshape((shape.batch, shape.height, shape.width, width))?;
    qkv.core
        .record_on_device(shape, out, &[qkv], &[], || AttentionNode {
            qkv: slot.clone(),
            sizes,
            kept,
        })
}

/// What the forward pass keeps for the backward pass.
enum Kept {
    Probabilities(Tensor),
    /// The log2 of each row's sum.
    Sums(Tensor),
}

struct AttentionNode {
    qkv: Arc<DeviceSlot>,
    sizes: whole::Attention,
    kept: Kept,
}

impl DeviceNode for AttentionNode {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn backward(&self, core: &Core, out: &DeviceSlot, gradient: Tensor) -> Result<()> {
        let qkv = &self.qkv.values;
        let whole::Attention { sizes, batch } = &self.sizes;
        let part = match &self.kept {
            Kept::Probabilities(probabilities) => {
                self.sizes.backward(qkv, probabilities, &gradient)?
            }
            Kept::Sums(sums) => {
                flash::backward(sizes, *batch, qkv, (&out.values, sums), &gradient)?
            }
        };
        self.qkv.give_gradient(core, part)
    }
}
