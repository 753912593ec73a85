//! The convolution on a CUDA device.

use super::Conv2d;
use super::patches::{self, are_side_by_side};
use crate::graph::{Act, Core, DeviceNode, DeviceSlot, Shape4};
use crate::kernels::conv::Geometry;
use crate::kernels::cuda::cast::{weight_in, weight_out};
use crate::kernels::cuda::columns::column_sums;
use crate::kernels::cuda::conv::{Pass, run};
use crate::kernels::cuda::gelu::follow;
use candle_core::{Result, Tensor};
use std::sync::Arc;

pub(super) fn forward(layer: &Conv2d, x: &Act, slot: &Arc<DeviceSlot>) -> Result<Act> {
    let geometry = layer.geometry(slot.shape)?;
    if are_side_by_side(&geometry) {
        return patches::forward(layer, geometry, x, slot);
    }
    let (geometry, images) = padded(geometry, &slot.values)?;
    let weight = weight_in(&layer.weight.contiguous()?, &slot.values)?;
    let pass = Pass::Forward {
        images: &images,
        weight: &weight,
    };
    let out = run(&geometry, pass)?;
    let out = match &layer.bias {
        Some(bias) => follow(out, Some(&bias.contiguous()?), None, None)?,
        None => out,
    };
    let shape = Shape4 {
        batch: geometry.batch,
        channels: geometry.out_channels,
        height: geometry.out_height,
        width: geometry.out_width,
    };
    let parameters: Vec<&Tensor> = std::iter::once(&layer.weight).chain(&layer.bias).collect();
    x.core
        .record_on_device(shape, out, &[x], &parameters, || ConvNode {
            geometry,
            x: slot.clone(),
            images,
            weight,
            layer: layer.clone(),
        })
}

/// Images that need more zeros behind them than before, with those: cuDNN pads both sides alike.
fn padded(geometry: Geometry, images: &Tensor) -> Result<(Geometry, Tensor)> {
    let [rows, cols] = geometry.more_behind();
    let padded = Geometry {
        in_height: geometry.in_height + rows,
        in_width: geometry.in_width + cols,
        ..geometry
    };
    let images = images.pad_with_zeros(1, 0, rows)?;
    Ok((padded, images.pad_with_zeros(2, 0, cols)?.contiguous()?))
}

struct ConvNode {
    geometry: Geometry,
    x: Arc<DeviceSlot>,
    /// The elements of `x`, padded if cuDNN can't do that.
    images: Tensor,
    /// The weight as it was in the forward pass, in the kernels' order.
    weight: Tensor,
    layer: Conv2d,
}

impl DeviceNode for ConvNode {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn backward(&self, core: &Core, _: &DeviceSlot, gradient: Tensor) -> Result<()> {
        let gradient = &gradient;
        if let Some(bias) = self.layer.bias.as_ref().filter(|bias| bias.is_variable()) {
            core.add_parameter_gradient(bias, column_sums(gradient)?)?;
        }
        if self.layer.weight.is_variable() {
            let images = &self.images;
            let part = run(&self.geometry, Pass::Weight { images, gradient })?;
            core.add_parameter_gradient(&self.layer.weight, weight_out(&part)?)?;
        }
        if self.x.tracked {
            let weight = &self.weight;
            let part = run(&self.geometry, Pass::Images { gradient, weight })?;
            let Shape4 { height, width, .. } = self.x.shape;
            let part = part.narrow(1, 0, height)?.narrow(2, 0, width)?;
            self.x.give_gradient(core, part.contiguous()?)?;
        }
        Ok(())
    }
}
