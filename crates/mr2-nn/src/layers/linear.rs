//! Fully connected layers on ordinary tensors.

use crate::init::pytorch_default;
use candle_core::{Result, bail};
use candle_nn::{Linear, VarBuilder};

/// A candle-nn `Linear` with PyTorch's default initialisation: `weight` (out_dim, in_dim) and `bias`
/// (out_dim), both U(-b, b) with b = 1 / sqrt(in_dim).
///
/// # Errors
/// A dimension of 0, or those of the `VarBuilder`.
pub fn linear(in_dim: usize, out_dim: usize, vb: VarBuilder) -> Result<Linear> {
    if in_dim == 0 || out_dim == 0 {
        bail!("linear: dimensions must be at least 1, got in_dim {in_dim}, out_dim {out_dim}");
    }
    let init = pytorch_default(in_dim);
    let weight = vb.get_with_hints((out_dim, in_dim), "weight", init)?;
    let bias = vb.get_with_hints(out_dim, "bias", init)?;
    Ok(Linear::new(weight, Some(bias)))
}
