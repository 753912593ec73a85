//! Sum, rectifier and the option-A shortcut of activations on the device.

use super::super::act::Act;
use super::super::context::Core;
use super::super::slot::Shape4;
use super::{DeviceNode, DeviceSlot};
use crate::kernels::cuda::elementwise as kernels;
use crate::kernels::elementwise::Subsample;
use candle_core::{Result, Tensor};
use std::sync::Arc;

struct Add([Arc<DeviceSlot>; 2]);

impl DeviceNode for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn backward(&self, core: &Core, _: &DeviceSlot, gradient: Tensor) -> Result<()> {
        for slot in self.0.iter().filter(|slot| slot.tracked) {
            slot.give_gradient(core, gradient.clone())?;
        }
        Ok(())
    }
}

pub(crate) fn add(a: &Act, slot: &Arc<DeviceSlot>, b: &Act) -> Result<Act> {
    let other = b.device_slot()?;
    let out = kernels::add(&slot.values, &other.values)?;
    a.core.record_on_device(slot.shape, out, &[a, b], &[], || {
        Add([slot.clone(), other.clone()])
    })
}

struct Relu(Arc<DeviceSlot>);

impl DeviceNode for Relu {
    fn name(&self) -> &'static str {
        "relu"
    }

    fn backward(&self, core: &Core, out: &DeviceSlot, gradient: Tensor) -> Result<()> {
        let part = kernels::relu_gradient(&out.values, &gradient)?;
        self.0.give_gradient(core, part)
    }
}

pub(crate) fn relu(x: &Act, slot: &Arc<DeviceSlot>) -> Result<Act> {
    let out = kernels::relu(&slot.values)?;
    x.core
        .record_on_device(slot.shape, out, &[x], &[], || Relu(slot.clone()))
}

struct SubsamplePad {
    x: Arc<DeviceSlot>,
    sizes: Subsample,
}

impl DeviceNode for SubsamplePad {
    fn name(&self) -> &'static str {
        "subsample-pad"
    }

    fn backward(&self, core: &Core, _: &DeviceSlot, gradient: Tensor) -> Result<()> {
        let part = kernels::subsample_gradient(&gradient, &self.sizes)?;
        self.x.give_gradient(core, part)
    }
}

pub(crate) fn subsample_pad(
    x: &Act,
    slot: &Arc<DeviceSlot>,
    shape: Shape4,
    sizes: Subsample,
) -> Result<Act> {
    let out = kernels::subsample(&slot.values, &sizes)?;
    x.core
        .record_on_device(shape, out, &[x], &[], || SubsamplePad {
            x: slot.clone(),
            sizes,
        })
}
