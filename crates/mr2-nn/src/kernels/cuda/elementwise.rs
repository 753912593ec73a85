//! Sum, rectifier, option-A shortcut and means over tokens on the device.

use super::{Arg, Grid, Module, device_of, empty, kernel_for, launch, module, parameter, pointer};
use crate::kernels::elementwise::Subsample;
use candle_core::{D, DType, Result, Tensor};

const MODULE: Module = module!("elementwise");

/// A thread for each 16 bytes.
fn wide(tensor: &Tensor) -> Grid {
    let bytes = tensor.elem_count() * tensor.dtype().size_in_bytes();
    Grid::over(bytes.div_ceil(16))
}

/// `a + b`.
pub(crate) fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let device = device_of(a)?;
    let out = empty(&device, a.dtype(), a.shape())?;
    launch(
        &device,
        MODULE,
        &kernel_for("add", a.dtype())?,
        wide(a),
        &[
            pointer(a)?,
            pointer(b)?,
            pointer(&out)?,
            Arg::I64(a.elem_count() as i64),
        ],
    )?;
    Ok(out)
}

/// `max(x, 0)`.
pub(crate) fn relu(x: &Tensor) -> Result<Tensor> {
    rectify(x, Arg::Pointer(0))
}

/// The gradient of the rectifier's input, from the rectifier's output.
pub(crate) fn relu_gradient(out: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    rectify(out, pointer(gradient)?)
}

fn rectify(x: &Tensor, gradient: Arg) -> Result<Tensor> {
    let device = device_of(x)?;
    let out = empty(&device, x.dtype(), x.shape())?;
    launch(
        &device,
        MODULE,
        &kernel_for("relu", x.dtype())?,
        wide(x),
        &[
            pointer(x)?,
            gradient,
            pointer(&out)?,
            Arg::I64(x.elem_count() as i64),
        ],
    )?;
    Ok(out)
}

/// Every stride-th pixel, and channels of zeros; `x` is (batch, height, width, channels).
pub(crate) fn subsample(x: &Tensor, sizes: &Subsample) -> Result<Tensor> {
    let shape = (
        x.dim(0)?,
        sizes.out_height,
        sizes.out_width,
        sizes.out_channels,
    );
    let out = empty(&device_of(x)?, x.dtype(), shape)?;
    resample(x, &out, "subsample", sizes)?;
    Ok(out)
}

/// The gradient of the input of [`subsample`].
pub(crate) fn subsample_gradient(gradient: &Tensor, sizes: &Subsample) -> Result<Tensor> {
    let shape = (
        gradient.dim(0)?,
        sizes.in_height,
        sizes.in_width,
        sizes.in_channels,
    );
    let to_x = empty(&device_of(gradient)?, gradient.dtype(), shape)?;
    resample(gradient, &to_x, "subsample_gradient", sizes)?;
    Ok(to_x)
}

fn resample(from: &Tensor, to: &Tensor, kernel: &str, sizes: &Subsample) -> Result<()> {
    let elements = to.elem_count();
    let numbers = [
        sizes.in_channels,
        sizes.in_height,
        sizes.in_width,
        sizes.out_channels,
        sizes.out_height,
        sizes.out_width,
        sizes.stride,
        sizes.front,
    ];
    let mut args = vec![pointer(from)?, pointer(to)?, Arg::I64(elements as i64)];
    args.extend(numbers.map(|n| Arg::I32(n as i32)));
    launch(
        &device_of(from)?,
        MODULE,
        &kernel_for(kernel, from.dtype())?,
        Grid::over(elements),
        &args,
    )
}

/// The mean of `count` tokens from `first` on: of (batch, .., channels), (batch, channels) in f32.
pub(crate) fn mean_tokens(x: &Tensor, [first, count]: [usize; 2]) -> Result<Tensor> {
    let device = device_of(x)?;
    let (batch, channels) = (x.dim(0)?, x.dim(D::Minus1)?);
    let out = empty(&device, DType::F32, (batch, channels))?;
    let grid = Grid {
        blocks: (batch, channels.div_ceil(64)),
        threads: (64, 1),
    };
    launch(
        &device,
        MODULE,
        &kernel_for("mean_tokens", x.dtype())?,
        grid,
        &[
            pointer(x)?,
            pointer(&out)?,
            Arg::I32((x.elem_count() / batch / channels) as i32),
            Arg::I32(channels as i32),
            Arg::I32(first as i32),
            Arg::I32(count as i32),
        ],
    )?;
    Ok(out)
}

/// The gradient of the input of [`mean_tokens`], with the shape and element type of `x`.
pub(crate) fn spread_tokens(
    gradient: &Tensor,
    x: &Tensor,
    [first, count]: [usize; 2],
) -> Result<Tensor> {
    let device = device_of(x)?;
    let (batch, channels) = (x.dim(0)?, x.dim(D::Minus1)?);
    let elements = x.elem_count();
    let to_x = empty(&device, x.dtype(), x.shape())?;
    launch(
        &device,
        MODULE,
        &kernel_for("spread_tokens", x.dtype())?,
        Grid::over(elements),
        &[
            parameter(gradient, &device)?,
            pointer(&to_x)?,
            Arg::I64(elements as i64),
            Arg::I32((elements / batch / channels) as i32),
            Arg::I32(channels as i32),
            Arg::I32(first as i32),
            Arg::I32(count as i32),
        ],
    )?;
    Ok(to_x)
}
