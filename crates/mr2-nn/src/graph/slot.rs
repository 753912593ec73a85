//! Where an activation and its gradient are kept.

use super::context::Core;
use crate::kernels::elementwise::add_assign;
use crate::kernels::pool::{PoolBuf, lock};
use crate::kernels::real::Real;
use candle_core::Result;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Sizes of an activation; the elements lie in the order batch, height, width, channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape4 {
    pub(crate) batch: usize,
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

impl Shape4 {
    pub(crate) fn pixels(&self) -> usize {
        self.height * self.width
    }

    pub(crate) fn elements(&self) -> usize {
        self.batch * self.channels * self.pixels()
    }

    /// As Candle and PyTorch count: (batch, channels, height, width).
    pub(crate) fn dims(&self) -> (usize, usize, usize, usize) {
        (self.batch, self.channels, self.height, self.width)
    }
}

/// One activation. Its data is written once, before the slot exists.
pub(crate) struct Slot<T: Real> {
    pub(crate) shape: Shape4,
    data: PoolBuf<T>,
    /// Whether a gradient is wanted: the slot depends on a variable.
    pub(crate) tracked: bool,
    /// The gradient of each backward, by its number. One is out of the map while it is added to:
    /// no lock is held during a parallel loop.
    gradients: Mutex<HashMap<u64, PoolBuf<T>>>,
}

impl<T: Real> Slot<T> {
    pub(crate) fn new(shape: Shape4, data: PoolBuf<T>, tracked: bool) -> Arc<Self> {
        Arc::new(Self {
            shape,
            data,
            tracked,
            gradients: Mutex::default(),
        })
    }

    /// The elements, NHWC.
    pub(crate) fn data(&self) -> &[T] {
        &self.data
    }

    /// Hands over a contribution: the first is kept as it is, later ones are added.
    pub(crate) fn give_gradient(&self, core: &Core, part: PoolBuf<T>) -> Result<()> {
        let sum = match self.take_gradient(core)? {
            Some(mut sum) => {
                add_assign(&mut sum, &part);
                sum
            }
            None => part,
        };
        lock(&self.gradients).insert(core.turn()?, sum);
        Ok(())
    }

    /// Lets `add` add a contribution in place; the first finds zeros.
    pub(crate) fn add_gradient(&self, core: &Core, add: impl FnOnce(&mut [T])) -> Result<()> {
        let present = self.take_gradient(core)?;
        let mut sum = present.unwrap_or_else(|| core.pool.zeros(self.shape.elements()));
        add(&mut sum);
        lock(&self.gradients).insert(core.turn()?, sum);
        Ok(())
    }

    /// Lets `write` fill in a contribution: it is told whether to add to what is there or to overwrite it.
    pub(crate) fn write_gradient(
        &self,
        core: &Core,
        write: impl FnOnce(&mut [T], bool),
    ) -> Result<()> {
        let present = self.take_gradient(core)?;
        let accumulate = present.is_some();
        let mut sum = present.unwrap_or_else(|| core.pool.take(self.shape.elements()));
        write(&mut sum, accumulate);
        lock(&self.gradients).insert(core.turn()?, sum);
        Ok(())
    }

    /// Removes the gradient that was collected in this thread's backward; fails outside of one.
    pub(crate) fn take_gradient(&self, core: &Core) -> Result<Option<PoolBuf<T>>> {
        let turn = core.turn()?;
        Ok(lock(&self.gradients).remove(&turn))
    }
}

/// A slot of either element type.
#[derive(Clone)]
pub(crate) enum Handle {
    F32(Arc<Slot<f32>>),
    F64(Arc<Slot<f64>>),
}

impl Handle {
    pub(crate) fn shape(&self) -> Shape4 {
        match self {
            Self::F32(slot) => slot.shape,
            Self::F64(slot) => slot.shape,
        }
    }
}

/// Ties an element type to its case of [`Handle`].
pub(crate) trait InHandle: Real {
    fn handle(slot: Arc<Slot<Self>>) -> Handle;
    /// The slot, if it has this element type.
    fn slot(handle: &Handle) -> Option<&Arc<Slot<Self>>>;
}

impl InHandle for f32 {
    fn handle(slot: Arc<Slot<f32>>) -> Handle {
        Handle::F32(slot)
    }
    fn slot(handle: &Handle) -> Option<&Arc<Slot<f32>>> {
        match handle {
            Handle::F32(slot) => Some(slot),
            Handle::F64(_) => None,
        }
    }
}

impl InHandle for f64 {
    fn handle(slot: Arc<Slot<f64>>) -> Handle {
        Handle::F64(slot)
    }
    fn slot(handle: &Handle) -> Option<&Arc<Slot<f64>>> {
        match handle {
            Handle::F32(_) => None,
            Handle::F64(slot) => Some(slot),
        }
    }
}

/// Runs generic code on the slot of an activation, whatever its element type.
macro_rules! with_slot {
    ($act:expr, $slot:ident => $body:expr) => {
        match &$act.handle {
            $crate::graph::Handle::F32($slot) => $body,
            $crate::graph::Handle::F64($slot) => $body,
        }
    };
}
pub(crate) use with_slot;
