//! What the layers of a model compute in and on: the one place where that is decided.

use candle_core::Result;
use mr2_data::Batch;
use mr2_nn::graph::{Act, Ctx, Mode};
use mr2_nn::model::Backbone;

/// The context of a model's passes, on the device of its parameters and in their precision.
pub(crate) fn context(model: &dyn Backbone, mode: Mode) -> Result<Ctx> {
    let weight = model.head_weight();
    Ctx::new(weight.device(), weight.dtype(), mode)
}

/// Takes a batch's images into the graph, on the context's device and in its precision. They are uploaded
/// here where the loader left them on the CPU.
pub(crate) fn enter(context: &Ctx, batch: &Batch) -> Result<Act> {
    let images = batch.images.to_device(context.device())?;
    context.enter(&images.to_dtype(context.dtype())?)
}
