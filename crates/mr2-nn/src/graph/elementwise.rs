//! Sum, rectifier and the option-A shortcut of activations.

use super::act::Act;
use super::context::Core;
use super::record::Node;
use super::slot::{InHandle, Shape4, Slot, with_slot};
use crate::kernels::elementwise::{self as kernels, Subsample};
use crate::kernels::pool::PoolBuf;
use candle_core::{Result, bail};
use std::sync::Arc;

struct Add<T: InHandle> {
    a: Arc<Slot<T>>,
    b: Arc<Slot<T>>,
}

impl<T: InHandle> Node<T> for Add<T> {
    fn name(&self) -> &'static str {
        "add"
    }

    fn backward(&self, core: &Core, _: &Slot<T>, gradient: PoolBuf<T>) -> Result<()> {
        let gradient = Arc::new(gradient);
        for slot in [&self.a, &self.b] {
            if slot.tracked {
                slot.give_gradient(core, gradient.clone())?;
            }
        }
        Ok(())
    }
}

pub(super) fn add(a: &Act, b: &Act) -> Result<Act> {
    b.check_core(&a.core)?;
    if a.dims4() != b.dims4() {
        bail!("add: shapes {:?} and {:?} differ", a.dims4(), b.dims4());
    }
    with_slot!(a, slot => add_slots(a, slot, b), cuda slot => super::device::add(a, slot, b))
}

fn add_slots<T: InHandle>(a: &Act, slot: &Arc<Slot<T>>, b: &Act) -> Result<Act> {
    let other = b.slot::<T>()?;
    let mut out = a.core.pool.take(slot.shape.elements());
    kernels::add(slot.data(), other.data(), &mut out);
    a.core.record(slot.shape, out, &[a, b], &[], || Add {
        a: slot.clone(),
        b: other.clone(),
    })
}

struct Relu<T: InHandle>(Arc<Slot<T>>);

impl<T: InHandle> Node<T> for Relu<T> {
    fn name(&self) -> &'static str {
        "relu"
    }

    fn backward(&self, core: &Core, out: &Slot<T>, mut gradient: PoolBuf<T>) -> Result<()> {
        kernels::mask_relu(out.data(), &mut gradient);
        self.0.give_gradient(core, gradient)
    }
}

pub(super) fn relu(x: &Act) -> Result<Act> {
    with_slot!(x, slot => relu_slot(x, slot), cuda slot => super::device::relu(x, slot))
}

fn relu_slot<T: InHandle>(x: &Act, slot: &Arc<Slot<T>>) -> Result<Act> {
    let mut out = x.core.pool.take(slot.shape.elements());
    kernels::relu(slot.data(), &mut out);
    x.core
        .record(slot.shape, out, &[x], &[], || Relu(slot.clone()))
}

struct SubsamplePad<T: InHandle> {
    x: Arc<Slot<T>>,
    sizes: Subsample,
}

impl<T: InHandle> Node<T> for SubsamplePad<T> {
    fn name(&self) -> &'static str {
        "subsample-pad"
    }

    fn backward(&self, core: &Core, _: &Slot<T>, gradient: PoolBuf<T>) -> Result<()> {
        self.x
            .add_gradient(core, |sum| self.sizes.backward(&gradient, sum))
    }
}

pub(super) fn subsample_pad(x: &Act, stride: usize, out_channels: usize) -> Result<Act> {
    let (_, channels, ..) = x.dims4();
    if stride == 0 {
        bail!("subsample_pad: stride must be at least 1, got 0");
    }
    if out_channels < channels {
        bail!("subsample_pad: out_channels {out_channels} is below the input's {channels}");
    }
    let from = x.handle.shape();
    let shape = Shape4 {
        batch: from.batch,
        channels: out_channels,
        height: from.height.div_ceil(stride),
        width: from.width.div_ceil(stride),
    };
    let sizes = Subsample {
        in_channels: from.channels,
        in_height: from.height,
        in_width: from.width,
        out_channels,
        out_height: shape.height,
        out_width: shape.width,
        stride,
        front: (out_channels - from.channels) / 2,
    };
    with_slot!(
        x,
        slot => subsample_pad_slot(x, slot, shape, sizes),
        cuda slot => super::device::subsample_pad(x, slot, shape, sizes)
    )
}

fn subsample_pad_slot<T: InHandle>(
    x: &Act,
    slot: &Arc<Slot<T>>,
    shape: Shape4,
    sizes: Subsample,
) -> Result<Act> {
    let mut out = x.core.pool.take(shape.elements());
    sizes.forward(slot.data(), &mut out);
    x.core.record(shape, out, &[x], &[], || SubsamplePad {
        x: slot.clone(),
        sizes,
    })
}
