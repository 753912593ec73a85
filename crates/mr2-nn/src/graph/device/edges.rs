//! Between ordinary tensors on the device and activations there. Images may be f32 or of the context's element type;
//! what leaves is f32, so that losses and statistics have its digits.

use super::super::act::Act;
use super::super::context::Core;
use super::super::edges::{Exit, Order};
use super::super::slot::{Handle, Shape4};
use super::DeviceSlot;
use super::slot::Origin;
use crate::kernels::cuda::elementwise::{mean_tokens, spread_tokens};
use crate::kernels::cuda::rearrange::channels_last;
use crate::kernels::pool::lock;
use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, DType, Layout, Result, Shape, Storage, Tensor, bail,
};
use std::sync::{Arc, Mutex};

/// Channels of images, of which one thread moves all of a pixel's.
const FEW_CHANNELS: usize = 4;

/// The activation of checked `images`.
pub(crate) fn enter(core: &Arc<Core>, images: &Tensor, shape: Shape4, order: Order) -> Result<Act> {
    let plain = images.detach();
    // Never the caller's own memory, which may be changed before the backward pass.
    let copied = |values: Tensor| match values.dtype() == core.dtype {
        true => values.force_contiguous(),
        false => values.to_dtype(core.dtype)?.contiguous(),
    };
    let values = match order {
        Order::ChannelsFirst if shape.channels <= FEW_CHANNELS => {
            channels_last(&plain.contiguous()?, core.dtype)?
        }
        Order::ChannelsFirst => copied(plain.permute((0, 2, 3, 1))?)?,
        Order::ChannelsLast => {
            copied(plain.reshape((shape.batch, shape.height, shape.width, shape.channels))?)?
        }
    };
    let origin = match core.is_train() && images.track_op() {
        true => Origin::Entered(images.clone(), order),
        false => Origin::Constant,
    };
    let slot = DeviceSlot::new(core, shape, values, origin);
    Ok(Act {
        token: None,
        handle: Handle::Device(slot),
        core: core.clone(),
    })
}

/// From the anchor to a tensor; backwards, from the tensor's gradient to that of the slot.
struct Leave {
    core: Arc<Core>,
    slot: Arc<DeviceSlot>,
    exit: Exit,
    /// The result, until Candle asks for it.
    values: Mutex<Option<Tensor>>,
}

impl CustomOp1 for Leave {
    fn name(&self) -> &'static str {
        self.exit.name()
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("{}: this node is on a CUDA device", self.name())
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        let Some(values) = lock(&self.values).take() else {
            bail!("{}: an edge has one result", self.name());
        };
        let (storage, layout) = values.storage_and_layout();
        let Storage::Cuda(storage) = &*storage else {
            bail!("{}: the result isn't on a CUDA device", self.name());
        };
        Ok((storage.try_clone(layout)?, values.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let values = &self.slot.values;
        let whole = |gradient: Tensor| gradient.to_dtype(values.dtype())?.contiguous();
        let part = match self.exit {
            Exit::All => whole(gradient.permute((0, 2, 3, 1))?)?,
            Exit::Tokens => whole(gradient.reshape(values.shape())?)?,
            Exit::MeanPixels | Exit::MeanTokens(_) => {
                let which = self.exit.range(self.slot.shape);
                spread_tokens(&gradient.contiguous()?, values, which)?
            }
        };
        self.slot.give_gradient(&self.core, part)?;
        // The anchor is a variable and needs no entry in the `GradStore`.
        Ok(None)
    }
}

pub(crate) fn leave(x: &Act, slot: &Arc<DeviceSlot>, exit: Exit) -> Result<Tensor> {
    let all = |values: Tensor| values.to_dtype(DType::F32)?.contiguous();
    let values = match exit {
        Exit::All => all(slot.values.permute((0, 3, 1, 2))?)?,
        Exit::Tokens => all(slot.values.reshape(exit.shape(slot.shape))?)?,
        Exit::MeanPixels | Exit::MeanTokens(_) => {
            mean_tokens(&slot.values, exit.range(slot.shape))?
        }
    };
    match slot.tracked {
        false => Ok(values),
        true => x.core.anchor.apply_op1(Leave {
            core: x.core.clone(),
            slot: slot.clone(),
            exit,
            values: Mutex::new(Some(values)),
        }),
    }
}
