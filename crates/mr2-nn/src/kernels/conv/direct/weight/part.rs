//! The sums of some images, or rows of one, and some output channels.

use super::{Extent, Plan};
use crate::kernels::conv::direct::gradient_tile::{self, Grid};
use crate::kernels::conv::direct::largest;
use crate::kernels::vector::{Kernel, Vector};
use std::ops::Range;

/// Gradients of this many pixels stay in the first-level cache while all elements of the patch pass by.
const BAND_PIXELS: usize = 128;

/// Adds to the gradient of some output channels.
pub(super) struct Part<'a> {
    pub(super) plan: &'a Plan,
    pub(super) extent: Extent,
    /// By blocks of channels.
    pub(super) images: &'a [f32],
    pub(super) image_step: usize,
    pub(super) gradients: &'a [f32],
    /// Where the gradients are not by panels: their steps.
    pub(super) steps: Option<[usize; 3]>,
    pub(super) group: Range<usize>,
    /// For each panel (patch element, lane); elements in the order (block, kernel row, kernel column, channel).
    pub(super) sums: &'a mut [f32],
}

impl Part<'_> {
    /// Panics unless all that is read and written lies inside of the slices.
    pub(super) fn check(&self) {
        let (plan, g, extent) = (self.plan, &self.plan.g, self.extent);
        assert!(
            (g.out_width - 1) * g.stride + g.kernel <= plan.padded.width,
            "a patch leaves the image"
        );
        let image = extent.height * plan.padded.width * g.in_channels;
        assert!(
            (extent.count - 1) * self.image_step + image <= self.images.len(),
            "an image is missing"
        );
        let last = match self.steps {
            Some([image, row, pixel]) => {
                (extent.count - 1) * image
                    + (extent.rows - 1) * row
                    + (g.out_width - 1) * pixel
                    + self.group.len()
            }
            None => extent.count * extent.rows * g.out_width * self.group.len(),
        };
        assert!(last <= self.gradients.len(), "a gradient is missing");
        assert!(
            self.group.len() * g.depth() <= self.sums.len(),
            "a sum is missing"
        );
    }

    /// Some images, or some rows of one.
    fn bands(&self) -> impl Iterator<Item = (Range<usize>, Range<usize>)> + use<> {
        let (Extent { count, rows, .. }, cols) = (self.extent, self.plan.g.out_width);
        let images = (BAND_PIXELS / (rows * cols)).max(1);
        let band = (BAND_PIXELS / cols).clamp(1, rows);
        (0..count).step_by(images).flat_map(move |image| {
            (0..rows).step_by(band).map(move |row| {
                let images = image..(image + images).min(count);
                (images, row..(row + band).min(rows))
            })
        })
    }
}

impl Kernel for Part<'_> {
    #[inline(always)]
    // SAFETY: the instruction set of `V`, and slices that the check has found long enough.
    unsafe fn run<V: Vector>(self) {
        let (plan, g) = (self.plan, &self.plan.g);
        let (width, plane) = (plan.padded.width, self.extent.height * plan.padded.width);
        let pixels = self.extent.rows * g.out_width;
        for (first, lanes) in plan.panels(&self.group) {
            let panel = first - self.group.start;
            let (start, out) = match self.steps {
                Some(steps) => (panel, steps),
                None => {
                    let (row, image) = (g.out_width * lanes, pixels * lanes);
                    (panel * self.extent.count * pixels, [image, row, lanes])
                }
            };
            for (images, rows) in self.bands() {
                for (channel, block) in plan.blocks() {
                    let grid = Grid {
                        images: images.len(),
                        rows: rows.len(),
                        cols: g.out_width,
                        patch: [self.image_step, g.stride * width * block, g.stride * block],
                        out,
                    };
                    for tap in 0..g.kernel {
                        let patch = images.start * self.image_step
                            + channel * plane
                            + (rows.start * g.stride + tap) * width * block;
                        let gradient = start + images.start * out[0] + rows.start * out[1];
                        let element = (channel * g.kernel + tap * block) * g.kernel;
                        let sums = panel * g.depth() + element * lanes;
                        // SAFETY: passed on to the caller; the check covers all images, rows and taps.
                        unsafe {
                            elements::<V>(
                                g.kernel * block,
                                lanes,
                                &grid,
                                self.images.as_ptr().add(patch),
                                self.gradients.as_ptr().add(gradient),
                                self.sums.as_mut_ptr().add(sums),
                            );
                        }
                    }
                }
            }
        }
    }
}

/// All elements of one kernel row and block, a few at a time.
///
/// # Safety
/// As [`gradient_tile::elements`].
#[inline(always)]
unsafe fn elements<V: Vector>(
    depth: usize,
    lanes: usize,
    grid: &Grid,
    patch: *const f32,
    gradient: *const f32,
    sums: *mut f32,
) {
    let vectors = lanes / V::LANES;
    let mut element = 0;
    while element < depth {
        let most = (depth - element).min(V::ACCUMULATORS / vectors);
        let count = largest(&gradient_tile::ELEMENTS, most);
        // SAFETY: passed on to the caller.
        unsafe {
            let (patch, sums) = (patch.add(element), sums.add(element * lanes));
            match vectors {
                1 => gradient_tile::elements::<V, 1>(count, grid, patch, gradient, sums, lanes),
                _ => gradient_tile::elements::<V, 2>(count, grid, patch, gradient, sums, lanes),
            }
        }
        element += count;
    }
}
