//! Where an activation on the device, what made it and its gradient are kept.

use super::super::context::Core;
use super::super::edges::Order;
use super::super::slot::Shape4;
use super::DeviceNode;
use crate::kernels::cuda::elementwise::add;
use crate::kernels::pool::lock;
use candle_core::{Result, Tensor};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// One activation.
pub(crate) struct DeviceSlot {
    pub(crate) shape: Shape4,
    /// (batch, height, width, channels), contiguous, of the context's element type, no part of Candle's graph.
    pub(crate) values: Tensor,
    /// Whether a gradient is wanted: the slot depends on a variable.
    pub(crate) tracked: bool,
    /// Whatever was made later has a larger number.
    pub(super) number: u64,
    pub(super) origin: Origin,
    /// The gradient of each backward, by its number: a tensor like `values`, which nobody changes; none while it is
    /// lent to a kernel.
    gradients: Mutex<HashMap<u64, Option<Tensor>>>,
}

/// What has to be told the gradient.
pub(super) enum Origin {
    Constant,
    Call(Box<dyn DeviceNode>),
    /// A tensor of Candle's graph, and how its elements lie.
    Entered(Tensor, Order),
}

impl DeviceSlot {
    pub(super) fn new(core: &Core, shape: Shape4, values: Tensor, origin: Origin) -> Arc<Self> {
        Arc::new(Self {
            shape,
            values,
            tracked: !matches!(origin, Origin::Constant),
            number: core.next_number(),
            origin,
            gradients: Mutex::default(),
        })
    }

    /// Hands over a contribution: the first is kept as it is and puts the slot on the list of this backward, later
    /// ones are added.
    pub(crate) fn give_gradient(self: &Arc<Self>, core: &Core, part: Tensor) -> Result<()> {
        let turn = core.turn()?;
        let listed = lock(&self.gradients).remove(&turn);
        if listed.is_none() {
            core.await_turn_of(self)?;
        }
        let sum = match listed.flatten() {
            Some(present) => add(&present, &part)?,
            None => part,
        };
        lock(&self.gradients).insert(turn, Some(sum));
        Ok(())
    }

    /// Takes what was contributed so far, for a kernel that adds its part in the same pass; the sum is then given.
    pub(crate) fn lend_gradient(&self, core: &Core) -> Result<Option<Tensor>> {
        let turn = core.turn()?;
        let mut gradients = lock(&self.gradients);
        Ok(gradients.get_mut(&turn).and_then(Option::take))
    }

    /// Removes the gradient that was collected in this thread's backward; fails outside of one.
    pub(super) fn take_gradient(&self, core: &Core) -> Result<Option<Tensor>> {
        let turn = core.turn()?;
        Ok(lock(&self.gradients).remove(&turn).flatten())
    }
}
