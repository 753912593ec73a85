//! What makes sequences of tokens out of patches, on the device.

use super::{
    Arg, Grid, Module, device_of, empty, kernel_for, launch, module, optional_parameter, parameter,
    pointer,
};
use candle_core::{Result, Tensor};

const MODULE: Module = module!("tokens");

/// `[class, patches] + positions`, (batch, 1, tokens, features); without a class token, `patches + positions`.
pub(crate) fn embed(
    patches: &Tensor,
    class: Option<&Tensor>,
    positions: &Tensor,
) -> Result<Tensor> {
    let device = device_of(patches)?;
    let (_, tokens, features) = positions.dims3()?;
    let shape = (patches.dim(0)?, 1, tokens, features);
    let out = empty(&device, patches.dtype(), shape)?;
    let elements = out.elem_count();
    launch(
        &device,
        MODULE,
        &kernel_for("embed", patches.dtype())?,
        Grid::over(elements),
        &[
            pointer(patches)?,
            optional_parameter(class, &device)?,
            parameter(positions, &device)?,
            pointer(&out)?,
            Arg::I64(elements as i64),
            Arg::I32(tokens as i32),
            Arg::I32(features as i32),
        ],
    )?;
    Ok(out)
}

/// Of gradients (batch, 1, tokens, features), those of all tokens but the first: (batch, patches, features).
pub(crate) fn without_first(gradient: &Tensor) -> Result<Tensor> {
    let (batch, _, tokens, features) = gradient.dims4()?;
    let sequences = gradient.reshape((batch, tokens, features))?;
    sequences.narrow(1, 1, tokens - 1)?.force_contiguous()
}
