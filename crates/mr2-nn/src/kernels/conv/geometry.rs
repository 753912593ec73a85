//! The sizes of a convolution.

use std::ops::Range;

/// Elements of one tile of patches: it stays in the second-level cache between its uses.
const TILE_ELEMENTS: usize = 1 << 15;

/// Outputs over `size` pixels with TensorFlow's padding SAME, and zeros before them: one output for every
/// stride, the odd zero behind.
pub(crate) fn same_padding(
    size: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
) -> (usize, usize) {
    let outputs = size.div_ceil(stride);
    let read = (outputs.max(1) - 1) * stride + dilation * (kernel - 1) + 1;
    (outputs, read.saturating_sub(size) / 2)
}

/// Sizes of one convolution. Kernels are square; packed weights are stored group by group, each
/// (kernel, kernel, in, out), so that a product finds its outputs side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Geometry {
    pub(crate) batch: usize,
    pub(crate) in_channels: usize,
    pub(crate) in_height: usize,
    pub(crate) in_width: usize,
    pub(crate) out_channels: usize,
    pub(crate) out_height: usize,
    pub(crate) out_width: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    /// Rows and columns of zeros before the image; behind it there are as many as the last output reads.
    pub(crate) padding: [usize; 2],
    pub(crate) dilation: usize,
    pub(crate) groups: usize,
}

impl Geometry {
    pub(crate) fn in_image(&self) -> usize {
        self.in_channels * self.in_height * self.in_width
    }

    pub(crate) fn out_pixels(&self) -> usize {
        self.out_height * self.out_width
    }

    pub(crate) fn out_image(&self) -> usize {
        self.out_channels * self.out_pixels()
    }

    /// Elements of one patch: what one output of one group is a product with.
    pub(crate) fn depth(&self) -> usize {
        self.kernel * self.kernel * (self.in_channels / self.groups)
    }

    /// Taps, input channels and output channels of one group.
    pub(super) fn filter(&self) -> (usize, usize, usize) {
        let taps = self.kernel * self.kernel;
        (
            taps,
            self.in_channels / self.groups,
            self.out_channels / self.groups,
        )
    }

    /// Rows and columns of zeros behind the images beyond those before them.
    #[cfg_attr(not(feature = "cuda"), allow(dead_code))] // our own kernels need no such number
    pub(crate) fn more_behind(&self) -> [usize; 2] {
        let more = |outputs: usize, size: usize, before: usize| {
            let read = (outputs - 1) * self.stride + self.dilation * (self.kernel - 1) + 1;
            read.saturating_sub(size + 2 * before)
        };
        let [rows, cols] = self.padding;
        [
            more(self.out_height, self.in_height, rows),
            more(self.out_width, self.in_width, cols),
        ]
    }

    /// Elements of the weight.
    pub(crate) fn weights(&self) -> usize {
        self.out_channels * self.depth()
    }

    /// The images themselves are the matrix of patches.
    pub(super) fn is_pointwise(&self) -> bool {
        self.kernel == 1 && self.stride == 1 && self.padding == [0; 2]
    }

    /// The convolution of the output's gradient that gives the images' gradient, where there is one:
    /// at stride 1, unless the padding exceeds the kernel's reach.
    pub(super) fn transposed(&self) -> Option<Geometry> {
        let reach = self.dilation * (self.kernel - 1);
        let [rows, cols] = self.padding;
        let padding = [reach.checked_sub(rows)?, reach.checked_sub(cols)?];
        (self.stride == 1).then_some(Geometry {
            in_channels: self.out_channels,
            in_height: self.out_height,
            in_width: self.out_width,
            out_channels: self.in_channels,
            out_height: self.in_height,
            out_width: self.in_width,
            padding,
            ..*self
        })
    }

    /// Rows of the longest of [`Geometry::tiles`].
    pub(super) fn longest_tile(&self, rows: usize) -> usize {
        self.tiles(rows).map(|tile| tile.len()).max().unwrap_or(0)
    }

    pub(super) fn tiles(&self, rows: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let step = if self.is_pointwise() {
            rows.max(1)
        } else {
            (TILE_ELEMENTS / self.depth()).clamp(8, 4096)
        };
        (0..rows)
            .step_by(step)
            .map(move |start| start..(start + step).min(rows))
    }
}
