//! Patches of an image as rows of a matrix, and the sum of such rows back into an image.

use super::geometry::Geometry;
use crate::kernels::real::Real;
use std::ops::Range;

/// One kernel row of one output pixel: where it lies in the image and in the patch.
struct Run {
    /// First element of the run in the chunk of images.
    image: usize,
    /// First element of the run in the patch row.
    patch: usize,
    /// Elements of each piece, and how many pieces follow each other.
    piece: usize,
    pieces: usize,
    /// From piece to piece in the image.
    image_step: usize,
}

/// An output pixel of a chunk of images. Stepping to the next one takes no division.
#[derive(Clone, Copy)]
struct Pixel {
    image: usize,
    y: usize,
    x: usize,
}

impl Pixel {
    fn new(geometry: &Geometry, row: usize) -> Self {
        let (image, pixel) = (row / geometry.out_pixels(), row % geometry.out_pixels());
        Self {
            image,
            y: pixel / geometry.out_width,
            x: pixel % geometry.out_width,
        }
    }

    #[inline(always)]
    fn step(&mut self, geometry: &Geometry) {
        self.x += 1;
        if self.x == geometry.out_width {
            self.x = 0;
            self.y += 1;
            if self.y == geometry.out_height {
                self.y = 0;
                self.image += 1;
            }
        }
    }

    /// Whether the whole patch lies on the image.
    #[inline(always)]
    fn is_interior(self, geometry: &Geometry) -> bool {
        let reach = (geometry.kernel - 1) * geometry.dilation;
        let fits = |out: usize, size: usize, before: usize| {
            let start = out * geometry.stride;
            start >= before && start - before + reach < size
        };
        let [rows, cols] = geometry.padding;
        fits(self.y, geometry.in_height, rows) && fits(self.x, geometry.in_width, cols)
    }
}

/// Copies the patches of output pixels `rows` (counted over a chunk of images) into `patches`.
#[inline(always)]
pub(super) fn gather<T: Real>(
    geometry: &Geometry,
    group: usize,
    images: &[T],
    rows: Range<usize>,
    patches: &mut [T],
) {
    let mut pixel = Pixel::new(geometry, rows.start);
    for patch in patches.chunks_exact_mut(geometry.depth()) {
        if !pixel.is_interior(geometry) {
            patch.fill(T::zero());
        }
        for_each_run(
            geometry,
            group,
            pixel,
            #[inline(always)]
            |run| {
                for piece in 0..run.pieces {
                    let from = run.image + piece * run.image_step;
                    let to = run.patch + piece * run.piece;
                    copy(
                        &mut patch[to..to + run.piece],
                        &images[from..from + run.piece],
                    );
                }
            },
        );
        pixel.step(geometry);
    }
}

/// Adds the patches of output pixels `rows` to the images they were gathered from.
#[inline(always)]
pub(super) fn scatter_add<T: Real>(
    geometry: &Geometry,
    group: usize,
    patches: &[T],
    rows: Range<usize>,
    images: &mut [T],
) {
    let mut pixel = Pixel::new(geometry, rows.start);
    for patch in patches.chunks_exact(geometry.depth()) {
        for_each_run(
            geometry,
            group,
            pixel,
            #[inline(always)]
            |run| {
                for piece in 0..run.pieces {
                    let to = run.image + piece * run.image_step;
                    let from = run.patch + piece * run.piece;
                    add(
                        &mut images[to..to + run.piece],
                        &patch[from..from + run.piece],
                    );
                }
            },
        );
        pixel.step(geometry);
    }
}

/// Elements that are moved at once: most runs are a small multiple of it.
const LANES: usize = 16;

/// Short copies as a loop: a call of `memcpy` costs more than the copy.
#[inline(always)]
fn copy<T: Copy>(target: &mut [T], source: &[T]) {
    let (mut targets, sources) = (target.chunks_exact_mut(LANES), source.chunks_exact(LANES));
    let rest = sources.remainder();
    for (target, source) in targets.by_ref().zip(sources) {
        target.copy_from_slice(source);
    }
    for (target, &source) in targets.into_remainder().iter_mut().zip(rest) {
        *target = source;
    }
}

#[inline(always)]
fn add<T: Real>(target: &mut [T], source: &[T]) {
    let (mut targets, sources) = (target.chunks_exact_mut(LANES), source.chunks_exact(LANES));
    let rest = sources.remainder();
    for (target, source) in targets.by_ref().zip(sources) {
        for lane in 0..LANES {
            target[lane] += source[lane];
        }
    }
    for (target, &source) in targets.into_remainder().iter_mut().zip(rest) {
        *target += source;
    }
}

/// Visits the parts of a patch that lie inside the image, one kernel row at a time.
#[inline(always)]
fn for_each_run(g: &Geometry, group: usize, pixel: Pixel, mut visit: impl FnMut(Run)) {
    let channels = g.in_channels / g.groups;
    let top = (pixel.y * g.stride) as isize - g.padding[0] as isize;
    let left = (pixel.x * g.stride) as isize - g.padding[1] as isize;
    let (first, last) = inside(left, g.kernel, g.dilation, g.in_width);
    if first >= last {
        return;
    }
    let dense = g.dilation == 1 && g.groups == 1;
    for ky in 0..g.kernel {
        let y = top + (ky * g.dilation) as isize;
        if y < 0 || y >= g.in_height as isize {
            continue;
        }
        let x = (left + (first * g.dilation) as isize) as usize;
        let source = (pixel.image * g.in_height + y as usize) * g.in_width + x;
        let taps = last - first;
        visit(Run {
            image: source * g.in_channels + group * channels,
            patch: (ky * g.kernel + first) * channels,
            piece: if dense { taps * channels } else { channels },
            pieces: if dense { 1 } else { taps },
            image_step: g.dilation * g.in_channels,
        });
    }
}

/// The taps `first..last` of a kernel row starting at `start` that fall on `0..size`.
#[inline(always)]
fn inside(start: isize, kernel: usize, dilation: usize, size: usize) -> (usize, usize) {
    let (before, room) = (-start, size as isize - start);
    let first = if before > 0 {
        (before as usize).div_ceil(dilation)
    } else {
        0
    };
    let reach = ((kernel - 1) * dilation) as isize;
    let last = match room {
        // The usual case first: it spares a division.
        _ if room > reach => kernel,
        _ if room <= 0 => 0,
        _ => (room as usize).div_ceil(dilation),
    };
    (first, last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_taps_on_the_image_are_visited() {
        assert_eq!(inside(-1, 3, 1, 8), (1, 3));
        assert_eq!(inside(-3, 3, 2, 8), (2, 3));
        assert_eq!(inside(6, 3, 1, 8), (0, 2));
        assert_eq!(inside(-3, 3, 1, 8), (3, 3));
        assert_eq!(inside(9, 3, 1, 8), (0, 0));
    }
}
