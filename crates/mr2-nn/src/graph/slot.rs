//! Where an activation and its gradient are kept.

use super::context::Core;
#[cfg(feature = "cuda")]
use super::device::DeviceSlot;
use super::gradient::{Collected, Gradient};
use crate::kernels::batch_norm::{Affine, Moments, Rectifier};
use crate::kernels::batch_norm_gradient::{GradientSums, Mask};
use crate::kernels::conv::{Behind, ImageGradient};
use crate::kernels::elementwise::add_assign;
use crate::kernels::pool::{Pool, PoolBuf, lock};
use crate::kernels::real::Real;
use crate::kernels::source::Source;
use candle_core::Result;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

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

/// One activation. What it holds is settled before the slot exists.
pub(crate) struct Slot<T: Real> {
    pub(crate) shape: Shape4,
    content: Content<T>,
    /// Of the elements, where the kernel that made them was asked for it.
    moments: OnceLock<Moments>,
    /// Whether a gradient is wanted: the slot depends on a variable.
    pub(crate) tracked: bool,
    /// Operations of the graph that take the slot. As many contributions make its gradient.
    pub(super) consumers: AtomicUsize,
    /// The gradient of each backward, by its number. One is out of the map while it is added to:
    /// no lock is held during a parallel loop.
    gradients: Mutex<HashMap<u64, Collected<T>>>,
}

/// The elements of a slot, or what they follow from.
pub(crate) enum Content<T: Real> {
    Values(PoolBuf<T>),
    Normalised(Normalised<T>),
}

/// The output of a batch norm, which whoever reads it computes; it is stored only if someone needs all
/// of it at once.
pub(crate) struct Normalised<T: Real> {
    pub(crate) x: Arc<Slot<T>>,
    pub(crate) affine: Arc<Affine<T>>,
    pub(crate) skip: Option<Arc<Slot<T>>>,
    pub(crate) stored: OnceLock<PoolBuf<T>>,
}

impl<T: Real> From<PoolBuf<T>> for Content<T> {
    fn from(values: PoolBuf<T>) -> Self {
        Self::Values(values)
    }
}

impl<T: Real> Slot<T> {
    pub(crate) fn new(shape: Shape4, content: impl Into<Content<T>>, tracked: bool) -> Arc<Self> {
        Arc::new(Self {
            shape,
            content: content.into(),
            moments: OnceLock::new(),
            tracked,
            consumers: AtomicUsize::new(0),
            gradients: Mutex::default(),
        })
    }

    /// The elements, NHWC; stored from now on, if they were not.
    pub(crate) fn data(&self) -> &[T] {
        let normalised = match &self.content {
            Content::Values(values) => return values,
            Content::Normalised(normalised) => normalised,
        };
        if let Some(stored) = normalised.stored.get() {
            return stored;
        }
        // Without a lock, for another thread may ask meanwhile and this one may be running its loop.
        let mut values = normalised.x.pool().take(self.shape.elements());
        self.source()
            .write_parallel(self.shape.channels, &mut values);
        normalised.stored.get_or_init(|| values)
    }

    /// The elements, for kernels that compute them where they are not stored.
    pub(crate) fn source(&self) -> Source<'_, T> {
        match &self.content {
            Content::Values(values) => Source::Values(values),
            Content::Normalised(Normalised {
                x,
                affine,
                skip,
                stored,
            }) => match stored.get() {
                Some(stored) => Source::Values(stored),
                None => Source::Normalised {
                    affine,
                    x: x.data(),
                    skip: skip.as_ref().map(|skip| skip.data()),
                },
            },
        }
    }

    fn pool(&self) -> &Arc<Pool> {
        match &self.content {
            Content::Values(values) => values.pool(),
            Content::Normalised(normalised) => normalised.x.pool(),
        }
    }

    /// Whether a kernel that reads the elements should store them: those with a skip connection begin
    /// the next one.
    pub(crate) fn to_be_stored(&self) -> bool {
        matches!(&self.content, Content::Normalised(normalised)
            if normalised.skip.is_some() && normalised.stored.get().is_none())
    }

    /// Stores the elements that a kernel has computed.
    pub(crate) fn store(&self, values: PoolBuf<T>) {
        if let Content::Normalised(normalised) = &self.content {
            normalised.stored.get_or_init(|| values);
        }
    }

    /// Mean and variance of the elements, as far as they are known.
    pub(crate) fn moments(&self) -> Option<&Moments> {
        self.moments.get()
    }

    pub(crate) fn know_moments(&self, moments: Moments) {
        self.moments.get_or_init(|| moments);
    }

    /// The batch norm that made the elements, for the pass over their gradient.
    pub(crate) fn behind(&self) -> Option<Behind<'_, T>> {
        let Content::Normalised(normalised) = &self.content else {
            return None;
        };
        let Normalised {
            x,
            affine,
            skip,
            stored,
        } = normalised;
        let mask = match stored.get() {
            _ if affine.rectifier == Rectifier::None => Mask::None,
            Some(stored) => Mask::Out(stored, affine.rectifier),
            None => Mask::Recomputed {
                affine,
                skip: skip.as_ref().map(|skip| skip.data()),
            },
        };
        Some(Behind {
            x: x.data(),
            mean: &affine.mean,
            mask,
        })
    }

    /// Hands over a contribution: the first is kept as it is, later ones are added.
    pub(crate) fn give_gradient(&self, core: &Core, part: impl Into<Gradient<T>>) -> Result<()> {
        let part = part.into();
        let (sum, parts) = match self.take_collected(core)? {
            None => (part, 1),
            Some(present) => {
                let mut sum = present.gradient.into_values(core);
                add_assign(&mut sum, &part.into_values(core));
                (sum.into(), present.parts + 1)
            }
        };
        self.keep(core, sum, parts)
    }

    /// Lets `add` add a contribution in place; the first finds zeros.
    pub(crate) fn add_gradient(&self, core: &Core, add: impl FnOnce(&mut [T])) -> Result<()> {
        self.complete_gradient(core, |sum| {
            if sum.fresh {
                sum.values.fill(T::zero());
            }
            add(sum.values);
            None
        })
    }

    /// Lets `write` fill in a contribution: it is told whether to add to what is there or to overwrite it.
    pub(crate) fn write_gradient(
        &self,
        core: &Core,
        write: impl FnOnce(&mut [T], bool),
    ) -> Result<()> {
        self.complete_gradient(core, |sum| {
            write(sum.values, !sum.fresh);
            None
        })
    }

    /// Lets `add` write the first contribution or add another. With the last one it may do the pass of
    /// the batch norm behind, and return its sums.
    pub(crate) fn complete_gradient(
        &self,
        core: &Core,
        add: impl FnOnce(ImageGradient<'_, T>) -> Option<GradientSums>,
    ) -> Result<()> {
        let present = self.take_collected(core)?;
        let fresh = present.is_none();
        let (mut values, parts) = match present {
            Some(present) => (present.gradient.into_values(core), present.parts + 1),
            None => (core.pool.take(self.shape.elements()), 1),
        };
        let is_last = parts == self.consumers.load(Ordering::Relaxed);
        let sums = add(ImageGradient {
            values: &mut values,
            fresh,
            behind: if is_last { self.behind() } else { None },
        });
        let values = Arc::new(values);
        self.keep(core, Gradient::Values { values, sums }, parts)
    }

    fn keep(&self, core: &Core, gradient: Gradient<T>, parts: usize) -> Result<()> {
        lock(&self.gradients).insert(core.turn()?, Collected { gradient, parts });
        Ok(())
    }

    fn take_collected(&self, core: &Core) -> Result<Option<Collected<T>>> {
        let turn = core.turn()?;
        Ok(lock(&self.gradients).remove(&turn))
    }

    /// Removes the gradient that was collected in this thread's backward; fails outside of one.
    pub(crate) fn take_gradient(&self, core: &Core) -> Result<Option<Gradient<T>>> {
        let collected = self.take_collected(core)?;
        Ok(collected.map(|collected| collected.gradient))
    }
}

/// A slot of either element type, or one on a device.
#[derive(Clone)]
pub(crate) enum Handle {
    F32(Arc<Slot<f32>>),
    F64(Arc<Slot<f64>>),
    #[cfg(feature = "cuda")]
    Device(Arc<DeviceSlot>),
}

impl Handle {
    pub(crate) fn shape(&self) -> Shape4 {
        match self {
            Self::F32(slot) => slot.shape,
            Self::F64(slot) => slot.shape,
            #[cfg(feature = "cuda")]
            Self::Device(slot) => slot.shape,
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
            _ => None,
        }
    }
}

impl InHandle for f64 {
    fn handle(slot: Arc<Slot<f64>>) -> Handle {
        Handle::F64(slot)
    }
    fn slot(handle: &Handle) -> Option<&Arc<Slot<f64>>> {
        match handle {
            Handle::F64(slot) => Some(slot),
            _ => None,
        }
    }
}

/// Runs generic code on the slot of an activation, whatever its element type; other code on one on a CUDA device.
macro_rules! with_slot {
    ($act:expr, $slot:ident => $body:expr, cuda $device:ident => $on_device:expr) => {
        match &$act.handle {
            $crate::graph::Handle::F32($slot) => $body,
            $crate::graph::Handle::F64($slot) => $body,
            #[cfg(feature = "cuda")]
            $crate::graph::Handle::Device($device) => $on_device,
        }
    };
}
pub(crate) use with_slot;
