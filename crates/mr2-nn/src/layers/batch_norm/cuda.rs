//! Batch normalisation on a CUDA device.

use super::BatchNorm2d;
use crate::graph::{Act, Core, DeviceNode, DeviceSlot};
use crate::kernels::batch_norm::Rectifier;
use crate::kernels::cuda::batch_norm::{Affine, Wanted, of_batch, of_running};
use candle_core::{Result, Tensor};
use std::sync::Arc;

pub(super) fn run(
    layer: &BatchNorm2d,
    x: &Act,
    slot: &Arc<DeviceSlot>,
    skip: Option<&Act>,
    rectifier: Rectifier,
) -> Result<Act> {
    let core = &x.core;
    let (weight, bias) = (layer.weight.contiguous()?, layer.bias.contiguous()?);
    let parameters = (&weight, &bias);
    let running = (&layer.running_mean, &layer.running_var);
    let eps = layer.config.eps;
    let affine = match core.is_train() {
        true => {
            let momentum = core.moves_statistics().then_some(layer.config.momentum);
            of_batch(&slot.values, parameters, running, eps, momentum, rectifier)?
        }
        false => of_running(&slot.values, parameters, running, eps, rectifier)?,
    };
    let skip_slot = match skip {
        Some(skip) => Some(skip.device_slot()?),
        None => None,
    };
    let out = affine.apply(&slot.values, skip_slot.map(|skip| &skip.values))?;
    let inputs: Vec<&Act> = std::iter::once(x).chain(skip).collect();
    core.record_on_device(
        slot.shape,
        out,
        &inputs,
        &[&layer.weight, &layer.bias],
        || BatchNormNode {
            x: slot.clone(),
            skip: skip_slot.cloned(),
            affine,
            layer: layer.clone(),
        },
    )
}

struct BatchNormNode {
    x: Arc<DeviceSlot>,
    skip: Option<Arc<DeviceSlot>>,
    affine: Affine,
    layer: BatchNorm2d,
}

impl DeviceNode for BatchNormNode {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn backward(&self, core: &Core, out: &DeviceSlot, gradient: Tensor) -> Result<()> {
        let skip = self.skip.as_ref();
        let wanted = Wanted {
            input: self.x.tracked,
            skip: skip.is_some_and(|skip| skip.tracked),
        };
        // Without an addition the rectifier's decisions are computed again, cheaper than read.
        let out = skip.map(|_| &out.values);
        let gradients = self
            .affine
            .backward(&self.x.values, &gradient, out, wanted)?;
        if let Some(part) = gradients.input {
            self.x.give_gradient(core, part)?;
        }
        if let Some((skip, part)) = skip.zip(gradients.skip) {
            skip.give_gradient(core, part)?;
        }
        for (parameter, part) in [
            (&self.layer.weight, gradients.weight),
            (&self.layer.bias, gradients.bias),
        ] {
            if parameter.is_variable() {
                core.add_parameter_gradient(parameter, part)?;
            }
        }
        Ok(())
    }
}
