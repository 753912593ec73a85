//! Dropout masks on the device, computed from a key and an element's index whenever they are needed.

use super::{Arg, Grid, Module, device_of, empty, kernel_for, launch, module, pointer};
use crate::kernels::dropout::Mask;
use candle_core::{Result, Tensor};

const MODULE: Module = module!("dropout");

/// `x / (1 - p)` where the element is kept, else 0. The gradient is the same function.
pub(crate) fn apply(mask: Mask, x: &Tensor) -> Result<Tensor> {
    let device = device_of(x)?;
    let out = empty(&device, x.dtype(), x.shape())?;
    let elements = x.elem_count();
    // A uniform number is 53 bits times 2^-53: the comparison with p is one of whole numbers.
    let threshold = (mask.p * (1u64 << 53) as f64).ceil() as u64;
    launch(
        &device,
        MODULE,
        &kernel_for("dropout", x.dtype())?,
        Grid::over(elements.div_ceil(16 / x.dtype().size_in_bytes())),
        &[
            pointer(x)?,
            pointer(&out)?,
            Arg::I64(elements as i64),
            Arg::I64(mask.key.cast_signed()),
            Arg::I64(threshold.cast_signed()),
            Arg::F32((1.0 / (1.0 - mask.p)) as f32),
        ],
    )?;
    Ok(out)
}
