//! The fully connected layer on a CUDA device.

use super::super::Activation;
use super::Linear;
use crate::graph::{Act, Core, DeviceNode, DeviceSlot, Shape4};
use crate::kernels::cuda::columns::column_sums;
use crate::kernels::cuda::gelu::{follow, gradient};
use crate::kernels::cuda::linear::{
    Added, input_gradient, parameters_in, product, product_and_sum, weight_gradient,
};
use candle_core::{Result, Tensor, bail};
use std::sync::Arc;

pub(super) fn forward(
    layer: &Linear,
    x: &Act,
    slot: &Arc<DeviceSlot>,
    shape: Shape4,
    activation: Option<Activation>,
    skip: Option<&Act>,
) -> Result<Act> {
    if activation.is_some() && skip.is_some() {
        bail!("linear: no CUDA kernel adds before an activation");
    }
    let core = &x.core;
    let inputs: Vec<&Act> = std::iter::once(x).chain(skip).collect();
    let parameters: Vec<&Tensor> = std::iter::once(&layer.weight).chain(&layer.bias).collect();
    let weight = layer.weight.contiguous()?;
    let bias = match &layer.bias {
        Some(bias) => Some(bias.contiguous()?),
        None => None,
    };
    let skip = match skip {
        Some(skip) => Some(skip.device_slot()?.clone()),
        None => None,
    };
    let dims = (shape.batch, shape.height, shape.width, shape.channels);
    let (weight, out, activated) = match activation {
        None => {
            let (weight, rounded) = parameters_in(&weight, bias.as_ref(), &slot.values)?;
            let added = Added {
                bias: bias.as_ref().zip(rounded.as_ref()),
                skip: skip.as_ref().map(|skip| &skip.values),
            };
            let out = product_and_sum(&slot.values, &weight, added, dims)?;
            (weight, out, None)
        }
        // The kernel of the activation adds the bias, and its gradient reads the product alone.
        Some(activation) => {
            let (weight, _) = parameters_in(&weight, None, &slot.values)?;
            let product = product(&slot.values, &weight, dims)?;
            let out = follow(product.clone(), bias.as_ref(), None, Some(activation))?;
            let activated = match core.tracks(&inputs, &parameters) {
                true => Some(Activated {
                    activation,
                    product,
                    bias: bias.as_ref().map(copy).transpose()?,
                }),
                false => None,
            };
            (weight, out, activated)
        }
    };
    core.record_on_device(shape, out, &inputs, &parameters, || LinearNode {
        x: slot.clone(),
        skip,
        weight,
        activated,
        layer: layer.clone(),
    })
}

fn copy(tensor: &Tensor) -> Result<Tensor> {
    tensor.detach().copy()
}

/// What the gradient of the activation needs; `product + bias` went into it.
struct Activated {
    activation: Activation,
    product: Tensor,
    /// The bias as it was in the forward pass.
    bias: Option<Tensor>,
}

struct LinearNode {
    x: Arc<DeviceSlot>,
    skip: Option<Arc<DeviceSlot>>,
    /// The weight as it was in the forward pass.
    weight: Tensor,
    activated: Option<Activated>,
    layer: Linear,
}

impl LinearNode {
    /// The gradient of what goes into the activation, and the bias's if it is asked for.
    fn before_activation(&self, from: Tensor, sums: bool) -> Result<(Tensor, Option<Tensor>)> {
        match &self.activated {
            Some(Activated {
                activation,
                product,
                bias,
            }) => gradient(*activation, &from, product, bias.as_ref(), sums),
            None => {
                let sums = sums.then(|| column_sums(&from)).transpose()?;
                Ok((from, sums))
            }
        }
    }
}

impl DeviceNode for LinearNode {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn backward(&self, core: &Core, _: &DeviceSlot, gradient: Tensor) -> Result<()> {
        let layer = &self.layer;
        let bias = layer.bias.as_ref().filter(|bias| bias.is_variable());
        let (gradient, sums) = self.before_activation(gradient, bias.is_some())?;
        if layer.weight.is_variable() {
            core.add_parameter_gradient(
                &layer.weight,
                weight_gradient(&gradient, &self.x.values)?,
            )?;
        }
        if let Some((bias, part)) = bias.zip(sums) {
            core.add_parameter_gradient(bias, part)?;
        }
        if self.x.tracked {
            self.x.give_gradient(
                core,
                input_gradient(&gradient, &self.weight, self.x.values.shape())?,
            )?;
        }
        match self.skip.as_ref().filter(|skip| skip.tracked) {
            Some(skip) => skip.give_gradient(core, gradient),
            None => Ok(()),
        }
    }
}
