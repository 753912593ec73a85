//! Layer calls on the device and their backward: from the latest call to the first, without Candle's graph between.

use super::super::act::Act;
use super::super::context::{Core, add_to};
use super::super::edges::Order;
use super::super::slot::{Handle, Shape4};
use super::DeviceSlot;
use super::slot::Origin;
use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, bail};
use std::cmp::Ordering;
use std::sync::Arc;

/// What a layer call leaves behind for the backward pass.
pub(crate) trait DeviceNode: Send + Sync + 'static {
    fn name(&self) -> &'static str;

    /// Given the gradient of the output `out`, adds to those of the inputs and parameters: once for each input.
    fn backward(&self, core: &Core, out: &DeviceSlot, gradient: Tensor) -> Result<()>;
}

/// A slot with a gradient, whose call waits for its turn. The latest call comes first: whoever takes its output has
/// been called later, so the gradient is complete by then.
pub(crate) struct Waiting(Arc<DeviceSlot>);

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.0.number == other.0.number
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.number.cmp(&other.0.number)
    }
}

impl Core {
    /// The activation of a layer call whose output is computed; `node` is made, and kept with everything it
    /// holds, only if a gradient can be asked for.
    pub(crate) fn record_on_device<N: DeviceNode>(
        self: &Arc<Self>,
        shape: Shape4,
        values: Tensor,
        inputs: &[&Act],
        parameters: &[&Tensor],
        node: impl FnOnce() -> N,
    ) -> Result<Act> {
        let origin = match self.tracks(inputs, parameters) {
            true => Origin::Call(Box::new(node())),
            false => Origin::Constant,
        };
        let slot = DeviceSlot::new(self, shape, values, origin);
        Ok(Act {
            token: None,
            handle: Handle::Device(slot),
            core: self.clone(),
        })
    }

    /// Puts a slot that got its first gradient on the list of this thread's backward.
    pub(super) fn await_turn_of(&self, slot: &Arc<DeviceSlot>) -> Result<()> {
        self.in_turn(|running| running.waiting.push(Waiting(slot.clone())))
    }

    /// Carries gradients from the slots that have some back to parameters and to tensors that entered.
    pub(in super::super) fn run_calls_back(&self, store: &mut GradStore) -> Result<()> {
        while let Some(Waiting(slot)) = self.in_turn(|running| running.waiting.pop())? {
            let Some(gradient) = slot.take_gradient(self)? else {
                bail!("the gradient of an activation was taken twice");
            };
            match &slot.origin {
                Origin::Constant => {}
                Origin::Call(node) => node
                    .backward(self, &slot, gradient)
                    .map_err(|error| error.context(node.name()))?,
                Origin::Entered(tensor, order) => {
                    let gradient = leave_layers(gradient, tensor, *order)?;
                    continue_in_candle(tensor, gradient, store)?;
                }
            }
        }
        Ok(())
    }
}

/// A gradient in the order and element type of the tensor that entered.
fn leave_layers(gradient: Tensor, tensor: &Tensor, order: Order) -> Result<Tensor> {
    let gradient = match order {
        Order::ChannelsFirst => gradient.permute((0, 3, 1, 2))?.contiguous()?,
        Order::ChannelsLast => gradient.reshape(tensor.shape())?,
    };
    gradient.to_dtype(tensor.dtype())
}

/// Adds the gradient to that of the variable, or of the variables that the tensor was computed from.
fn continue_in_candle(tensor: &Tensor, gradient: Tensor, store: &mut GradStore) -> Result<()> {
    if tensor.is_variable() {
        return add_to(store, tensor.id(), gradient);
    }
    let more = (tensor * gradient)?.sum_all()?.backward()?;
    for id in more.get_ids() {
        if let Some(part) = more.get_id(*id) {
            add_to(store, *id, part.clone())?;
        }
    }
    Ok(())
}
