//! The token graph: activations outside Candle, their order inside it. (On a CUDA device there are no tokens: see
//! `device`.)
//!
//! A layer call is a custom operation on one-element Candle tensors, *tokens*; the activation
//! itself lies in a pooled NHWC buffer, its *slot*. Candle's `backward` walks the tokens in the
//! right order and each operation then runs its own gradient on the slots. So branches, fan-out and
//! ordinary Candle operations at both ends work as in any Candle graph, while activations are
//! neither allocated anew each step nor copied to be summed.
//!
//! - [`Ctx`] holds what a step needs: the mode, the pool, the parameters' gradients, and the one
//!   backward, [`Ctx::backward`].
//! - [`Act`] is the handle of an activation. It lives until its last handle and the graph that
//!   needs it are dropped; then its buffer goes back to the pool.
//! - [`Ctx::enter`], [`Act::to_tensor`] and [`Act::mean_hw`] are the edges to ordinary tensors; sequences have
//!   [`Ctx::enter_tokens`], [`Act::to_tokens`], [`Act::token`] and [`Act::mean_tokens`].
//!
//! Parameters are no inputs of the operations: their gradients are summed in the context under the
//! parameter's `TensorId` and added to the `GradStore` at the end. A weight used by two layers, or by
//! a layer and by ordinary Candle operations, gets the sum.

mod act;
mod context;
#[cfg(feature = "cuda")]
mod device;
mod edges;
mod elementwise;
mod gradient;
mod record;
mod slot;
mod values;

pub use act::Act;
pub use context::{Ctx, Mode};

pub(crate) use context::Core;
#[cfg(feature = "cuda")]
pub(crate) use device::{DeviceNode, DeviceSlot};
pub(crate) use gradient::Gradient;
pub(crate) use record::Node;
pub(crate) use slot::{Content, Handle, InHandle, Normalised, Shape4, Slot, with_slot};
pub(crate) use values::{values_of, with_values};
