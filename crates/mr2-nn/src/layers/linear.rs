//! Fully connected layers, on activations and on ordinary tensors.

#[cfg(feature = "cuda")]
mod cuda;

use super::{Activation, Layer, parameter};
use crate::graph::{
    Act, Core, Ctx, InHandle, Node, Shape4, Slot, values_of, with_slot, with_values,
};
use crate::init::pytorch_default;
use crate::kernels::linear::{After, Weight, column_sums};
use crate::kernels::pool::PoolBuf;
use candle_core::{Result, Tensor, bail};
use candle_nn::{Init, VarBuilder};
use std::sync::Arc;

/// A candle-nn `Linear` with PyTorch's default initialisation: `weight` (out_dim, in_dim) and `bias`
/// (out_dim), both U(-b, b) with b = 1 / sqrt(in_dim).
///
/// # Errors
/// A dimension of 0, or those of the `VarBuilder`.
pub fn linear(in_dim: usize, out_dim: usize, vb: VarBuilder) -> Result<candle_nn::Linear> {
    check_sizes(in_dim, out_dim)?;
    let init = pytorch_default(in_dim);
    let weight = vb.get_with_hints((out_dim, in_dim), "weight", init)?;
    let bias = vb.get_with_hints(out_dim, "bias", init)?;
    Ok(candle_nn::Linear::new(weight, Some(bias)))
}

fn check_sizes(in_dim: usize, out_dim: usize) -> Result<()> {
    if in_dim == 0 || out_dim == 0 {
        bail!("linear: dimensions must be at least 1, got in_dim {in_dim}, out_dim {out_dim}");
    }
    Ok(())
}

/// `W x + b` at every pixel or token of an activation, with what often follows in the same pass.
///
/// Parameters: `weight` (out_dim, in_dim) and, if there is one, `bias` (out_dim).
#[derive(Clone, Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// With a bias and PyTorch's default initialisation: U(-b, b) with b = 1 / sqrt(in_dim).
    ///
    /// # Errors
    /// A dimension of 0, a parameter that is computed from variables, or those of the `VarBuilder`.
    pub fn new(in_dim: usize, out_dim: usize, vb: VarBuilder) -> Result<Self> {
        let init = pytorch_default(in_dim);
        Self::with_init(in_dim, out_dim, init, Some(init), vb)
    }

    /// With another initialisation; without that of a bias there is none.
    ///
    /// # Errors
    /// As [`Linear::new`].
    pub fn with_init(
        in_dim: usize,
        out_dim: usize,
        weight: Init,
        bias: Option<Init>,
        vb: VarBuilder,
    ) -> Result<Self> {
        check_sizes(in_dim, out_dim)?;
        let weight = parameter("linear", (out_dim, in_dim), "weight", weight, &vb)?;
        let bias = match bias {
            Some(bias) => Some(parameter("linear", out_dim, "bias", bias, &vb)?),
            None => None,
        };
        Ok(Self { weight, bias })
    }

    /// The weight.
    ///
    /// # Shapes
    /// (out_dim, in_dim).
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// `W x + b`.
    ///
    /// # Errors
    /// A number of channels other than `in_dim`.
    pub fn forward(&self, cx: &Ctx, x: &Act) -> Result<Act> {
        self.run(cx, x, None, None)
    }

    /// `f(W x + b)`.
    ///
    /// # Errors
    /// As [`Linear::forward`].
    pub fn forward_gelu(&self, cx: &Ctx, x: &Act, activation: Activation) -> Result<Act> {
        self.run(cx, x, Some(activation), None)
    }

    /// `W x + b + skip`: the end of a residual branch.
    ///
    /// # Errors
    /// As [`Linear::forward`]; a `skip` of another shape than the output.
    pub fn forward_add(&self, cx: &Ctx, x: &Act, skip: &Act) -> Result<Act> {
        self.run(cx, x, None, Some(skip))
    }

    fn run(
        &self,
        cx: &Ctx,
        x: &Act,
        activation: Option<Activation>,
        skip: Option<&Act>,
    ) -> Result<Act> {
        x.check_context(cx)?;
        let (out_dim, in_dim) = self.weight.dims2()?;
        let (batch, channels, height, width) = x.dims4();
        if channels != in_dim {
            bail!("linear: the layer takes {in_dim} channels, the input has {channels}");
        }
        let shape = Shape4 {
            batch,
            channels: out_dim,
            height,
            width,
        };
        if let Some(skip) = skip {
            skip.check_context(cx)?;
            if skip.dims4() != shape.dims() {
                bail!(
                    "linear: skip is {:?}, the output {:?}",
                    skip.dims4(),
                    shape.dims()
                );
            }
        }
        with_slot!(
            x,
            slot => self.run_slot(x, slot, shape, activation, skip),
            cuda slot => cuda::forward(self, x, slot, shape, activation, skip)
        )
    }

    fn run_slot<T: InHandle>(
        &self,
        x: &Act,
        slot: &Arc<Slot<T>>,
        shape: Shape4,
        activation: Option<Activation>,
        skip: Option<&Act>,
    ) -> Result<Act> {
        let core = &x.core;
        let inputs: Vec<&Act> = std::iter::once(x).chain(skip).collect();
        let parameters: Vec<&Tensor> = std::iter::once(&self.weight).chain(&self.bias).collect();
        let weight = with_values(
            &self.weight.contiguous()?,
            "linear weight",
            |values: &[T]| Weight::new(values, shape.channels, slot.shape.channels, &core.pool),
        )?;
        let bias = match &self.bias {
            Some(bias) => Some(values_of::<T>(bias, "linear bias")?),
            None => None,
        };
        let skip = match skip {
            Some(skip) => Some(skip.slot::<T>()?.clone()),
            None => None,
        };
        // What goes into the activation is needed again by its gradient only.
        let keep = activation.is_some() && core.tracks(&inputs, &parameters);
        let mut before = keep.then(|| core.pool.take::<T>(shape.elements()));
        let mut out = core.pool.take(shape.elements());
        let after = After {
            bias: bias.as_deref(),
            residual: skip.as_ref().map(|skip| skip.data()),
            activation,
            before: before.as_deref_mut(),
        };
        weight.forward(slot.data(), after, &mut out, &core.pool);
        core.record(shape, out, &inputs, &parameters, || LinearNode {
            x: slot.clone(),
            skip,
            weight,
            activated: activation.zip(before),
            layer: self.clone(),
        })
    }
}

impl Layer for Linear {
    fn forward(&self, cx: &Ctx, x: &Act) -> Result<Act> {
        Linear::forward(self, cx, x)
    }
}

struct LinearNode<T: InHandle> {
    x: Arc<Slot<T>>,
    skip: Option<Arc<Slot<T>>>,
    /// The weight as it was in the forward pass.
    weight: Weight<T>,
    /// The activation and what went into it.
    activated: Option<(Activation, PoolBuf<T>)>,
    layer: Linear,
}

impl<T: InHandle> Node<T> for LinearNode<T> {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn backward(&self, core: &Core, out: &Slot<T>, mut gradient: PoolBuf<T>) -> Result<()> {
        if let Some((activation, before)) = &self.activated {
            activation.backward(before, &mut gradient);
        }
        let layer = &self.layer;
        if layer.weight.is_variable() {
            let values = self.weight.gradient(self.x.data(), &gradient, &core.pool);
            let part = Tensor::from_vec(values, layer.weight.shape(), &core.device)?;
            core.add_parameter_gradient(&layer.weight, part)?;
        }
        if let Some(bias) = layer.bias.as_ref().filter(|bias| bias.is_variable()) {
            let values = column_sums(&gradient, out.shape.channels);
            let part = Tensor::from_vec(values, bias.shape(), &core.device)?;
            core.add_parameter_gradient(bias, part)?;
        }
        if self.x.tracked {
            self.x.write_gradient(core, |into, accumulate| {
                self.weight
                    .input_gradient(&gradient, into, accumulate, &core.pool);
            })?;
        }
        match self.skip.as_ref().filter(|skip| skip.tracked) {
            Some(skip) => skip.give_gradient(core, gradient),
            None => Ok(()),
        }
    }
}
