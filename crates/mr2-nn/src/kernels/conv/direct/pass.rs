//! A convolution, and the gradient of its images, as sums over the taps of a padded image.

use super::tile::Tap;
use crate::kernels::conv::geometry::Geometry;
use crate::kernels::pool::{Pool, PoolBuf};
use crate::kernels::source::Source;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// A padded copy of an image: zeros around, or less than the whole where nothing more is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Padded {
    pub(super) channels: usize,
    /// Of the image.
    pub(super) image_height: usize,
    pub(super) image_width: usize,
    /// Rows and columns of zeros before the image.
    pub(super) before: [usize; 2],
    /// Of the copy.
    pub(super) height: usize,
    pub(super) width: usize,
}

impl Padded {
    pub(super) fn elements(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// Elements of the image.
    pub(super) fn image(&self) -> usize {
        self.image_height * self.image_width * self.channels
    }

    /// Elements from one image to the next in what [`Padded::of`] returns.
    pub(super) fn step(&self) -> usize {
        if self.is_image() {
            self.image()
        } else {
            self.elements()
        }
    }

    /// The copy has all of the image.
    pub(super) fn holds_image(&self) -> bool {
        self.height >= self.before[0] + self.image_height
            && self.width >= self.before[1] + self.image_width
    }

    /// Images can be read in place.
    pub(super) fn is_image(&self) -> bool {
        self.before == [0; 2] && self.width == self.image_width && self.height <= self.image_height
    }

    /// Copies of images, or the images themselves where those will do.
    pub(super) fn of<'a>(&self, images: Source<'a, f32>, pool: &Arc<Pool>) -> Lent<'a> {
        match images {
            Source::Values(values) if self.is_image() => Lent::Slice(values),
            _ if self.is_image() => {
                let mut values = pool.take(images.len());
                images.write(&mut values);
                Lent::Buffer(values)
            }
            _ => {
                let mut copies = pool.take(images.len() / self.image() * self.elements());
                for (index, copy) in copies.chunks_exact_mut(self.elements()).enumerate() {
                    let start = index * self.image();
                    self.copy(images.part(start..start + self.image()), 0, copy);
                }
                Lent::Buffer(copies)
            }
        }
    }

    /// Some rows of the copy of one image.
    pub(super) fn rows<'a>(
        &self,
        image: Source<'a, f32>,
        rows: Range<usize>,
        pool: &Arc<Pool>,
    ) -> Lent<'a> {
        let row = self.width * self.channels;
        if self.is_image() {
            let part = image.part(rows.start * row..rows.end * row);
            return self.of(part, pool);
        }
        let mut copy = pool.take(rows.len() * row);
        self.copy(image, rows.start, &mut copy);
        Lent::Buffer(copy)
    }

    /// Rows from `first` on.
    fn copy(&self, image: Source<'_, f32>, first: usize, padded: &mut [f32]) {
        let (width, channels) = (self.width * self.channels, self.channels);
        let image_width = self.image_width * channels;
        let [rows_before, cols_before] = self.before;
        let (before, cols) = (
            cols_before * channels,
            self.image_width.min(self.width.saturating_sub(cols_before)),
        );
        for (y, row) in padded.chunks_exact_mut(width).enumerate() {
            match (first + y)
                .checked_sub(rows_before)
                .filter(|&y| y < self.image_height)
            {
                None => row.fill(0.0),
                Some(y) => {
                    let (start, len) = (y * image_width, cols * channels);
                    row[..before].fill(0.0);
                    image
                        .part(start..start + len)
                        .write(&mut row[before..before + len]);
                    row[before + len..].fill(0.0);
                }
            }
        }
    }
}

/// Values that are there already, or a buffer of the pool.
pub(super) enum Lent<'a> {
    Slice(&'a [f32]),
    Buffer(PoolBuf<f32>),
}

impl Deref for Lent<'_> {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        match self {
            Self::Slice(values) => values,
            Self::Buffer(values) => values,
        }
    }
}

/// Output pixels that share their taps: all of a convolution's, or those of one parity of its
/// images' gradient at a stride above 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pass {
    pub(super) rows: usize,
    pub(super) cols: usize,
    /// The first of the output's rows.
    pub(super) first_row: usize,
    /// First element of the first pixel in the output.
    pub(super) out: usize,
    /// Elements from row to row, from pixel to pixel.
    pub(super) patch_steps: [usize; 2],
    pub(super) out_steps: [usize; 2],
    pub(super) taps: Vec<Tap>,
    /// For each tap, the kernel's row and its columns in the order of the patch's elements.
    pub(super) kernel: Vec<(usize, Vec<usize>)>,
}

impl Pass {
    /// Elements of a patch.
    pub(super) fn depth(&self) -> usize {
        self.taps.iter().map(|tap| tap.depth).sum()
    }

    /// One past the last element that a patch at the first pixel reads.
    pub(super) fn reach(&self) -> usize {
        self.taps
            .iter()
            .map(|tap| tap.offset + tap.depth)
            .max()
            .unwrap_or(0)
    }

    /// Panics unless all that the pass reads and writes lies inside of an image: `padded` and `out` are the
    /// elements of one, `outputs` those of a pixel.
    pub(super) fn check(&self, padded: usize, outputs: usize, out: usize) {
        let last = |steps: [usize; 2]| (self.rows - 1) * steps[0] + (self.cols - 1) * steps[1];
        let patch = last(self.patch_steps) + self.reach();
        assert!(patch <= padded, "a patch leaves the image");
        assert!(
            self.out + last(self.out_steps) + outputs <= out,
            "a tile leaves the output"
        );
    }

    /// The rows of the pass within a band of the output's rows, if any; the pass has every `every`-th row.
    pub(super) fn band(&self, rows: &Range<usize>, every: usize) -> Option<Pass> {
        let end = rows.end.saturating_sub(self.first_row).div_ceil(every);
        let count = end.min(self.rows).saturating_sub(rows.start / every);
        (count > 0).then(|| Pass {
            rows: count,
            ..self.clone()
        })
    }
}

/// The convolution: its padded image, its one pass.
pub(super) fn forward(g: &Geometry) -> (Padded, Pass) {
    let size = |outputs: usize| (outputs - 1) * g.stride + g.kernel;
    let padded = Padded {
        channels: g.in_channels,
        image_height: g.in_height,
        image_width: g.in_width,
        before: g.padding,
        height: size(g.out_height),
        // Without zeros around, images can be read in place, whatever the last columns are for.
        width: if g.padding == [0; 2] {
            size(g.out_width).max(g.in_width)
        } else {
            size(g.out_width)
        },
    };
    let row = padded.width * g.in_channels;
    let pass = Pass {
        rows: g.out_height,
        cols: g.out_width,
        first_row: 0,
        out: 0,
        patch_steps: [g.stride * row, g.stride * g.in_channels],
        out_steps: [g.out_width * g.out_channels, g.out_channels],
        taps: (0..g.kernel)
            .map(|y| Tap {
                offset: y * row,
                depth: g.kernel * g.in_channels,
            })
            .collect(),
        kernel: (0..g.kernel)
            .map(|y| (y, (0..g.kernel).collect()))
            .collect(),
    };
    (padded, pass)
}

/// The gradient of the images: the padded output gradient, and a pass for every parity of rows and
/// columns that any tap reaches.
pub(super) fn backward(g: &Geometry) -> (Padded, Vec<Pass>) {
    let axes = [(g.in_height, g.padding[0]), (g.in_width, g.padding[1])];
    let [rows, cols] = axes.map(|(size, padding)| parities(g, size, padding));
    let reach = |axis: &[Parity]| {
        let taps = || {
            axis.iter()
                .flat_map(|parity| parity.taps.iter().map(move |&(_, shift)| (parity, shift)))
        };
        let before = taps().map(|(_, shift)| -shift).max().unwrap_or(0).max(0);
        let last = taps()
            .map(|(parity, shift)| parity.count as isize - 1 + shift)
            .max()
            .unwrap_or(0)
            .max(0);
        (before, last)
    };
    let ((before_y, last_y), (before_x, last_x)) = (reach(&rows), reach(&cols));
    let before = before_y.max(before_x);
    let padded = Padded {
        channels: g.out_channels,
        image_height: g.out_height,
        image_width: g.out_width,
        before: [before as usize; 2],
        height: (last_y + before) as usize + 1,
        width: if before == 0 {
            g.out_width.max(last_x as usize + 1)
        } else {
            (last_x + before) as usize + 1
        },
    };
    let row = padded.width * g.out_channels;
    let mut passes = Vec::new();
    for y in rows.iter().filter(|y| !y.taps.is_empty() && y.count > 0) {
        for x in cols.iter().filter(|x| !x.taps.is_empty() && x.count > 0) {
            // Taps in the order of their place in the output gradient: neighbours join into one.
            let first_x = (x.taps[0].1 + before) as usize;
            let tap = |&(ky, shift): &(usize, isize)| {
                let offset = (shift + before) as usize * row + first_x * g.out_channels;
                let tap = Tap {
                    offset,
                    depth: x.taps.len() * g.out_channels,
                };
                (
                    tap,
                    (ky, x.taps.iter().map(|&(kx, _)| kx).collect::<Vec<_>>()),
                )
            };
            let (taps, kernel) = y.taps.iter().map(tap).unzip();
            passes.push(Pass {
                rows: y.count,
                cols: x.count,
                first_row: y.first,
                out: (y.first * g.in_width + x.first) * g.in_channels,
                patch_steps: [row, g.out_channels],
                out_steps: [
                    g.stride * g.in_width * g.in_channels,
                    g.stride * g.in_channels,
                ],
                taps,
                kernel,
            });
        }
    }
    (padded, passes)
}

/// Pixels `first, first + stride, ...` of one axis of the images.
struct Parity {
    first: usize,
    count: usize,
    /// Taps of the kernel that reach them, with the output that pixel `first` reads through each;
    /// ascending by output.
    taps: Vec<(usize, isize)>,
}

fn parities(g: &Geometry, size: usize, padding: usize) -> Vec<Parity> {
    (0..g.stride)
        .map(|first| {
            // Input pixel i = o * stride + tap - padding, so o = (i + padding - tap) / stride.
            let reaches = |tap: usize| {
                let distance = (first + padding) as isize - tap as isize;
                (distance.rem_euclid(g.stride as isize) == 0)
                    .then(|| (tap, distance.div_euclid(g.stride as isize)))
            };
            Parity {
                first,
                count: size.saturating_sub(first).div_ceil(g.stride),
                taps: (0..g.kernel).rev().filter_map(reaches).collect(),
            }
        })
        .collect()
}
