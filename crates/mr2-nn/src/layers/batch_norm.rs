//! Batch normalisation over images, with the skip connection and the rectifier that often follow.

#[cfg(feature = "cuda")]
mod cuda;

use super::running_statistics::Blend;
use super::{Layer, parameter};
use crate::graph::{
    Act, Content, Core, Ctx, Gradient, InHandle, Node, Normalised, Slot, values_of, with_slot,
};
use crate::kernels::batch_norm::{self as kernels, Affine, Moments, Rectifier};
use crate::kernels::batch_norm_gradient::{GradientSums, InputGradient, gradient_sums};
use crate::kernels::pool::PoolBuf;
use crate::kernels::source::Source;
use candle_core::{Result, Tensor, bail};
use candle_nn::{Init, VarBuilder};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, OnceLock};

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
/// In training the batch's biased variance normalises, and the unbiased one goes into `running_var`
/// (not within [`Ctx::keeping_running_statistics`]); in evaluation the running statistics normalise and
/// stay as they are.
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
        self.run(cx, x, None, Rectifier::None)
    }

    /// Normalises `x`, then `max(., 0)`.
    ///
    /// # Errors
    /// As [`BatchNorm2d::forward`].
    pub fn forward_relu(&self, cx: &Ctx, x: &Act) -> Result<Act> {
        self.run(cx, x, None, Rectifier::Relu)
    }

    /// Normalises `x`, then `min(max(., 0), 6)`.
    ///
    /// # Errors
    /// As [`BatchNorm2d::forward`].
    pub fn forward_relu6(&self, cx: &Ctx, x: &Act) -> Result<Act> {
        self.run(cx, x, None, Rectifier::Relu6)
    }

    /// Normalises `x`, adds `skip`: the end of an inverted residual block.
    ///
    /// # Errors
    /// As [`BatchNorm2d::forward`]; a `skip` of another shape.
    pub fn forward_add(&self, cx: &Ctx, x: &Act, skip: &Act) -> Result<Act> {
        self.run(cx, x, Some(skip), Rectifier::None)
    }

    /// Normalises `x`, adds `skip`, then `max(., 0)`: the end of a residual block.
    ///
    /// # Errors
    /// As [`BatchNorm2d::forward`]; a `skip` of another shape.
    pub fn forward_add_relu(&self, cx: &Ctx, x: &Act, skip: &Act) -> Result<Act> {
        self.run(cx, x, Some(skip), Rectifier::Relu)
    }

    pub(super) fn run(
        &self,
        cx: &Ctx,
        x: &Act,
        skip: Option<&Act>,
        rectifier: Rectifier,
    ) -> Result<Act> {
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
        with_slot!(
            x,
            slot => self.run_slot(x, slot, skip, rectifier),
            cuda slot => cuda::run(self, x, slot, skip, rectifier)
        )
    }

    fn run_slot<T: InHandle>(
        &self,
        x: &Act,
        slot: &Arc<Slot<T>>,
        skip: Option<&Act>,
        rectifier: Rectifier,
    ) -> Result<Act> {
        let core = &x.core;
        let moments = match core.is_train() {
            true => self.batch_moments(core, slot)?,
            false => self.running_moments::<T>()?,
        };
        let (affine, rates) = self.affine::<T>(&moments, rectifier)?;
        let affine = Arc::new(affine);
        let skip_slot = match skip {
            Some(skip) => Some(skip.slot::<T>()?),
            None => None,
        };
        let inputs: Vec<&Act> = std::iter::once(x).chain(skip).collect();
        let parameters = [&self.weight, &self.bias];
        let content = if skip.is_none() || core.tracks(&inputs, &parameters) {
            Content::Normalised(Normalised {
                x: slot.clone(),
                affine: affine.clone(),
                skip: skip_slot.cloned(),
                stored: OnceLock::new(),
            })
        } else {
            // Without a graph, what skips would be kept alive by what it is added to, and so on.
            let source = Source::Normalised {
                affine: &affine,
                x: slot.data(),
                skip: skip_slot.map(|skip| skip.data()),
            };
            let mut out = core.pool.take(slot.shape.elements());
            source.write_parallel(slot.shape.channels, &mut out);
            Content::Values(out)
        };
        core.record(slot.shape, content, &inputs, &parameters, || {
            BatchNormNode {
                x: slot.clone(),
                skip: skip_slot.cloned(),
                affine,
                rates,
                weight: self.weight.clone(),
                bias: self.bias.clone(),
            }
        })
    }

    /// What normalisation does to each channel; one over the standard deviations.
    fn affine<T: InHandle>(
        &self,
        moments: &Moments,
        rectifier: Rectifier,
    ) -> Result<(Affine<T>, Vec<f64>)> {
        let weight = values_of::<T>(&self.weight, "batch_norm weight")?;
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
            shift: values_of::<T>(&self.bias, "batch_norm bias")?,
            rectifier,
        };
        Ok((affine, rates))
    }

    /// What evaluation does to each channel.
    pub(super) fn running_affine<T: InHandle>(&self, rectifier: Rectifier) -> Result<Affine<T>> {
        Ok(self.affine(&self.running_moments::<T>()?, rectifier)?.0)
    }

    /// The batch's statistics, which also go into the running ones where the context says so.
    fn batch_moments<T: InHandle>(&self, core: &Core, slot: &Slot<T>) -> Result<Moments> {
        let count = (slot.shape.batch * slot.shape.pixels()) as f64;
        let moments = match slot.moments() {
            Some(moments) => moments.clone(),
            None => kernels::moments(slot.data(), slot.shape.channels),
        };
        if !core.moves_statistics() {
            return Ok(moments);
        }
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
    affine: Arc<Affine<T>>,
    /// One over standard deviation.
    rates: Vec<f64>,
    weight: Tensor,
    bias: Tensor,
}

impl<T: InHandle> Node<T> for BatchNormNode<T> {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn backward(&self, core: &Core, out: &Slot<T>, gradient: PoolBuf<T>) -> Result<()> {
        self.backward_from(core, out, gradient.into())
    }

    fn backward_from(&self, core: &Core, out: &Slot<T>, gradient: Gradient<T>) -> Result<()> {
        let (gradient, sums) = match gradient {
            Gradient::Values {
                values,
                sums: Some(sums),
            } => (values, sums),
            other => {
                let mut values = other.into_values(core);
                let Some(behind) = out.behind() else {
                    bail!("batch_norm: the output has lost its input");
                };
                let sums = gradient_sums(behind.x, behind.mean, behind.mask, &mut values);
                (Arc::new(values), sums)
            }
        };
        if self.x.tracked {
            let part = Gradient::Normalised {
                gradient: gradient.clone(),
                terms: self.terms(&sums),
                x: self.x.clone(),
            };
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
        let count = (self.x.shape.elements() / self.rates.len()) as f64;
        let scale = |channel: usize| self.affine.scale[channel].to_f64();
        let by_input = |channel: usize| {
            let rate = self.rates[channel];
            T::from_f64(-scale(channel) * rate * rate * sums.product[channel] / count)
        };
        let constant =
            |channel: usize| T::from_f64(-scale(channel) * sums.gradient[channel] / count);
        InputGradient {
            mean: self.affine.mean.clone(),
            by_gradient: self.affine.scale.clone(),
            by_input: (0..self.rates.len()).map(by_input).collect(),
            constant: (0..self.rates.len()).map(constant).collect(),
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
