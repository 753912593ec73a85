//! The same graph on a CUDA device: an activation is a contiguous tensor there, channels last. Parameters stay f32,
//! whatever the activations' element type.
//!
//! There are no tokens: Candle would launch two kernels for the gradient of each. Activations know the call that
//! made them, edges to ordinary tensors hang on the context's anchor, and when Candle's backward has brought gradients
//! to the edges, the context runs the calls back itself, the latest first.

mod edges;
mod elementwise;
mod record;
mod slot;

pub(super) use edges::{enter, leave};
pub(super) use elementwise::{add, relu, subsample_pad};
pub(crate) use record::{DeviceNode, Waiting};
pub(crate) use slot::DeviceSlot;
