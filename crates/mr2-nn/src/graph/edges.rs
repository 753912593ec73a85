//! Between ordinary Candle tensors and activations.

use super::act::Act;
use super::context::Core;
use super::record::token;
use super::slot::{InHandle, Shape4, Slot, with_slot};
use super::values::with_values;
use crate::kernels::elementwise::{mean_pixels, spread_pixels};
use crate::kernels::layout::{to_channels_first, to_channels_last};
use crate::kernels::pool::lock;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Layout, Result, Shape, Tensor, bail};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

/// From a tracked tensor to a token; backwards, from the slot's gradient to a tensor.
///
/// The anchor is the second input, for Candle looks for variables neither behind `round`, `floor`,
/// `ceil` and `sign` nor behind a product with 0, and the layers have parameters of their own.
struct Enter<T: InHandle> {
    core: Arc<Core>,
    slot: Arc<Slot<T>>,
}

impl<T: InHandle> CustomOp2 for Enter<T> {
    fn name(&self) -> &'static str {
        "enter"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Ok(token())
    }

    fn bwd(
        &self,
        images: &Tensor,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let Some(gradient) = self.slot.take_gradient(&self.core)? else {
            bail!("enter: the gradient of the images is missing");
        };
        let gradient = gradient.into_values(&self.core);
        let mut values = vec![T::zero(); gradient.len()];
        let shape = self.slot.shape;
        to_channels_first(&gradient, &mut values, shape.channels, shape.pixels());
        let gradient = Tensor::from_vec(values, images.shape(), images.device())?;
        Ok((Some(gradient), None))
    }
}

pub(super) fn enter(core: &Arc<Core>, images: &Tensor) -> Result<Act> {
    let Ok((batch, channels, height, width)) = images.dims4() else {
        bail!(
            "images: expected (batch, channels, height, width), got {:?}",
            images.dims()
        );
    };
    if images.elem_count() == 0 {
        bail!("images: no dimension may be empty, got {:?}", images.dims());
    }
    if images.dtype() != core.dtype {
        bail!(
            "images: expected {:?}, got {:?}",
            core.dtype,
            images.dtype()
        );
    }
    if !images.device().is_cpu() {
        bail!(
            "images: expected a tensor on the CPU, got one on {:?}",
            images.device()
        );
    }
    let shape = Shape4 {
        batch,
        channels,
        height,
        width,
    };
    match core.dtype {
        DType::F64 => enter_as::<f64>(core, images, shape),
        _ => enter_as::<f32>(core, images, shape),
    }
}

fn enter_as<T: InHandle>(core: &Arc<Core>, images: &Tensor, shape: Shape4) -> Result<Act> {
    let images = images.contiguous()?;
    let mut data = core.pool.take::<T>(shape.elements());
    with_values(&images, "images", |values| {
        to_channels_last(values, &mut data, shape.channels, shape.pixels());
    })?;
    let tracked = core.is_train() && images.track_op();
    let slot = Slot::new(shape, data, tracked);
    let handle = T::handle(slot.clone());
    let token = match tracked {
        true => Some(images.apply_op2(
            &core.anchor,
            Enter {
                core: core.clone(),
                slot,
            },
        )?),
        false => None,
    };
    Ok(Act {
        token,
        handle,
        core: core.clone(),
    })
}

/// What an edge out of the graph computes from a slot.
#[derive(Clone, Copy)]
enum Exit {
    /// The whole activation, (batch, channels, height, width).
    All,
    /// The mean over pixels, (batch, channels).
    MeanPixels,
}

/// From a token to a tensor; backwards, from the tensor's gradient to that of the slot.
struct Leave<T: InHandle> {
    core: Arc<Core>,
    slot: Arc<Slot<T>>,
    exit: Exit,
    /// The result, until Candle asks for it.
    values: Mutex<Option<Vec<T>>>,
}

impl Exit {
    fn shape(self, shape: Shape4) -> Shape {
        match self {
            Self::All => Shape::from(shape.dims()),
            Self::MeanPixels => Shape::from((shape.batch, shape.channels)),
        }
    }

    fn values<T: InHandle>(self, slot: &Slot<T>) -> Vec<T> {
        let shape = slot.shape;
        match self {
            Self::All => {
                let mut values = vec![T::zero(); shape.elements()];
                to_channels_first(slot.data(), &mut values, shape.channels, shape.pixels());
                values
            }
            Self::MeanPixels => mean_pixels(slot.data(), shape.channels, shape.pixels()),
        }
    }

    fn gradient<T: InHandle>(self, gradient: &[T], shape: Shape4, out: &mut [T]) {
        match self {
            Self::All => to_channels_last(gradient, out, shape.channels, shape.pixels()),
            Self::MeanPixels => spread_pixels(gradient, shape.channels, shape.pixels(), out),
        }
    }
}

impl<T: InHandle> CustomOp1 for Leave<T> {
    fn name(&self) -> &'static str {
        match self.exit {
            Exit::All => "to-tensor",
            Exit::MeanPixels => "mean-hw",
        }
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        let Some(values) = lock(&self.values).take() else {
            bail!("{}: an edge has one result", self.name());
        };
        Ok((
            T::to_cpu_storage_owned(values),
            self.exit.shape(self.slot.shape),
        ))
    }

    fn bwd(&self, token: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let gradient = gradient.contiguous()?;
        let mut part = self.core.pool.take(self.slot.shape.elements());
        with_values(&gradient, self.name(), |values| {
            self.exit.gradient(values, self.slot.shape, &mut part);
        })?;
        self.slot.give_gradient(&self.core, part)?;
        Ok(Some(token.zeros_like()?))
    }
}

pub(super) fn to_tensor(x: &Act) -> Result<Tensor> {
    with_slot!(x, slot => leave(x, slot, Exit::All))
}

pub(super) fn mean_hw(x: &Act) -> Result<Tensor> {
    with_slot!(x, slot => leave(x, slot, Exit::MeanPixels))
}

fn leave<T: InHandle>(x: &Act, slot: &Arc<Slot<T>>, exit: Exit) -> Result<Tensor> {
    let values = exit.values(slot);
    match &x.token {
        None => Tensor::from_vec(values, exit.shape(slot.shape), &x.core.device),
        Some(token) => {
            slot.consumers.fetch_add(1, Ordering::Relaxed);
            token.apply_op1(Leave {
                core: x.core.clone(),
                slot: slot.clone(),
                exit,
                values: Mutex::new(Some(values)),
            })
        }
    }
}
