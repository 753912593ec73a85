//! Layer normalisation over the channels of each pixel or token.

#[cfg(feature = "cuda")]
mod cuda;

use super::{Layer, parameter};
use crate::graph::{Act, Core, Ctx, InHandle, Node, Slot, values_of, with_slot};
use crate::init::{ONES, ZEROS};
use crate::kernels::layer_norm::{self as kernels, Saved};
use crate::kernels::pool::PoolBuf;
use candle_core::{Result, Tensor, bail};
use candle_nn::VarBuilder;
use std::sync::Arc;

/// Layer normalisation (Ba et al. 2016, arXiv 1607.06450): each pixel's or token's channels get mean 0 and
/// variance 1, then a weight and a bias of their own.
///
/// Parameters: `weight` and `bias` (channels).
#[derive(Clone, Debug)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl LayerNorm {
    /// Weight 1, bias 0. `eps` is added to the variance: PyTorch's default is 1e-5, ViT has 1e-6.
    ///
    /// # Errors
    /// No channels, an `eps` below 0, a parameter that is computed from variables, or those of the
    /// `VarBuilder`.
    pub fn new(channels: usize, eps: f64, vb: VarBuilder) -> Result<Self> {
        if channels == 0 {
            bail!("layer_norm: channels must be at least 1, got 0");
        }
        if !(eps >= 0.0 && eps.is_finite()) {
            bail!("layer_norm: eps must be finite and not negative, got {eps}");
        }
        Ok(Self {
            weight: parameter("layer_norm", channels, "weight", ONES, &vb)?,
            bias: parameter("layer_norm", channels, "bias", ZEROS, &vb)?,
            eps,
        })
    }

    /// Normalises `x`.
    ///
    /// # Errors
    /// A number of channels other than the layer's.
    pub fn forward(&self, cx: &Ctx, x: &Act) -> Result<Act> {
        x.check_context(cx)?;
        let (own, (_, channels, ..)) = (self.weight.elem_count(), x.dims4());
        if channels != own {
            bail!("layer_norm: the layer takes {own} channels, the input has {channels}");
        }
        with_slot!(
            x,
            slot => self.forward_slot(x, slot),
            cuda slot => cuda::forward(self, x, slot)
        )
    }

    fn forward_slot<T: InHandle>(&self, x: &Act, slot: &Arc<Slot<T>>) -> Result<Act> {
        let core = &x.core;
        let weight = values_of::<T>(&self.weight, "layer_norm weight")?;
        let bias = values_of::<T>(&self.bias, "layer_norm bias")?;
        let mut out = core.pool.take(slot.shape.elements());
        let mut statistics = core
            .pool
            .take::<T>(2 * slot.shape.batch * slot.shape.pixels());
        kernels::forward(
            slot.data(),
            &weight,
            &bias,
            self.eps,
            &mut out,
            statistics.as_chunks_mut().0,
        );
        core.record(slot.shape, out, &[x], &[&self.weight, &self.bias], || {
            LayerNormNode {
                x: slot.clone(),
                weight,
                statistics,
                layer: self.clone(),
            }
        })
    }
}

impl Layer for LayerNorm {
    fn forward(&self, cx: &Ctx, x: &Act) -> Result<Act> {
        LayerNorm::forward(self, cx, x)
    }
}

struct LayerNormNode<T: InHandle> {
    x: Arc<Slot<T>>,
    /// The weight as it was in the forward pass.
    weight: Vec<T>,
    /// Mean and rate of each row, one after the other.
    statistics: PoolBuf<T>,
    layer: LayerNorm,
}

impl<T: InHandle> LayerNormNode<T> {
    fn add_parameters(&self, core: &Core, gradients: [Vec<T>; 2]) -> Result<()> {
        for (parameter, values) in [&self.layer.weight, &self.layer.bias]
            .into_iter()
            .zip(gradients)
        {
            if parameter.is_variable() {
                let part = Tensor::from_vec(values, parameter.shape(), &core.device)?;
                core.add_parameter_gradient(parameter, part)?;
            }
        }
        Ok(())
    }
}

impl<T: InHandle> Node<T> for LayerNormNode<T> {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn backward(&self, core: &Core, _: &Slot<T>, gradient: PoolBuf<T>) -> Result<()> {
        let saved = Saved {
            x: self.x.data(),
            weight: &self.weight,
            statistics: self.statistics.as_chunks().0,
        };
        let mut gradients = [Vec::new(), Vec::new()];
        if self.x.tracked {
            self.x.write_gradient(core, |into, accumulate| {
                gradients = kernels::backward(&saved, &gradient, into, accumulate);
            })?;
        } else {
            let mut unused = core.pool.take(gradient.len());
            gradients = kernels::backward(&saved, &gradient, &mut unused, false);
        }
        self.add_parameters(core, gradients)
    }
}
