//! Activations as layers of their own; [`Linear`](super::Linear) applies them in its own pass.

#[cfg(feature = "cuda")]
mod cuda;

use super::Layer;
use crate::graph::{Act, Core, Ctx, InHandle, Node, Slot, with_slot};
use crate::kernels::pool::PoolBuf;
use candle_core::Result;
use std::sync::Arc;

pub use crate::kernels::activation::Activation;

impl Layer for Activation {
    fn forward(&self, cx: &Ctx, x: &Act) -> Result<Act> {
        x.check_context(cx)?;
        with_slot!(
            x,
            slot => forward_slot(*self, x, slot),
            cuda slot => cuda::forward(*self, x, slot)
        )
    }
}

fn forward_slot<T: InHandle>(activation: Activation, x: &Act, slot: &Arc<Slot<T>>) -> Result<Act> {
    let mut out = x.core.pool.take(slot.shape.elements());
    activation.forward(slot.data(), &mut out);
    x.core
        .record(slot.shape, out, &[x], &[], || ActivationNode {
            x: slot.clone(),
            activation,
        })
}

struct ActivationNode<T: InHandle> {
    x: Arc<Slot<T>>,
    activation: Activation,
}

impl<T: InHandle> Node<T> for ActivationNode<T> {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn backward(&self, core: &Core, _: &Slot<T>, mut gradient: PoolBuf<T>) -> Result<()> {
        self.activation.backward(self.x.data(), &mut gradient);
        self.x.give_gradient(core, gradient)
    }
}
