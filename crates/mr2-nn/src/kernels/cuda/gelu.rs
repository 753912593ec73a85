//! What follows the product of a fully connected layer: bias, what is added, the activation; and its gradient.

use super::columns::{Columns, finish};
use super::{Arg, Module, device_of, empty, launch, module, optional, optional_parameter, pointer};
use crate::kernels::activation::Activation;
use candle_core::{Result, Tensor};

const MODULE: Module = module!("gelu");

/// The number of the activation in gelu.cu.
fn kind(activation: Option<Activation>) -> Arg {
    Arg::I32(match activation {
        None => 0,
        Some(Activation::Gelu) => 1,
        Some(Activation::GeluTanh) => 2,
        Some(Activation::QuickGelu) => 3,
    })
}

/// `f(x + bias + skip)`. Without an activation it goes to where `x` is, which nobody else has seen yet.
pub(crate) fn follow(
    x: Tensor,
    bias: Option<&Tensor>,
    skip: Option<&Tensor>,
    activation: Option<Activation>,
) -> Result<Tensor> {
    let device = device_of(&x)?;
    let out = match activation {
        Some(_) => empty(&device, x.dtype(), x.shape())?,
        None if bias.is_none() && skip.is_none() => return Ok(x),
        None => x.clone(),
    };
    let over = Columns::of(&x)?;
    let tensors = [
        pointer(&x)?,
        optional_parameter(bias, &device)?,
        optional(skip)?,
        pointer(&out)?,
    ];
    launch(
        &device,
        MODULE,
        &over.kernel("gelu_forward", x.dtype())?,
        over.grid,
        &[&tensors[..], &over.sizes(), &[kind(activation)]].concat(),
    )?;
    Ok(out)
}

/// `gradient * f'(x + bias)`, and the sums of its columns if they are asked for.
pub(crate) fn gradient(
    activation: Activation,
    gradient: &Tensor,
    x: &Tensor,
    bias: Option<&Tensor>,
    sums: bool,
) -> Result<(Tensor, Option<Tensor>)> {
    let device = device_of(x)?;
    let over = Columns::of(x)?;
    let out = empty(&device, x.dtype(), x.shape())?;
    let parts = match sums {
        true => Some(over.parts(x)?),
        false => None,
    };
    let tensors = [
        pointer(gradient)?,
        pointer(x)?,
        optional_parameter(bias, &device)?,
        pointer(&out)?,
        optional(parts.as_ref())?,
    ];
    launch(
        &device,
        MODULE,
        &over.kernel("gelu_backward", x.dtype())?,
        over.grid,
        &[&tensors[..], &over.sizes(), &[kind(Some(activation))]].concat(),
    )?;
    let sums = parts.map(|parts| finish(&parts)).transpose()?;
    Ok((out, sums))
}
