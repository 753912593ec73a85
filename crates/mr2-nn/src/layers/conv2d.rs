//! Two-dimensional convolution.

#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
mod patches;

use super::{Layer, parameter, window_outputs};
use crate::graph::{
    Act, Core, Ctx, Gradient, InHandle, Node, Shape4, Slot, values_of, with_slot, with_values,
};
use crate::init::pytorch_default;
use crate::kernels::batch_norm::Affine;
use crate::kernels::batch_norm_gradient::GradientSums;
use crate::kernels::conv::{self, Finish, Geometry, ImageGradient};
use crate::kernels::pool::PoolBuf;
use crate::kernels::source::Source;
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
    pads_to_same: bool,
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
            pads_to_same: false,
        })
    }

    /// The layer with TensorFlow's padding SAME in place of the configured one: `size / stride` outputs,
    /// rounded up, and as many zeros as those need, the odd one behind the image.
    pub fn padded_to_same(self) -> Self {
        Self {
            pads_to_same: true,
            ..self
        }
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
        with_slot!(
            x,
            slot => self.forward_slot(x, slot, None),
            cuda slot => cuda::forward(self, x, slot)
        )
    }

    /// The convolution of `x`, then what batch norm does in evaluation.
    pub(super) fn forward_affine<T: InHandle>(
        &self,
        x: &Act,
        slot: &Arc<Slot<T>>,
        affine: &Affine<T>,
        skip: Option<&Act>,
    ) -> Result<Act> {
        let skip = match skip {
            Some(skip) => {
                let g = self.geometry(slot.shape)?;
                let out = (g.batch, g.out_channels, g.out_height, g.out_width);
                if skip.dims4() != out {
                    bail!("batch_norm: skip is {:?}, the input {out:?}", skip.dims4());
                }
                Some(skip.slot::<T>()?.data())
            }
            None => None,
        };
        self.forward_slot(x, slot, Some(Finish::Affine { affine, skip }))
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
        let axis = |size| match self.pads_to_same {
            true => Ok(conv::same_padding(size, kernel, stride, dilation)),
            false => window_outputs("conv2d", size, kernel, stride, padding, dilation)
                .map(|outputs| (outputs, padding)),
        };
        let ((out_height, rows), (out_width, cols)) = (axis(x.height)?, axis(x.width)?);
        Ok(Geometry {
            batch: x.batch,
            in_channels: x.channels,
            in_height: x.height,
            in_width: x.width,
            out_channels,
            out_height,
            out_width,
            kernel,
            stride,
            padding: [rows, cols],
            dilation,
            groups,
        })
    }

    fn forward_slot<T: InHandle>(
        &self,
        x: &Act,
        slot: &Arc<Slot<T>>,
        finish: Option<Finish<'_, T>>,
    ) -> Result<Act> {
        let geometry = self.geometry(slot.shape)?;
        let core = &x.core;
        let mut weight = core.pool.take::<T>(geometry.weights());
        with_values(&self.weight.contiguous()?, "conv2d weight", |values| {
            weight.copy_from_slice(values);
        })?;
        let shape = Shape4 {
            batch: geometry.batch,
            channels: geometry.out_channels,
            height: geometry.out_height,
            width: geometry.out_width,
        };
        let mut out = core.pool.take(shape.elements());
        if let Some(bias) = &self.bias {
            conv::spread_bias(&values_of::<T>(bias, "conv2d bias")?, &mut out);
        }
        let fused = conv::reads_sources::<T>(&geometry);
        let mut stored =
            (fused && slot.to_be_stored()).then(|| core.pool.take(slot.shape.elements()));
        let work = conv::Forward {
            images: if fused {
                slot.source()
            } else {
                Source::Values(slot.data())
            },
            stored: stored.as_deref_mut(),
            weight: &weight,
            accumulate: self.bias.is_some(),
            finish: match finish {
                Some(finish) => finish,
                // Batch norm usually follows, and while the output is in the cache they cost little.
                None if fused && core.is_train() => Finish::Moments,
                None => Finish::Nothing,
            },
            out: &mut out,
        };
        let moments = conv::forward(&geometry, work, &core.pool);
        if let Some(stored) = stored {
            slot.store(stored);
        }
        let parameters: Vec<&Tensor> = std::iter::once(&self.weight).chain(&self.bias).collect();
        let act = core.record(shape, out, &[x], &parameters, || ConvNode {
            geometry,
            x: slot.clone(),
            weight,
            layer: self.clone(),
        })?;
        if let Some(moments) = moments {
            act.slot::<T>()?.know_moments(moments);
        }
        Ok(act)
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

    fn backward(&self, core: &Core, out: &Slot<T>, gradient: PoolBuf<T>) -> Result<()> {
        self.backward_from(core, out, gradient.into())
    }

    fn backward_from(&self, core: &Core, _: &Slot<T>, gradient: Gradient<T>) -> Result<()> {
        let (geometry, layer) = (&self.geometry, &self.layer);
        let mut gradient = gradient;
        if let Some(bias) = layer.bias.as_ref().filter(|bias| bias.is_variable()) {
            let values = gradient.into_values(core);
            let part = conv::bias_gradient(geometry, &values);
            let part = Tensor::from_vec(part, bias.shape(), &core.device)?;
            core.add_parameter_gradient(bias, part)?;
            gradient = values.into();
        }
        let mut weight_gradient = layer
            .weight
            .is_variable()
            .then(|| vec![T::zero(); geometry.weights()]);
        let source = gradient.source();
        let to_weight = weight_gradient.as_deref_mut();
        if self.x.tracked {
            self.x.complete_gradient(core, |to_images| {
                self.gradients(core, source, to_weight, Some(to_images))
            })?;
        } else {
            self.gradients(core, source, to_weight, None);
        }
        if let Some(values) = weight_gradient {
            let part = Tensor::from_vec(values, layer.weight.shape(), &core.device)?;
            core.add_parameter_gradient(&layer.weight, part)?;
        }
        Ok(())
    }
}

impl<T: InHandle> ConvNode<T> {
    fn gradients(
        &self,
        core: &Core,
        out_gradient: Source<'_, T>,
        weight_gradient: Option<&mut [T]>,
        image_gradient: Option<ImageGradient<'_, T>>,
    ) -> Option<GradientSums> {
        let images = match conv::reads_sources::<T>(&self.geometry) {
            true => self.x.source(),
            false => Source::Values(self.x.data()),
        };
        let work = conv::Backward {
            images,
            out_gradient,
            weight: &self.weight,
            weight_gradient,
            image_gradient,
        };
        conv::backward(&self.geometry, work, &core.pool)
    }
}
