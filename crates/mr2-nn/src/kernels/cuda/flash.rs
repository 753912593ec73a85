//! Attention without its matrix of probabilities, for the sizes that its kernels have.

use super::{Arg, Grid, Module, device_of, empty, kernel_for, launch, module, pointer};
use crate::kernels::attention::Heads;
use candle_core::{DType, Result, Tensor};
use std::f32::consts::LOG2_E;

const MODULE: Module = module!("flash");

/// Features of a head.
const FEATURES: usize = 64;

/// Queries or keys of a block.
const TILE: usize = 64;

/// Blocks along a grid's second side.
const MOST_HEADS: usize = 65_535;

/// Threads of a block.
const THREADS: usize = 128;

/// Whether the kernels have these sizes.
pub(crate) fn fits(sizes: &Heads, batch: usize, dtype: DType) -> bool {
    sizes.features == FEATURES
        && batch * sizes.heads <= MOST_HEADS
        && matches!(dtype, DType::BF16 | DType::F16)
}

/// The output, and each row's log2 of the sum of 2^(scaled score), (batch, heads, tokens) in f32; `qkv` is
/// (batch, .., 3 x width).
pub(crate) fn forward(sizes: &Heads, batch: usize, qkv: &Tensor) -> Result<(Tensor, Tensor)> {
    let device = device_of(qkv)?;
    let shape = (batch, sizes.tokens, sizes.heads * FEATURES);
    let out = empty(&device, qkv.dtype(), shape)?;
    let sums = empty(&device, DType::F32, (batch, sizes.heads, sizes.tokens))?;
    launch(
        &device,
        MODULE,
        &kernel_for("flash_forward", qkv.dtype())?,
        grid(sizes, batch),
        &[
            pointer(qkv)?,
            pointer(&out)?,
            pointer(&sums)?,
            Arg::I32(sizes.tokens as i32),
            Arg::I32(sizes.heads as i32),
            Arg::F32(slope() * LOG2_E),
            Arg::I32(sizes.causal.into()),
        ],
    )?;
    Ok((out, sums))
}

/// The gradient of `qkv`, from that of the output.
pub(crate) fn backward(
    sizes: &Heads,
    batch: usize,
    qkv: &Tensor,
    (out, sums): (&Tensor, &Tensor),
    gradient: &Tensor,
) -> Result<Tensor> {
    let device = device_of(qkv)?;
    let to_qkv = empty(&device, qkv.dtype(), qkv.shape())?;
    let products = empty(&device, DType::F32, sums.shape())?;
    let rows = sums.elem_count();
    let (tokens, heads) = (Arg::I32(sizes.tokens as i32), Arg::I32(sizes.heads as i32));
    launch(
        &device,
        MODULE,
        &kernel_for("flash_products", qkv.dtype())?,
        Grid {
            blocks: (rows.div_ceil(THREADS / 32), 1),
            threads: (THREADS, 1),
        },
        &[
            pointer(out)?,
            pointer(gradient)?,
            pointer(&products)?,
            tokens,
            heads,
            Arg::I64(rows as i64),
        ],
    )?;
    for kernel in ["flash_to_queries", "flash_to_keys"] {
        launch(
            &device,
            MODULE,
            &kernel_for(kernel, qkv.dtype())?,
            grid(sizes, batch),
            &[
                pointer(qkv)?,
                pointer(gradient)?,
                pointer(sums)?,
                pointer(&products)?,
                pointer(&to_qkv)?,
                tokens,
                heads,
                Arg::F32(slope() * LOG2_E),
                Arg::F32(slope()),
                Arg::I32(sizes.causal.into()),
            ],
        )?;
    }
    Ok(to_qkv)
}

/// One over the square root of the features.
fn slope() -> f32 {
    (FEATURES as f32).sqrt().recip()
}

fn grid(sizes: &Heads, batch: usize) -> Grid {
    Grid {
        blocks: (sizes.tokens.div_ceil(TILE), batch * sizes.heads),
        threads: (THREADS, 1),
    }
}
