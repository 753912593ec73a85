//! Maximum and mean over windows on the device.

use super::{Arg, Grid, Module, device_of, empty, kernel_for, launch, module, optional, pointer};
use crate::kernels::pooling::{Divisor, Windows};
use candle_core::{DType, Result, Tensor, bail};

const MODULE: Module = module!("pooling");

/// The maximum of each window of `x`, (batch, height, width, channels), and which tap has it if that is `wanted`.
pub(crate) fn maximum(
    windows: &Windows,
    x: &Tensor,
    wanted: bool,
) -> Result<(Tensor, Option<Tensor>)> {
    if windows.kernel > 16 {
        bail!(
            "max_pool: on CUDA kernels reach over 16 pixels at most, got {}",
            windows.kernel
        );
    }
    let device = device_of(x)?;
    let out = empty(&device, x.dtype(), out_shape(windows, x)?)?;
    let taps = match wanted {
        true => Some(empty(&device, DType::U8, out.shape())?),
        false => None,
    };
    let args = [pointer(x)?, pointer(&out)?, optional(taps.as_ref())?];
    call("max_pool", windows, &out, &args, None)?;
    Ok((out, taps))
}

/// The mean of each window of `x`, (batch, height, width, channels).
pub(crate) fn mean(windows: &Windows, divisor: Divisor, x: &Tensor) -> Result<Tensor> {
    let out = empty(&device_of(x)?, x.dtype(), out_shape(windows, x)?)?;
    let args = [pointer(x)?, pointer(&out)?];
    call("mean_pool", windows, &out, &args, Some(divisor))?;
    Ok(out)
}

/// The gradient of the input of [`maximum`].
pub(crate) fn maximum_gradient(
    windows: &Windows,
    gradient: &Tensor,
    taps: &Tensor,
) -> Result<Tensor> {
    let to_x = to_input(windows, gradient)?;
    let args = [pointer(gradient)?, pointer(taps)?, pointer(&to_x)?];
    call(
        "pool_gradient",
        windows,
        &to_x,
        &args,
        Some(Divisor::Padded),
    )?;
    Ok(to_x)
}

/// The gradient of the input of [`mean`].
pub(crate) fn mean_gradient(
    windows: &Windows,
    divisor: Divisor,
    gradient: &Tensor,
) -> Result<Tensor> {
    let to_x = to_input(windows, gradient)?;
    let args = [pointer(gradient)?, Arg::Pointer(0), pointer(&to_x)?];
    call("pool_gradient", windows, &to_x, &args, Some(divisor))?;
    Ok(to_x)
}

fn out_shape(windows: &Windows, x: &Tensor) -> Result<(usize, usize, usize, usize)> {
    Ok((
        x.dim(0)?,
        windows.out_height,
        windows.out_width,
        windows.channels,
    ))
}

fn to_input(windows: &Windows, gradient: &Tensor) -> Result<Tensor> {
    let shape = (
        gradient.dim(0)?,
        windows.in_height,
        windows.in_width,
        windows.channels,
    );
    empty(&device_of(gradient)?, gradient.dtype(), shape)
}

/// A thread for each element of `written`.
fn call(
    kernel: &str,
    windows: &Windows,
    written: &Tensor,
    tensors: &[Arg],
    divisor: Option<Divisor>,
) -> Result<()> {
    let elements = written.elem_count();
    let numbers = [
        windows.channels,
        windows.in_height,
        windows.in_width,
        windows.out_height,
        windows.out_width,
        windows.kernel,
        windows.stride,
        windows.padding,
    ];
    let mut args = tensors.to_vec();
    args.push(Arg::I64(elements as i64));
    args.extend(numbers.map(|n| Arg::I32(n as i32)));
    if let Some(divisor) = divisor {
        args.push(Arg::I32(matches!(divisor, Divisor::Padded).into()));
    }
    launch(
        &device_of(written)?,
        MODULE,
        &kernel_for(kernel, written.dtype())?,
        Grid::over(elements),
        &args,
    )
}
