//! Scores to probabilities on the device, and back.

use super::rows::{warp_per_row, width};
use super::{Arg, Module, device_of, kernel_for, launch, module, pointer};
use candle_core::{D, Result, Tensor};

const MODULE: Module = module!("softmax");
const ANY: Module = module!("softmax_any");

/// What each row has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// Elements that count; the others of a row become 0.
    pub(crate) columns: usize,
    /// Whether row r of each `columns` rows sees its first r + 1 elements only.
    pub(crate) causal: bool,
}

/// Scores, (.., elements of a row), to probabilities, where they are: nobody else has seen `scores` yet.
pub(crate) fn softmax(scores: &Tensor, row: Row) -> Result<()> {
    call("forward", &[pointer(scores)?], scores, row)
}

/// The gradient of the probabilities to that of the scores, where it is: nobody else has seen `gradient` yet.
pub(crate) fn softmax_gradient(probabilities: &Tensor, gradient: &Tensor, row: Row) -> Result<()> {
    let tensors = [pointer(probabilities)?, pointer(gradient)?];
    call("backward", &tensors, gradient, row)
}

fn call(pass: &str, tensors: &[Arg], like: &Tensor, row: Row) -> Result<()> {
    let step = like.dim(D::Minus1)?;
    let rows = like.elem_count() / step;
    let (module, name) = match width(step, like.dtype()) {
        Some(width) => (MODULE, format!("softmax_{pass}_{width}")),
        None => (ANY, format!("softmax_any_{pass}")),
    };
    let sizes = [
        Arg::I64(rows as i64),
        Arg::I32(row.columns as i32),
        Arg::I32(step as i32),
        Arg::I32(row.causal.into()),
    ];
    launch(
        &device_of(like)?,
        module,
        &kernel_for(&name, like.dtype())?,
        warp_per_row(rows),
        &[tensors, &sizes].concat(),
    )
}
