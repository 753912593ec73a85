//! Layers on activations, one per file, with PyTorch's semantics and parameter names.
//!
//! A layer is built from a candle-nn `VarBuilder` and called with a [`Ctx`] and an [`Act`]. Built
//! from [`ParamStore::var_builder`](crate::params::ParamStore::var_builder), its initial values are
//! seeded; built from a candle-nn `VarMap` it works as well, but Candle's CPU generator has no seed,
//! so the initial values differ in every run.

mod activation;
mod as_module;
mod attention;
mod avg_pool;
mod batch_norm;
mod conv2d;
mod conv_bn;
mod cosine_linear;
mod dropout;
mod layer_norm;
mod layer_scale;
mod linear;
mod max_pool;
mod running_statistics;
mod token_embedding;

pub use activation::Activation;
pub use as_module::AsModule;
pub use attention::Attention;
pub use avg_pool::AvgPool2d;
pub use batch_norm::{BatchNorm2d, BatchNormConfig};
pub use conv_bn::ConvBn;
pub use conv2d::{Conv2d, Conv2dConfig};
pub use cosine_linear::CosineLinear;
pub use dropout::Dropout;
pub use layer_norm::LayerNorm;
pub use layer_scale::LayerScale;
pub use linear::{Linear, linear};
pub use max_pool::MaxPool2d;
pub use token_embedding::{TokenEmbedding, TokenEmbeddingInit};

use crate::graph::{Act, Ctx};
use candle_core::{Result, Shape, Tensor, bail};
use candle_nn::{Init, VarBuilder};

/// A function of one activation, with or without parameters.
pub trait Layer {
    /// Applies the layer.
    ///
    /// # Errors
    /// Shapes that do not fit, or an activation of another context.
    fn forward(&self, cx: &Ctx, x: &Act) -> Result<Act>;
}

/// A parameter of `layer` whose gradient the context collects: a variable, or frozen.
fn parameter(
    layer: &str,
    shape: impl Into<Shape>,
    name: &str,
    init: Init,
    vb: &VarBuilder,
) -> Result<Tensor> {
    let tensor = vb.get_with_hints(shape.into(), name, init)?;
    // Parameters are no inputs of the graph, so nothing would flow on to what it is computed from.
    if tensor.track_op() && !tensor.is_variable() {
        bail!(
            "{layer} {name}: computed from variables, which would get no gradient; pass a \
             variable, or .detach() to freeze"
        );
    }
    Ok(tensor)
}

/// Output size of a window that slides over `size` pixels; `layer` names the caller in errors.
fn window_outputs(
    layer: &str,
    size: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    dilation: usize,
) -> Result<usize> {
    if kernel == 0 || stride == 0 || dilation == 0 {
        bail!(
            "{layer}: kernel, stride and dilation must be at least 1, got {kernel}, {stride}, \
             {dilation}"
        );
    }
    let reach = dilation * (kernel - 1) + 1;
    match (size + 2 * padding).checked_sub(reach) {
        Some(room) => Ok(room / stride + 1),
        None => bail!(
            "{layer}: the kernel reaches over {reach} pixels, but the padded input has {}",
            size + 2 * padding
        ),
    }
}
