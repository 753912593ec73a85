//! Between ordinary Candle tensors and activations.

use super::act::Act;
use super::context::Core;
use super::record::token;
use super::slot::{InHandle, Shape4, Slot, with_slot};
use super::values::with_values;
use crate::kernels::elementwise::{mean_pixels, spread_pixels};
use crate::kernels::layout::{to_channels_first, to_channels_last};
use crate::kernels::pool::lock;
use crate::kernels::tokens::{mean_tokens as mean_tokens_of, spread_tokens};
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
    order: Order,
}

/// Where a tensor has its channels.
#[derive(Clone, Copy)]
pub(super) enum Order {
    /// (batch, channels, height, width).
    ChannelsFirst,
    /// (batch, tokens, channels), the order of activations.
    ChannelsLast,
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
        match self.order {
            Order::ChannelsFirst => {
                to_channels_first(&gradient, &mut values, shape.channels, shape.pixels());
            }
            Order::ChannelsLast => values.copy_from_slice(&gradient),
        }
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
    let shape = Shape4 {
        batch,
        channels,
        height,
        width,
    };
    enter_in(core, images, "images", shape, Order::ChannelsFirst)
}

pub(super) fn enter_tokens(core: &Arc<Core>, tokens: &Tensor) -> Result<Act> {
    let Ok((batch, width, channels)) = tokens.dims3() else {
        bail!(
            "tokens: expected (batch, tokens, features), got {:?}",
            tokens.dims()
        );
    };
    let shape = Shape4 {
        batch,
        channels,
        height: 1,
        width,
    };
    enter_in(core, tokens, "tokens", shape, Order::ChannelsLast)
}

fn enter_in(
    core: &Arc<Core>,
    values: &Tensor,
    what: &str,
    shape: Shape4,
    order: Order,
) -> Result<Act> {
    if values.elem_count() == 0 {
        bail!("{what}: no dimension may be empty, got {:?}", values.dims());
    }
    #[cfg(feature = "cuda")]
    if core.device.is_cuda() {
        return enter_device(core, values, what, shape, order);
    }
    if values.dtype() != core.dtype {
        bail!(
            "{what}: expected {:?}, got {:?}",
            core.dtype,
            values.dtype()
        );
    }
    if !values.device().is_cpu() {
        bail!(
            "{what}: expected a tensor on the CPU, got one on {:?}",
            values.device()
        );
    }
    match core.dtype {
        DType::F64 => enter_as::<f64>(core, values, what, shape, order),
        _ => enter_as::<f32>(core, values, what, shape, order),
    }
}

#[cfg(feature = "cuda")]
fn enter_device(
    core: &Arc<Core>,
    values: &Tensor,
    what: &str,
    shape: Shape4,
    order: Order,
) -> Result<Act> {
    if values.dtype() != core.dtype && values.dtype() != DType::F32 {
        let (wanted, got) = (core.dtype, values.dtype());
        bail!("{what}: expected {wanted:?} or F32, got {got:?}");
    }
    if values.device().is_cpu() && values.dtype() == DType::F32 && !values.track_op() {
        // Taken out meanwhile: no lock may be held during a parallel loop.
        let mut uploads = std::mem::take(&mut *lock(&core.uploads));
        let uploaded = uploads.upload(core.device.as_cuda_device()?, values);
        *lock(&core.uploads) = uploads;
        let uploaded = uploaded?;
        return super::device::enter(core, &uploaded, shape, order);
    }
    if !values.device().same_device(&core.device) {
        let (wanted, got) = (&core.device, values.device());
        bail!(
            "{what}: expected a tensor on {wanted:?}, or one in f32 on the CPU that is not tracked, got one on {got:?}"
        );
    }
    super::device::enter(core, values, shape, order)
}

fn enter_as<T: InHandle>(
    core: &Arc<Core>,
    images: &Tensor,
    what: &str,
    shape: Shape4,
    order: Order,
) -> Result<Act> {
    let images = images.contiguous()?;
    let mut data = core.pool.take::<T>(shape.elements());
    with_values(&images, what, |values| match order {
        Order::ChannelsFirst => {
            to_channels_last(values, &mut data, shape.channels, shape.pixels());
        }
        Order::ChannelsLast => data.copy_from_slice(values),
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
                order,
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
pub(super) enum Exit {
    /// The whole activation, (batch, channels, height, width).
    All,
    /// The mean over pixels, (batch, channels).
    MeanPixels,
    /// The whole activation, (batch, tokens, channels).
    Tokens,
    /// The mean of some tokens (the first, and how many), (batch, channels).
    MeanTokens([usize; 2]),
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
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::All => "to-tensor",
            Self::MeanPixels => "mean-hw",
            Self::Tokens => "to-tokens",
            Self::MeanTokens(_) => "mean-tokens",
        }
    }

    /// The first pixel or token that is read, and how many are.
    #[cfg(feature = "cuda")]
    pub(super) fn range(self, shape: Shape4) -> [usize; 2] {
        match self {
            Self::MeanTokens(range) => range,
            _ => [0, shape.pixels()],
        }
    }

    pub(super) fn shape(self, shape: Shape4) -> Shape {
        match self {
            Self::All => Shape::from(shape.dims()),
            Self::Tokens => Shape::from((shape.batch, shape.pixels(), shape.channels)),
            Self::MeanPixels | Self::MeanTokens(_) => Shape::from((shape.batch, shape.channels)),
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
            Self::Tokens => slot.data().to_vec(),
            Self::MeanTokens(which) => {
                let length = shape.channels * shape.pixels();
                mean_tokens_of(slot.data(), shape.channels, length, which)
            }
        }
    }

    fn gradient<T: InHandle>(self, gradient: &[T], shape: Shape4, out: &mut [T]) {
        match self {
            Self::All => to_channels_last(gradient, out, shape.channels, shape.pixels()),
            Self::MeanPixels => spread_pixels(gradient, shape.channels, shape.pixels(), out),
            Self::Tokens => out.copy_from_slice(gradient),
            Self::MeanTokens(which) => {
                let length = shape.channels * shape.pixels();
                spread_tokens(gradient, shape.channels, length, which, out);
            }
        }
    }
}

impl<T: InHandle> CustomOp1 for Leave<T> {
    fn name(&self) -> &'static str {
        self.exit.name()
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
    with_slot!(x, slot => leave(x, slot, Exit::All), cuda slot => super::device::leave(x, slot, Exit::All))
}

pub(super) fn mean_hw(x: &Act) -> Result<Tensor> {
    with_slot!(x, slot => leave(x, slot, Exit::MeanPixels), cuda slot => super::device::leave(x, slot, Exit::MeanPixels))
}

pub(super) fn to_tokens(x: &Act) -> Result<Tensor> {
    with_slot!(x, slot => leave(x, slot, Exit::Tokens), cuda slot => super::device::leave(x, slot, Exit::Tokens))
}

/// `count` tokens from `first` on, or all of them.
pub(super) fn mean_tokens(x: &Act, first: usize, count: Option<usize>) -> Result<Tensor> {
    let tokens = x.handle.shape().pixels();
    if first >= tokens {
        bail!("token {first}: the sequences have {tokens} tokens");
    }
    let which = [first, count.unwrap_or(tokens - first)];
    with_slot!(x, slot => leave(x, slot, Exit::MeanTokens(which)), cuda slot => super::device::leave(x, slot, Exit::MeanTokens(which)))
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
