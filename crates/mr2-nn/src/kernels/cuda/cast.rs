//! Weights of convolutions in the kernels' order and element type.

use super::{Arg, Grid, Module, device_of, empty, kernel_for, launch, module, parameter, pointer};
use candle_core::{DType, Result, Tensor};

const MODULE: Module = module!("cast");

/// Of a weight (out, in, height, width) in f32, (out, height, width, in) in the type of the activations `x`.
pub(crate) fn weight_in(weight: &Tensor, x: &Tensor) -> Result<Tensor> {
    let (out, channels, height, width) = weight.dims4()?;
    let (device, dtype) = (device_of(x)?, x.dtype());
    parameter(weight, &device)?;
    let packed = empty(&device, dtype, (out, height, width, channels))?;
    let taps = height * width;
    swap(weight, &packed, "weight_in", dtype, (channels, taps))?;
    Ok(packed)
}

/// Of (out, height, width, in), (out, in, height, width) in f32.
pub(crate) fn weight_out(packed: &Tensor) -> Result<Tensor> {
    let (out, height, width, channels) = packed.dims4()?;
    let device = device_of(packed)?;
    let weight = empty(&device, DType::F32, (out, channels, height, width))?;
    let taps = height * width;
    swap(
        packed,
        &weight,
        "weight_out",
        packed.dtype(),
        (taps, channels),
    )?;
    Ok(weight)
}

fn swap(
    from: &Tensor,
    to: &Tensor,
    kernel: &str,
    dtype: DType,
    (first, second): (usize, usize),
) -> Result<()> {
    let elements = from.elem_count();
    launch(
        &device_of(from)?,
        MODULE,
        &kernel_for(kernel, dtype)?,
        Grid::over(elements),
        &[
            pointer(from)?,
            pointer(to)?,
            Arg::I64(elements as i64),
            Arg::I32(first as i32),
            Arg::I32(second as i32),
        ],
    )
}
