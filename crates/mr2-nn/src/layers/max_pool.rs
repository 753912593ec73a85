//! Maximum over windows.

#[cfg(feature = "cuda")]
mod cuda;

use super::{Layer, window_outputs};
use crate::graph::{Act, Core, Ctx, InHandle, Node, Shape4, Slot, with_slot};
use crate::kernels::pool::PoolBuf;
use crate::kernels::pooling::{self, Windows};
use candle_core::{Result, bail};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Maximum over square windows, which may overlap; padding never wins. Of equal values the first
/// gets the gradient, as in PyTorch. Output sizes round down; there is no ceil mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaxPool2d {
    /// Side of the window in pixels.
    pub kernel: usize,
    /// Pixels from one window to the next.
    pub stride: usize,
    /// Pixels of padding on every side, at most half the kernel.
    pub padding: usize,
}

impl MaxPool2d {
    /// Pools `x`.
    ///
    /// # Errors
    /// Sizes of 0, padding above half the kernel, or a window larger than the padded input; on CUDA a kernel above 16.
    pub fn forward(&self, cx: &Ctx, x: &Act) -> Result<Act> {
        x.check_context(cx)?;
        with_slot!(
            x,
            slot => self.forward_slot(x, slot),
            cuda slot => cuda::forward(self, x, slot)
        )
    }

    fn forward_slot<T: InHandle>(&self, x: &Act, slot: &Arc<Slot<T>>) -> Result<Act> {
        let (windows, shape) = windows(
            "max_pool",
            slot.shape,
            self.kernel,
            self.stride,
            self.padding,
        )?;
        let mut out = x.core.pool.take(shape.elements());
        // Only the backward asks where the maxima lie.
        let mut taps = match x.core.tracks(&[x], &[]) {
            true => x.core.pool.take(shape.elements()),
            false => x.core.pool.take(0),
        };
        pooling::max_forward(&windows, slot.data(), &mut out, &mut taps);
        x.core.record(shape, out, &[x], &[], || MaxNode {
            windows,
            x: slot.clone(),
            taps,
        })
    }
}

impl Layer for MaxPool2d {
    fn forward(&self, cx: &Ctx, x: &Act) -> Result<Act> {
        MaxPool2d::forward(self, cx, x)
    }
}

/// Sizes of pooling `x`, checked; `layer` names the caller in errors.
pub(super) fn windows(
    layer: &str,
    x: Shape4,
    kernel: usize,
    stride: usize,
    padding: usize,
) -> Result<(Windows, Shape4)> {
    if padding > kernel / 2 {
        bail!("{layer}: padding may be at most half the kernel {kernel}, got {padding}");
    }
    let height = window_outputs(layer, x.height, kernel, stride, padding, 1)?;
    let width = window_outputs(layer, x.width, kernel, stride, padding, 1)?;
    let windows = Windows {
        channels: x.channels,
        in_height: x.height,
        in_width: x.width,
        out_height: height,
        out_width: width,
        kernel,
        stride,
        padding,
    };
    Ok((windows, Shape4 { height, width, ..x }))
}

struct MaxNode<T: InHandle> {
    windows: Windows,
    x: Arc<Slot<T>>,
    /// Which pixel of its window each maximum is.
    taps: PoolBuf<T>,
}

impl<T: InHandle> Node<T> for MaxNode<T> {
    fn name(&self) -> &'static str {
        "max_pool"
    }

    fn backward(&self, core: &Core, _: &Slot<T>, gradient: PoolBuf<T>) -> Result<()> {
        let mut part = core.pool.take(self.x.shape.elements());
        pooling::max_backward(&self.windows, &gradient, &self.taps, &mut part);
        self.x.give_gradient(core, part)
    }
}
