//! A convolution whose patches lie side by side, as a vision transformer begins with: a product, on a CUDA device. cuDNN would
//! pad three channels to eight.

use super::Conv2d;
use crate::graph::{Act, Core, DeviceNode, DeviceSlot, Shape4};
use crate::kernels::conv::Geometry;
use crate::kernels::cuda::cast::{weight_in, weight_out};
use crate::kernels::cuda::columns::column_sums;
use crate::kernels::cuda::linear::{Added, input_gradient, product_and_sum, weight_gradient};
use crate::kernels::cuda::rearrange::swap_runs;
use candle_core::{Result, Tensor};
use std::sync::Arc;

/// Whether each pixel is in one patch.
pub(super) fn are_side_by_side(g: &Geometry) -> bool {
    g.kernel > 1
        && g.stride == g.kernel
        && g.padding == [0, 0]
        && g.dilation == 1
        && g.groups == 1
        && (g.in_height, g.in_width) == (g.out_height * g.kernel, g.out_width * g.kernel)
}

pub(super) fn forward(
    layer: &Conv2d,
    geometry: Geometry,
    x: &Act,
    slot: &Arc<DeviceSlot>,
) -> Result<Act> {
    let g = &geometry;
    let shape = Shape4 {
        batch: g.batch,
        channels: g.out_channels,
        height: g.out_height,
        width: g.out_width,
    };
    let line = g.kernel * g.in_channels;
    let rows = [g.batch, g.out_height, g.out_width, g.kernel * line];
    let patches = swap_runs(&slot.values, [g.kernel, g.out_width, line], &rows)?;
    let weight = weight_in(&layer.weight.contiguous()?, &slot.values)?;
    let weight = weight.reshape((g.out_channels, g.kernel * line))?;
    let bias = match &layer.bias {
        Some(bias) => Some((bias.contiguous()?, bias.detach().to_dtype(patches.dtype())?)),
        None => None,
    };
    let added = Added {
        bias: bias.as_ref().map(|(bias, rounded)| (bias, rounded)),
        skip: None,
    };
    let dims = (g.batch, g.out_height, g.out_width, g.out_channels);
    let out = product_and_sum(&patches, &weight, added, dims)?;
    let parameters: Vec<&Tensor> = std::iter::once(&layer.weight).chain(&layer.bias).collect();
    x.core
        .record_on_device(shape, out, &[x], &parameters, || PatchesNode {
            geometry,
            x: slot.clone(),
            patches,
            weight,
            layer: layer.clone(),
        })
}

struct PatchesNode {
    geometry: Geometry,
    x: Arc<DeviceSlot>,
    /// (batch, rows, columns, elements of a patch).
    patches: Tensor,
    /// The weight as it was in the forward pass, (outputs, elements of a patch).
    weight: Tensor,
    layer: Conv2d,
}

impl PatchesNode {
    /// Of (out, in, height, width) in f32.
    fn weight_gradient(&self, gradient: &Tensor) -> Result<Tensor> {
        let g = &self.geometry;
        let part = weight_gradient(gradient, &self.patches)?;
        weight_out(&part.reshape((g.out_channels, g.kernel, g.kernel, g.in_channels))?)
    }

    /// Like the images.
    fn image_gradient(&self, gradient: &Tensor) -> Result<Tensor> {
        let g = &self.geometry;
        let patches = input_gradient(gradient, &self.weight, self.patches.shape())?;
        let line = g.kernel * g.in_channels;
        let like = self.x.values.dims();
        swap_runs(&patches, [g.out_width, g.kernel, line], like)
    }
}

impl DeviceNode for PatchesNode {
    fn name(&self) -> &'static str {
        "conv2d of patches"
    }

    fn backward(&self, core: &Core, _: &DeviceSlot, gradient: Tensor) -> Result<()> {
        if let Some(bias) = self.layer.bias.as_ref().filter(|bias| bias.is_variable()) {
            core.add_parameter_gradient(bias, column_sums(&gradient)?)?;
        }
        if self.layer.weight.is_variable() {
            core.add_parameter_gradient(&self.layer.weight, self.weight_gradient(&gradient)?)?;
        }
        if self.x.tracked {
            self.x
                .give_gradient(core, self.image_gradient(&gradient)?)?;
        }
        Ok(())
    }
}
