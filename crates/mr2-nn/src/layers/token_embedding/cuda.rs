//! Token embeddings on a CUDA device.

use super::TokenEmbedding;
use crate::graph::{Act, Core, DeviceNode, DeviceSlot, Shape4};
use crate::kernels::cuda::columns::row_sums;
use crate::kernels::cuda::tokens::{embed, without_first};
use candle_core::{Result, Tensor};
use std::sync::Arc;

pub(super) fn forward(
    layer: &TokenEmbedding,
    patches: &Act,
    slot: &Arc<DeviceSlot>,
    tokens: usize,
) -> Result<Act> {
    let class = match &layer.class {
        Some(class) => Some(class.contiguous()?),
        None => None,
    };
    let positions = layer.positions.contiguous()?;
    let out = embed(&slot.values, class.as_ref(), &positions)?;
    let shape = Shape4 {
        height: 1,
        width: tokens,
        ..slot.shape
    };
    let parameters: Vec<&Tensor> = layer.class.iter().chain([&layer.positions]).collect();
    patches
        .core
        .record_on_device(shape, out, &[patches], &parameters, || EmbeddingNode {
            patches: slot.clone(),
            layer: layer.clone(),
        })
}

struct EmbeddingNode {
    patches: Arc<DeviceSlot>,
    layer: TokenEmbedding,
}

impl EmbeddingNode {
    /// The sums over the batch: the gradient of the positions, whose first is also the class token's.
    fn add_parameters(&self, core: &Core, gradient: &Tensor) -> Result<()> {
        let TokenEmbedding { class, positions } = &self.layer;
        let class = class.as_ref().filter(|class| class.is_variable());
        if class.is_none() && !positions.is_variable() {
            return Ok(());
        }
        let sums = row_sums(gradient, positions.elem_count())?.reshape(positions.shape())?;
        if let Some(class) = class {
            core.add_parameter_gradient(class, sums.narrow(1, 0, 1)?)?;
        }
        match positions.is_variable() {
            true => core.add_parameter_gradient(positions, sums),
            false => Ok(()),
        }
    }
}

impl DeviceNode for EmbeddingNode {
    fn name(&self) -> &'static str {
        "token_embedding"
    }

    fn backward(&self, core: &Core, _: &DeviceSlot, gradient: Tensor) -> Result<()> {
        self.add_parameters(core, &gradient)?;
        if !self.patches.tracked {
            return Ok(());
        }
        let part = match self.layer.class {
            Some(_) => without_first(&gradient)?,
            None => gradient,
        };
        let part = part.reshape(self.patches.values.shape())?;
        self.patches.give_gradient(core, part)
    }
}
