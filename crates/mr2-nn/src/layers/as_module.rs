//! Any layer as a candle-nn `Module`.

use super::Layer;
use crate::graph::Ctx;
use candle_core::{Result, Tensor};
use candle_nn::Module;

/// A layer on ordinary tensors, (batch, channels, height, width) to the same.
///
/// Convenient among candle-nn modules; each call copies the activation at both ends, so a chain of
/// layers is faster on [`Act`](crate::graph::Act)s. The backward is still [`Ctx::backward`].
///
/// ```
/// use candle_nn::{Module, seq};
/// use mr2_nn::candle_core::{DType, Device, Tensor};
/// use mr2_nn::graph::{Ctx, Mode};
/// use mr2_nn::layers::{AsModule, MaxPool2d};
/// # fn main() -> mr2_nn::candle_core::Result<()> {
/// let cx = Ctx::new(&Device::Cpu, DType::F32, Mode::Train)?;
/// let pool = AsModule { layer: MaxPool2d { kernel: 2, stride: 2, padding: 0 }, cx: cx.clone() };
/// let net = seq().add(pool).add_fn(|x| x.flatten_from(1));
/// let images = Tensor::ones((1, 3, 8, 8), DType::F32, &Device::Cpu)?;
/// assert_eq!(net.forward(&images)?.dims(), [1, 48]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AsModule<L> {
    /// The layer.
    pub layer: L,
    /// The context of its calls.
    pub cx: Ctx,
}

impl<L: Layer> Module for AsModule<L> {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let cx = &self.cx;
        self.layer.forward(cx, &cx.enter(x)?)?.to_tensor()
    }
}
