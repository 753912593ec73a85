//! What the layers of a model compute in and on: the one place where that is decided.

use candle_core::{DType, Result};
use mr2_data::Batch;
use mr2_nn::graph::{Act, Ctx, Mode};
use mr2_nn::model::Backbone;

/// The context of a model's passes, on the device of its parameters, with activations of that type.
pub(crate) fn context(model: &dyn Backbone, activations: DType, mode: Mode) -> Result<Ctx> {
    Ctx::new(model.head_weight().device(), activations, mode)
}

/// Takes a batch's images into the graph, on the context's device and in its precision. They are uploaded
/// here where the loader left them on the CPU.
pub(crate) fn enter(context: &Ctx, batch: &Batch) -> Result<Act> {
    match context.device().is_cpu() {
        true => context.enter(&batch.images.to_dtype(context.dtype())?),
        false => context.enter(&batch.images),
    }
}
