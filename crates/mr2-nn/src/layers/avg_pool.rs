//! Mean over windows.

#[cfg(feature = "cuda")]
mod cuda;

use super::Layer;
use super::max_pool::windows;
use crate::graph::{Act, Core, Ctx, InHandle, Node, Slot, with_slot};
use crate::kernels::pool::PoolBuf;
use crate::kernels::pooling::{self, Divisor, Windows};
use candle_core::Result;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Mean over square windows, which may overlap. Output sizes round down; there is no ceil mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AvgPool2d {
    /// Side of the window in pixels.
    pub kernel: usize,
    /// Pixels from one window to the next.
    pub stride: usize,
    /// Pixels of zeros on every side, at most half the kernel.
    pub padding: usize,
    /// Whether the zeros count in the divisor; PyTorch's default is true.
    pub count_include_pad: bool,
}

impl AvgPool2d {
    /// Pools `x`.
    ///
    /// # Errors
    /// Sizes of 0, padding above half the kernel, or a window larger than the padded input.
    pub fn forward(&self, cx: &Ctx, x: &Act) -> Result<Act> {
        x.check_context(cx)?;
        with_slot!(
            x,
            slot => self.forward_slot(x, slot),
            cuda slot => cuda::forward(self, x, slot)
        )
    }

    fn divisor(&self) -> Divisor {
        match self.count_include_pad {
            true => Divisor::Padded,
            false => Divisor::Inside,
        }
    }

    fn forward_slot<T: InHandle>(&self, x: &Act, slot: &Arc<Slot<T>>) -> Result<Act> {
        let (windows, shape) = windows(
            "avg_pool",
            slot.shape,
            self.kernel,
            self.stride,
            self.padding,
        )?;
        let divisor = self.divisor();
        let mut out = x.core.pool.take(shape.elements());
        pooling::mean_forward(&windows, divisor, slot.data(), &mut out);
        x.core.record(shape, out, &[x], &[], || MeanNode {
            windows,
            divisor,
            x: slot.clone(),
        })
    }
}

impl Layer for AvgPool2d {
    fn forward(&self, cx: &Ctx, x: &Act) -> Result<Act> {
        AvgPool2d::forward(self, cx, x)
    }
}

struct MeanNode<T: InHandle> {
    windows: Windows,
    divisor: Divisor,
    x: Arc<Slot<T>>,
}

impl<T: InHandle> Node<T> for MeanNode<T> {
    fn name(&self) -> &'static str {
        "avg_pool"
    }

    fn backward(&self, core: &Core, _: &Slot<T>, gradient: PoolBuf<T>) -> Result<()> {
        let mut part = core.pool.take(self.x.shape.elements());
        pooling::mean_backward(&self.windows, self.divisor, &gradient, &mut part);
        self.x.give_gradient(core, part)
    }
}
