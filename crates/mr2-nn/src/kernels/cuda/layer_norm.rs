//! Layer normalisation on the device.

use super::columns::{Columns, finish_pair};
use super::rows::{aligned, blocks_of_warps, warp_per_row, width};
use super::{
    Arg, Grid, Module, device_of, empty, kernel_for, launch, module, optional, parameter, pointer,
};
use candle_core::{D, DType, Result, Tensor};

const MODULE: Module = module!("layer_norm");
const ANY: Module = module!("layer_norm_any");

/// Blocks of the backward pass, each of which keeps sums of its rows: four for each multiprocessor of a large GPU.
const BLOCKS: usize = 528;

/// A block for each row, as layer_norm_any.cu wants it.
fn block_per_row(rows: usize) -> Grid {
    Grid {
        blocks: (rows, 1),
        threads: (256, 1),
    }
}

/// The kernel that keeps rows in registers, if there is one for these.
fn kernel(base: &str, x: &Tensor, parameters: &[Arg]) -> Result<Option<String>> {
    let width = width(x.dim(D::Minus1)?, x.dtype());
    match width.filter(|_| parameters.iter().all(|&arg| aligned(arg))) {
        Some(width) => kernel_for(&format!("layer_norm_{base}_{width}"), x.dtype()).map(Some),
        None => Ok(None),
    }
}

/// `(x - mean) * rate * weight + bias` for each row, and (rows, 2): mean and rate of each, the rate being one over the
/// standard deviation.
pub(crate) fn forward(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
) -> Result<(Tensor, Tensor)> {
    let device = device_of(x)?;
    let columns = x.dim(D::Minus1)?;
    let rows = x.elem_count() / columns;
    let out = empty(&device, x.dtype(), x.shape())?;
    let statistics = empty(&device, DType::F32, (rows, 2))?;
    let parameters = [parameter(weight, &device)?, parameter(bias, &device)?];
    let mut args = vec![
        pointer(x)?,
        parameters[0],
        parameters[1],
        pointer(&out)?,
        pointer(&statistics)?,
    ];
    let (columns, eps) = (Arg::I32(columns as i32), Arg::F32(eps as f32));
    match kernel("forward", x, &parameters)? {
        Some(kernel) => {
            args.extend([Arg::I64(rows as i64), columns, eps]);
            launch(&device, MODULE, &kernel, warp_per_row(rows), &args)?;
        }
        None => {
            let kernel = kernel_for("layer_norm_any_forward", x.dtype())?;
            args.extend([columns, eps]);
            launch(&device, ANY, &kernel, block_per_row(rows), &args)?;
        }
    }
    Ok((out, statistics))
}

/// What the backward pass reads.
#[derive(Clone, Copy)]
pub(crate) struct Saved<'a> {
    pub(crate) x: &'a Tensor,
    pub(crate) weight: &'a Tensor,
    pub(crate) statistics: &'a Tensor,
}

/// The gradients of weight and bias, and the input's where it is asked for, added to `present` if that is there.
pub(crate) fn backward(
    saved: Saved<'_>,
    gradient: &Tensor,
    wanted: bool,
    present: Option<&Tensor>,
) -> Result<([Tensor; 2], Option<Tensor>)> {
    let x = saved.x;
    let to_input = match wanted {
        true => Some(empty(&device_of(x)?, x.dtype(), x.shape())?),
        false => None,
    };
    let weight = [parameter(saved.weight, &device_of(x)?)?];
    let parts = match kernel("backward", x, &weight)? {
        Some(kernel) => in_registers(saved, gradient, to_input.as_ref(), present, &kernel)?,
        None => {
            if let Some(to_input) = &to_input {
                any_input(saved, gradient, to_input, present)?;
            }
            any_sums(saved, gradient)?
        }
    };
    Ok((finish_pair(&parts)?, to_input))
}

/// Writes the input's gradient; returns sums over parts of the rows, (parts, 2 x columns).
fn in_registers(
    saved: Saved<'_>,
    gradient: &Tensor,
    to_input: Option<&Tensor>,
    present: Option<&Tensor>,
    kernel: &str,
) -> Result<Tensor> {
    let device = device_of(saved.x)?;
    let columns = saved.weight.elem_count();
    let rows = saved.x.elem_count() / columns;
    let grid = blocks_of_warps(BLOCKS, rows);
    let parts = empty(&device, DType::F32, (grid.blocks.0, 2 * columns))?;
    let args = [
        pointer(saved.x)?,
        pointer(gradient)?,
        optional(present)?,
        parameter(saved.weight, &device)?,
        pointer(saved.statistics)?,
        optional(to_input)?,
        pointer(&parts)?,
        Arg::I64(rows as i64),
        Arg::I32(columns as i32),
    ];
    launch(&device, MODULE, kernel, grid, &args)?;
    Ok(parts)
}

fn any_input(
    saved: Saved<'_>,
    gradient: &Tensor,
    to_input: &Tensor,
    present: Option<&Tensor>,
) -> Result<()> {
    let device = device_of(saved.x)?;
    let columns = saved.weight.elem_count();
    launch(
        &device,
        ANY,
        &kernel_for("layer_norm_any_backward", saved.x.dtype())?,
        block_per_row(saved.x.elem_count() / columns),
        &[
            pointer(saved.x)?,
            pointer(gradient)?,
            optional(present)?,
            parameter(saved.weight, &device)?,
            pointer(saved.statistics)?,
            pointer(to_input)?,
            Arg::I32(columns as i32),
        ],
    )
}

fn any_sums(saved: Saved<'_>, gradient: &Tensor) -> Result<Tensor> {
    let device = device_of(saved.x)?;
    let columns = saved.weight.elem_count();
    // A thread has one column there, whatever the element type.
    let over = Columns::of_elements(saved.x.elem_count(), columns);
    let parts = empty(&device, DType::F32, (over.grid.blocks.1, 2 * columns))?;
    let tensors = [
        pointer(saved.x)?,
        pointer(gradient)?,
        pointer(saved.statistics)?,
        pointer(&parts)?,
    ];
    launch(
        &device,
        ANY,
        &kernel_for("layer_norm_any_sums", saved.x.dtype())?,
        over.grid,
        &[&tensors[..], &over.sizes()].concat(),
    )?;
    Ok(parts)
}
