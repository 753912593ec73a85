//! A factor for each column of rows of features, and the sum that follows it, on the device.

use super::columns::{Columns, finish};
use super::{Module, device_of, empty, launch, module, optional, parameter, pointer};
use candle_core::{Result, Tensor};

const MODULE: Module = module!("layer_scale");

/// `skip + factors * x`.
pub(crate) fn forward(x: &Tensor, factors: &Tensor, skip: &Tensor) -> Result<Tensor> {
    let device = device_of(x)?;
    let over = Columns::of(x)?;
    let out = empty(&device, x.dtype(), x.shape())?;
    let tensors = [
        pointer(x)?,
        parameter(factors, &device)?,
        pointer(skip)?,
        pointer(&out)?,
    ];
    launch(
        &device,
        MODULE,
        &over.kernel("layer_scale_forward", x.dtype())?,
        over.grid,
        &[&tensors[..], &over.sizes()].concat(),
    )?;
    Ok(out)
}

/// The gradient of `x`, and that of the factors if it is asked for.
pub(crate) fn backward(
    gradient: &Tensor,
    x: &Tensor,
    factors: &Tensor,
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
        parameter(factors, &device)?,
        pointer(&out)?,
        optional(parts.as_ref())?,
    ];
    launch(
        &device,
        MODULE,
        &over.kernel("layer_scale_backward", x.dtype())?,
        over.grid,
        &[&tensors[..], &over.sizes()].concat(),
    )?;
    let sums = parts.map(|parts| finish(&parts)).transpose()?;
    Ok((out, sums))
}
