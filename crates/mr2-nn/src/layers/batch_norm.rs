//! Batch normalisation over images, with the skip connection and the rectifier that often follow.

use super::running_statistics::Blend;
use super::{Layer, parameter};
use crate::graph::{Act, Core, Ctx, InHandle, Node, Slot, values_of, with_slot};
use crate::kernels::batch_norm::{self as kernels, Affine, Moments};
use crate::kernels::batch_norm_gradient::{
    GradientSums, InputGradient, gradient_sums, input_gradient,
};
use crate::kernels::pool::PoolBuf;
use candle_core::{Result, Tensor, bail};
use candle_nn::{Init, VarBuilder};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Constants of batch normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchNormConfig {
    /// Added to the variance; PyTorch's default is 1e-5.
    pub eps: f64,
    /// Weight of the new batch in the running statistics; PyTorch's default is 0.1.
    pub momentum: f64,
}

/// Batch normalisation of each channel over batch, height and width.
///
/// Parameters: `weight` and `bias` (channels); buffers: `running_mean` and `running_var` (channels).
/// In training the batch's biased variance normalises, and the unbiased one goes into `running_var`;
/// in evaluation the running statistics normalise and stay as they are.
#[derive(Clone, Debug)]
pub struct BatchNorm2d {
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    config: BatchNormConfig,
}

impl BatchNorm2d {
    /// Weight and running variance 1, bias and running mean 0.
    ///
    /// # Errors
    /// No channels, an `eps` below 0, a momentum outside of 0 to 1, a parameter that is computed from
    /// variables, or those of the `VarBuilder`.
    pub fn new(channels: usize, config: BatchNormConfig, vb: VarBuilder) -> Result<Self> {
        let BatchNormConfig { eps, momentum } = config;
        if channels == 0 {
            bail!("batch_norm: channels must be at least 1, got 0");
        }
        if !(eps >= 0.0 && eps.is_finite()) {
            bail!("batch_norm: eps must be finite and not negative, got {eps}");
        }
        if !(0.0..=1.0).contains(&momentum) {
            bail!("batch_norm: momentum must lie in 0 to 1, got {momentum}");
        }
        Ok(Self {
            weight: parameter("batch_norm", channels, "weight", Init::Const(1.0), &vb)?,
            bias: parameter("batch_norm", channels, "bias", Init::Const(0.0), &vb)?,
            running_mean: vb.get_with_hints(channels, "running_mean", Init::Const(0.0))?,
            running_var: vb.get_with_hints(channels, "running_var", Init::Const(1.0))?,
            config,
        })
    }

    /// The number of channels.
    pub fn channels(&self) -> usize {
        self.weight.elem_count()
    }

    /// Normalises `x`.
    ///
    /// # Errors
    /// A number of channels other than the layer's; in training, one value per channel.
    pub fn forward(&self, cx: &Ctx, x: &Act) -> Result<Act> {
        self.run(cx, x, None, false)
    }

    /// Normalises `x`, then `max(., 0)`.
    ///
    /// # Errors
    /// As [`BatchNorm2d::forward`].
    pub fn forward_relu(&self, cx: &Ctx, x: &Act) -> Result<Act> {
        self.run(cx, x, None, true)
    }

    /// Normalises `x`, adds `skip`, then `max(., 0)`: the end of a residual block.
    ///
    /// # Errors
    /// As [`BatchNorm2d::forward`]; a `skip` of another shape.
    pub fn forward_add_relu(&self, cx: &Ctx, x: &Act, skip: &Act) -> Result<Act> {
        self.run(cx, x, Some(skip), true)
    }

    fn run(&self, cx: &Ctx, x: &Act, skip: Option<&Act>, relu: bool) -> Result<Act> {
        x.check_context(cx)?;
        if let Some(skip) = skip {
            skip.check_context(cx)?;
            if skip.dims4() != x.dims4() {
                bail!(
                    "batch_norm: skip is {:?}, the input {:?}",
                    skip.dims4(),
                    x.dims4()
                );
            }
        }
        let (batch, channels, height, width) = x.dims4();
        if channels != self.channels() {
            bail!(
                "batch_norm: the layer takes {} channels, the input has {channels}",
                self.channels()
            );
        }
        if cx.is_train() && batch * height * width == 1 {
            bail!(
                "batch_norm: expected more than 1 value per channel when training, got input \
                 {:?}",
                x.dims4()
            );
        }
        with_slot!(x, slot => self.run_slot(x, slot, skip, relu))
    }

    fn run_slot<T: InHandle>(
        &self,
        x: &Act,
        slot: &Arc<Slot<T>>,
        skip: Option<&Act>,
        relu: bool,
    ) -> Result<Act> {
        let core = &x.core;
        let weight = values_of::<T>(&self.weight, "batch_norm weight")?;
        let bias = values_of::<T>(&self.bias, "batch_norm bias")?;
        let moments = match core.is_train() {
            true => self.batch_moments(slot)?,
            false => self.running_moments::<T>()?,
        };
        let rates: Vec<f64> = moments
            .variance
            .iter()
            .map(|variance| 1.0 / (variance + self.config.eps).sqrt())
            .collect();
        let affine = Affine {
            mean: moments.mean.iter().map(|&mean| T::from_f64(mean)).collect(),
            scale: weight
                .iter()
                .zip(&rates)
                .map(|(w, r)| T::from_f64(w.to_f64() * r))
                .collect(),
            shift: bias,
            relu,
        };
        let skip_slot = match skip {
            Some(skip) => Some(skip.slot::<T>()?),
            None => None,
        };
        let mut out = core.pool.take(slot.shape.elements());
        kernels::apply(
            &affine,
            slot.data(),
            skip_slot.map(|skip| skip.data()),
            &mut out,
        );
        let inputs: Vec<&Act> = std::iter::once(x).chain(skip).collect();
        core.record(
            slot.shape,
            out,
            &inputs,
            &[&self.weight, &self.bias],
            || BatchNormNode {
                x: slot.clone(),
                skip: skip_slot.cloned(),
                mean: affine.mean,
                scale: affine.scale,
                rates,
                relu,
                weight: self.weight.clone(),
                bias: self.bias.clone(),
            },
        )
    }

    /// The batch's statistics, which also go into the running ones.
    fn batch_moments<T: InHandle>(&self, slot: &Slot<T>) -> Result<Moments> {
        let count = (slot.shape.batch * slot.shape.pixels()) as f64;
        let moments = kernels::moments(slot.data(), slot.shape.channels);
        let unbiased = moments
            .variance
            .iter()
            .map(|v| v * count / (count - 1.0))
            .collect();
        let momentum = self.config.momentum;
        self.running_mean.inplace_op1(&Blend {
            momentum,
            values: moments.mean.clone(),
        })?;
        self.running_var.inplace_op1(&Blend {
            momentum,
            values: unbiased,
        })?;
        Ok(moments)
    }

    fn running_moments<T: InHandle>(&self) -> Result<Moments> {
        let read = |tensor: &Tensor, what: &str| -> Result<Vec<f64>> {
            Ok(values_of::<T>(tensor, what)?
                .into_iter()
                .map(T::to_f64)
                .collect())
        };
        Ok(Moments {
            mean: read(&self.running_mean, "batch_norm running_mean")?,
            variance: read(&self.running_var, "batch_norm running_var")?,
        })
    }
}

impl Layer for BatchNorm2d {
    fn forward(&self, cx: &Ctx, x: &Act) -> Result<Act> {
        BatchNorm2d::forward(self, cx, x)
    }
}

struct BatchNormNode<T: InHandle> {
    x: Arc<Slot<T>>,
    skip: Option<Arc<Slot<T>>>,
    mean: Vec<T>,
    /// Weight over standard deviation.
    scale: Vec<T>,
    /// One over standard deviation.
    rates: Vec<f64>,
    relu: bool,
    weight: Tensor,
    bias: Tensor,
}

impl<T: InHandle> Node<T> for BatchNormNode<T> {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn backward(&self, core: &Core, out: &Slot<T>, mut gradient: PoolBuf<T>) -> Result<()> {
        let relu_out = self.relu.then_some(out.data());
        let sums = gradient_sums(self.x.data(), &self.mean, relu_out, &mut gradient);
        if self.x.tracked {
            let terms = self.terms(&sums);
            let mut part = core.pool.take(gradient.len());
            input_gradient(&terms, self.x.data(), &gradient, &mut part);
            self.x.give_gradient(core, part)?;
        }
        if let Some(skip) = self.skip.as_ref().filter(|skip| skip.tracked) {
            skip.give_gradient(core, gradient)?;
        }
        let products = sums
            .product
            .iter()
            .zip(&self.rates)
            .map(|(sum, rate)| sum * rate);
        add_parameter(core, &self.weight, products.map(T::from_f64).collect())?;
        add_parameter(
            core,
            &self.bias,
            sums.gradient.iter().map(|&sum| T::from_f64(sum)).collect(),
        )
    }
}

impl<T: InHandle> BatchNormNode<T> {
    /// With N values per channel, g the gradient of the output and h the normalised input, the
    /// gradient of the input is `scale * (g - mean(g) - h * mean(g * h))`.
    fn terms(&self, sums: &GradientSums) -> InputGradient<T> {
        let count = (self.x.shape.elements() / self.mean.len()) as f64;
        let scale = |channel: usize| self.scale[channel].to_f64();
        let by_input = |channel: usize| {
            let rate = self.rates[channel];
            T::from_f64(-scale(channel) * rate * rate * sums.product[channel] / count)
        };
        let constant =
            |channel: usize| T::from_f64(-scale(channel) * sums.gradient[channel] / count);
        InputGradient {
            mean: self.mean.clone(),
            by_gradient: self.scale.clone(),
            by_input: (0..self.mean.len()).map(by_input).collect(),
            constant: (0..self.mean.len()).map(constant).collect(),
        }
    }
}

fn add_parameter<T: InHandle>(core: &Core, parameter: &Tensor, values: Vec<T>) -> Result<()> {
    if !parameter.is_variable() {
        return Ok(());
    }
    let part = Tensor::from_vec(values, parameter.shape(), &core.device)?;
    core.add_parameter_gradient(parameter, part)
}
