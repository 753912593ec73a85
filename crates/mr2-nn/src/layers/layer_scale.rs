//! A learned factor for each channel of a residual branch.

#[cfg(feature = "cuda")]
mod cuda;

use super::parameter;
use crate::graph::{Act, Core, Ctx, InHandle, Node, Slot, values_of, with_slot};
use crate::kernels::layer_scale as kernels;
use crate::kernels::pool::PoolBuf;
use candle_core::{Result, Tensor, bail};
use candle_nn::{Init, VarBuilder};
use std::sync::Arc;

/// LayerScale (Touvron et al. 2021, arXiv 2103.17239): `skip + gamma * x`, a residual branch whose
/// channels are multiplied by factors of their own.
///
/// Parameters, under timm's name: `gamma` (channels).
#[derive(Clone, Debug)]
pub struct LayerScale {
    gamma: Tensor,
}

impl LayerScale {
    /// All factors start from `start`: 1e-5 in DINOv2.
    ///
    /// # Errors
    /// No channels, a `start` that isn't finite, a parameter that is computed from variables, or those of
    /// the `VarBuilder`.
    pub fn new(channels: usize, start: f64, vb: VarBuilder) -> Result<Self> {
        if channels == 0 {
            bail!("layer_scale: channels must be at least 1, got 0");
        }
        if !start.is_finite() {
            bail!("layer_scale: start must be finite, got {start}");
        }
        let gamma = parameter("layer_scale", channels, "gamma", Init::Const(start), &vb)?;
        Ok(Self { gamma })
    }

    /// `skip + gamma * x`, in one pass.
    ///
    /// # Errors
    /// A number of channels other than the layer's; a `skip` of another shape than `x`.
    pub fn forward_add(&self, cx: &Ctx, x: &Act, skip: &Act) -> Result<Act> {
        x.check_context(cx)?;
        skip.check_context(cx)?;
        let (own, (_, channels, ..)) = (self.gamma.elem_count(), x.dims4());
        if channels != own {
            bail!("layer_scale: the layer takes {own} channels, the input has {channels}");
        }
        if skip.dims4() != x.dims4() {
            bail!(
                "layer_scale: skip is {:?}, the input {:?}",
                skip.dims4(),
                x.dims4()
            );
        }
        with_slot!(
            x,
            slot => self.forward_slot(x, slot, skip),
            cuda slot => cuda::forward(self, x, slot, skip)
        )
    }

    fn forward_slot<T: InHandle>(&self, x: &Act, slot: &Arc<Slot<T>>, skip: &Act) -> Result<Act> {
        let (core, skip_slot) = (&x.core, skip.slot::<T>()?);
        let gamma = values_of::<T>(&self.gamma, "layer_scale gamma")?;
        let mut out = core.pool.take(slot.shape.elements());
        kernels::forward(slot.data(), &gamma, skip_slot.data(), &mut out);
        core.record(slot.shape, out, &[x, skip], &[&self.gamma], || {
            LayerScaleNode {
                x: slot.clone(),
                skip: skip_slot.clone(),
                gamma,
                layer: self.clone(),
            }
        })
    }
}

struct LayerScaleNode<T: InHandle> {
    x: Arc<Slot<T>>,
    skip: Arc<Slot<T>>,
    /// The factors as they were in the forward pass.
    gamma: Vec<T>,
    layer: LayerScale,
}

impl<T: InHandle> Node<T> for LayerScaleNode<T> {
    fn name(&self) -> &'static str {
        "layer_scale"
    }

    fn backward(&self, core: &Core, _: &Slot<T>, gradient: PoolBuf<T>) -> Result<()> {
        let parameter = &self.layer.gamma;
        if parameter.is_variable() {
            let values = kernels::factor_gradient(&gradient, self.x.data(), self.gamma.len());
            let part = Tensor::from_vec(values, parameter.shape(), &core.device)?;
            core.add_parameter_gradient(parameter, part)?;
        }
        if self.x.tracked {
            self.x.write_gradient(core, |into, accumulate| {
                kernels::input_gradient(&gradient, &self.gamma, into, accumulate);
            })?;
        }
        match self.skip.tracked {
            true => self.skip.give_gradient(core, gradient),
            false => Ok(()),
        }
    }
}
