//! The handle of an activation.

use super::context::{Core, Ctx};
use super::slot::{Handle, InHandle, Slot};
use super::{edges, elementwise};
use candle_core::{Result, Tensor, bail};
use std::sync::Arc;

/// An activation: images or feature maps of a batch. Cloning shares it.
#[derive(Clone)]
pub struct Act {
    /// Its place in Candle's graph, if it depends on a variable and the mode is training; on the CPU only.
    pub(crate) token: Option<Tensor>,
    pub(crate) handle: Handle,
    pub(crate) core: Arc<Core>,
}

impl Act {
    /// (batch, channels, height, width).
    pub fn dims4(&self) -> (usize, usize, usize, usize) {
        self.handle.shape().dims()
    }

    /// The activation as an ordinary, contiguous tensor; gradients flow through.
    ///
    /// # Shapes
    /// Returns (batch, channels, height, width).
    ///
    /// # Errors
    /// Those of Candle's graph.
    pub fn to_tensor(&self) -> Result<Tensor> {
        edges::to_tensor(self)
    }

    /// Global average pooling: the mean over height and width, as an ordinary tensor.
    ///
    /// # Shapes
    /// Returns (batch, channels).
    ///
    /// # Errors
    /// Those of Candle's graph.
    pub fn mean_hw(&self) -> Result<Tensor> {
        edges::mean_hw(self)
    }

    /// The activation as sequences, (batch, tokens, features), a token being a pixel; gradients flow through.
    ///
    /// # Shapes
    /// Returns (batch, height x width, channels).
    ///
    /// # Errors
    /// Those of Candle's graph.
    pub fn to_tokens(&self) -> Result<Tensor> {
        edges::to_tokens(self)
    }

    /// One token of each sequence, for instance the class token, as an ordinary tensor.
    ///
    /// # Shapes
    /// Returns (batch, channels).
    ///
    /// # Errors
    /// An index that is no token's.
    pub fn token(&self, index: usize) -> Result<Tensor> {
        edges::mean_tokens(self, index, Some(1))
    }

    /// The mean of all tokens from number `first` on, as an ordinary tensor.
    ///
    /// # Shapes
    /// Returns (batch, channels).
    ///
    /// # Errors
    /// A `first` that leaves no token.
    pub fn mean_tokens(&self, first: usize) -> Result<Tensor> {
        edges::mean_tokens(self, first, None)
    }

    /// The sum of two activations of one shape.
    ///
    /// # Errors
    /// Different shapes, or activations of different contexts.
    pub fn add(&self, other: &Act) -> Result<Act> {
        elementwise::add(self, other)
    }

    /// `max(x, 0)`.
    ///
    /// # Errors
    /// Those of Candle's graph.
    pub fn relu(&self) -> Result<Act> {
        elementwise::relu(self)
    }

    /// The parameter-free shortcut of CIFAR residual nets (option A of arXiv 1512.03385): every
    /// `stride`-th pixel in both directions, and channels of zeros added evenly before and after.
    ///
    /// An odd channel goes after, as floor division does it in the usual implementations.
    ///
    /// # Errors
    /// A stride of 0, or fewer `out_channels` than there are channels.
    pub fn subsample_pad(&self, stride: usize, out_channels: usize) -> Result<Act> {
        elementwise::subsample_pad(self, stride, out_channels)
    }

    /// Whether it depends on a variable, and the mode is training.
    pub(crate) fn is_tracked(&self) -> bool {
        match &self.handle {
            #[cfg(feature = "cuda")]
            Handle::Device(slot) => slot.tracked,
            _ => self.token.is_some(),
        }
    }

    /// The slot, whose element type the context's must be.
    pub(crate) fn slot<T: InHandle>(&self) -> Result<&Arc<Slot<T>>> {
        match T::slot(&self.handle) {
            Some(slot) => Ok(slot),
            None => bail!(
                "expected an activation of {:?}, got {:?}",
                T::DTYPE,
                self.core.dtype
            ),
        }
    }

    /// The slot on the device, where the context's activations are.
    #[cfg(feature = "cuda")]
    pub(crate) fn device_slot(&self) -> Result<&Arc<super::DeviceSlot>> {
        match &self.handle {
            Handle::Device(slot) => Ok(slot),
            _ => bail!("expected an activation on a CUDA device"),
        }
    }

    /// Fails unless the activation was made by `cx`.
    pub(crate) fn check_context(&self, cx: &Ctx) -> Result<()> {
        self.check_core(&cx.core)
    }

    pub(super) fn check_core(&self, core: &Arc<Core>) -> Result<()> {
        if !Arc::ptr_eq(&self.core, core) {
            bail!("an activation of one Ctx was given to another");
        }
        Ok(())
    }
}

impl std::fmt::Debug for Act {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Act")
            .field("dims", &self.dims4())
            .field("dtype", &self.core.dtype)
            .field("tracked", &self.is_tracked())
            .finish()
    }
}
