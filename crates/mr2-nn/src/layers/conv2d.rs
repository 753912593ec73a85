//! Two-dimensional convolution.

use super::{Layer, parameter, window_outputs};
use crate::graph::{
    Act, Core, Ctx, InHandle, Node, Shape4, Slot, values_of, with_slot, with_values,
};
use crate::init::pytorch_default;
use crate::kernels::conv::{self, Geometry};
use crate::kernels::pool::PoolBuf;
use candle_core::{Result, Tensor, bail};
use candle_nn::{Init, VarBuilder};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How the kernel moves, and whether there is a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conv2dConfig {
    /// Pixels from one output to the next.
    pub stride: usize,
    /// Pixels of zeros on every side.
    pub padding: usize,
    /// Pixels from one tap of the kernel to the next.
    pub dilation: usize,
    /// Independent groups of channels.
    pub groups: usize,
    /// Whether a bias is added to each output channel.
    pub bias: bool,
}

/// Convolution (cross-correlation, as everywhere in deep learning) with a square kernel.
///
/// Parameters: `weight` (out_channels, in_channels / groups, kernel, kernel) and, if configured,
/// `bias` (out_channels).
#[derive(Clone, Debug)]
pub struct Conv2d {
    weight: Tensor,
    bias: Option<Tensor>,
    config: Conv2dConfig,
}

impl Conv2d {
    /// PyTorch's default initialisation: U(-b, b) with b = 1 / sqrt(fan-in), for weight and bias.
    ///
    /// # Errors
    /// Sizes of 0, channels that the groups do not divide, a parameter that is computed from
    /// variables, or those of the `VarBuilder`.
    pub fn new(
        in_channels: usize,
        out_channels: usize,
        kernel: usize,
        config: Conv2dConfig,
        vb: VarBuilder,
    ) -> Result<Self> {
        let init = pytorch_default(fan_in(in_channels, kernel, &config));
        Self::with_init(in_channels, out_channels, kernel, config, init, vb)
    }

    /// As [`Conv2d::new`], with another initialisation of the weight.
    ///
    /// # Errors
    /// As [`Conv2d::new`].
    pub fn with_init(
        in_channels: usize,
        out_channels: usize,
        kernel: usize,
        config: Conv2dConfig,
        init: Init,
        vb: VarBuilder,
    ) -> Result<Self> {
        let groups = config.groups;
        if in_channels == 0 || out_channels == 0 || kernel == 0 {
            bail!(
                "conv2d: channels and kernel must be at least 1, got in_channels {in_channels}, \
                 out_channels {out_channels}, kernel {kernel}"
            );
        }
        if groups == 0
            || !in_channels.is_multiple_of(groups)
            || !out_channels.is_multiple_of(groups)
        {
            bail!(
                "conv2d: groups {groups} must divide in_channels {in_channels} and out_channels \
                 {out_channels}"
            );
        }
        if config.stride == 0 || config.dilation == 0 {
            bail!(
                "conv2d: stride and dilation must be at least 1, got {}, {}",
                config.stride,
                config.dilation
            );
        }
        let shape = (out_channels, in_channels / groups, kernel, kernel);
        let weight = parameter("conv2d", shape, "weight", init, &vb)?;
        let init = pytorch_default(fan_in(in_channels, kernel, &config));
        let bias = match config.bias {
            true => Some(parameter("conv2d", out_channels, "bias", init, &vb)?),
            false => None,
        };
        Ok(Self {
            weight,
            bias,
            config,
        })
    }

    /// The weight, (out_channels, in_channels / groups, kernel, kernel).
    ///
    /// # Shapes
    /// (out_channels, in_channels / groups, kernel, kernel).
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// The convolution of `x`.
    ///
    /// # Errors
    /// A number of channels other than the layer's, or a kernel larger than the padded input.
    pub fn forward(&self, cx: &Ctx, x: &Act) -> Result<Act> {
        x.check_context(cx)?;
        with_slot!(x, slot => self.forward_slot(x, slot))
    }

    fn geometry(&self, x: Shape4) -> Result<Geometry> {
        let (out_channels, group_channels, kernel, _) = self.weight.dims4()?;
        let Conv2dConfig {
            stride,
            padding,
            dilation,
            groups,
            ..
        } = self.config;
        if x.channels != group_channels * groups {
            bail!(
                "conv2d: the layer takes {} channels, the input has {}",
                group_channels * groups,
                x.channels
            );
        }
        let outputs = |size| window_outputs("conv2d", size, kernel, stride, padding, dilation);
        Ok(Geometry {
            batch: x.batch,
            in_channels: x.channels,
            in_height: x.height,
            in_width: x.width,
            out_channels,
            out_height: outputs(x.height)?,
            out_width: outputs(x.width)?,
            kernel,
            stride,
            padding,
            dilation,
            groups,
        })
    }

    fn forward_slot<T: InHandle>(&self, x: &Act, slot: &Arc<Slot<T>>) -> Result<Act> {
        let geometry = self.geometry(slot.shape)?;
        let core = &x.core;
        let mut weight = core.pool.take::<T>(geometry.weights());
        with_values(&self.weight.contiguous()?, "conv2d weight", |values| {
            weight.copy_from_slice(values);
        })?;
        let bias = match &self.bias {
            Some(bias) => Some(values_of::<T>(bias, "conv2d bias")?),
            None => None,
        };
        let shape = Shape4 {
            batch: geometry.batch,
            channels: geometry.out_channels,
            height: geometry.out_height,
            width: geometry.out_width,
        };
        let mut out = core.pool.take(shape.elements());
        conv::forward(
            &geometry,
            slot.data(),
            &weight,
            bias.as_deref(),
            &mut out,
            &core.pool,
        );
        let parameters: Vec<&Tensor> = std::iter::once(&self.weight).chain(&self.bias).collect();
        core.record(shape, out, &[x], &parameters, || ConvNode {
            geometry,
            x: slot.clone(),
            weight,
            layer: self.clone(),
        })
    }
}

fn fan_in(in_channels: usize, kernel: usize, config: &Conv2dConfig) -> usize {
    in_channels / config.groups.max(1) * kernel * kernel
}

impl Layer for Conv2d {
    fn forward(&self, cx: &Ctx, x: &Act) -> Result<Act> {
        Conv2d::forward(self, cx, x)
    }
}

struct ConvNode<T: InHandle> {
    geometry: Geometry,
    x: Arc<Slot<T>>,
    /// The weight as it was in the forward pass.
    weight: PoolBuf<T>,
    layer: Conv2d,
}

impl<T: InHandle> Node<T> for ConvNode<T> {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn backward(&self, core: &Core, _: &Slot<T>, gradient: PoolBuf<T>) -> Result<()> {
        let (geometry, layer) = (&self.geometry, &self.layer);
        if layer.weight.is_variable() {
            let values = conv::weight_gradient(geometry, self.x.data(), &gradient, &core.pool);
            let part = Tensor::from_vec(values, layer.weight.shape(), &core.device)?;
            core.add_parameter_gradient(&layer.weight, part)?;
        }
        if let Some(bias) = layer.bias.as_ref().filter(|bias| bias.is_variable()) {
            let values = conv::bias_gradient(geometry, &gradient);
            let part = Tensor::from_vec(values, bias.shape(), &core.device)?;
            core.add_parameter_gradient(bias, part)?;
        }
        if self.x.tracked {
            self.x.add_gradient(core, |sum| {
                conv::image_gradient(geometry, &self.weight, &gradient, sum, &core.pool);
            })?;
        }
        Ok(())
    }
}
