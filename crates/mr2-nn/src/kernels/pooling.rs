//! Maximum and average over windows of pixels; windows may overlap.

mod maximum;
mod mean;

pub(crate) use maximum::{max_backward, max_forward};
pub(crate) use mean::{Divisor, mean_backward, mean_forward};

use super::real::Real;
use rayon::prelude::*;
use std::ops::Range;

/// Backwards, an image is cut into bands where there are fewer images than this.
const TASKS: usize = 16;

/// Sizes of one pooling layer; windows are square.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Windows {
    pub(crate) channels: usize,
    pub(crate) in_height: usize,
    pub(crate) in_width: usize,
    pub(crate) out_height: usize,
    pub(crate) out_width: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) padding: usize,
}

impl Windows {
    fn in_image(&self) -> usize {
        self.in_height * self.in_width * self.channels
    }

    fn out_image(&self) -> usize {
        self.out_height * self.out_width * self.channels
    }

    /// Rows and columns of the image under output pixel `index`.
    fn window(&self, index: usize) -> (Range<usize>, Range<usize>) {
        let range = |out: usize, size: usize| {
            let start = out * self.stride;
            start.saturating_sub(self.padding)
                ..(start + self.kernel).saturating_sub(self.padding).min(size)
        };
        (
            range(index / self.out_width, self.in_height),
            range(index % self.out_width, self.in_width),
        )
    }

    /// The taps over output pixel `index` that lie on the image's `rows`: their numbers, row by row from 0 on the window's
    /// first pixel, and the first elements of their pixels.
    fn taps(&self, index: usize, rows: Range<usize>) -> impl Iterator<Item = (usize, usize)> {
        let (window, cols) = self.window(index);
        let rows = window.start.max(rows.start)..window.end.min(rows.end);
        // The window's first pixel may lie on the padding, so numbers are counted from the padding's corner.
        let (top, left) = (
            index / self.out_width * self.stride,
            index % self.out_width * self.stride,
        );
        let (width, channels, kernel, padding) =
            (self.in_width, self.channels, self.kernel, self.padding);
        rows.flat_map(move |y| {
            cols.clone().map(move |x| {
                let tap = (y + padding - top) * kernel + (x + padding - left);
                (tap, (y * width + x) * channels)
            })
        })
    }

    /// Calls `row` with each row of output pixels, its image and the index of its first pixel, in parallel.
    fn for_each_row<T: Real>(
        &self,
        images: &[T],
        out: &mut [T],
        row: impl Fn(usize, &[T], &mut [T]) + Sync,
    ) {
        out.par_chunks_mut(self.out_width * self.channels)
            .enumerate()
            .for_each(|(number, out)| {
                let image = number / self.out_height * self.in_image();
                let first = number % self.out_height * self.out_width;
                row(first, &images[image..image + self.in_image()], out);
            });
    }

    /// Calls `band` with bands of rows of the images, which start as zeros, in parallel: the number of its image, its rows, and
    /// the output pixels whose windows touch them.
    fn for_each_band<T: Real>(
        &self,
        images: &mut [T],
        band: impl Fn(usize, Range<usize>, Range<usize>, &mut [T]) + Sync,
    ) {
        let batch = images.len() / self.in_image();
        let height = self
            .in_height
            .div_ceil(TASKS.div_ceil(batch).min(self.in_height));
        let bands: Vec<_> = images
            .chunks_mut(self.in_image())
            .enumerate()
            .flat_map(|(number, image)| {
                let rows = image.chunks_mut(height * self.in_width * self.channels);
                rows.enumerate()
                    .map(move |(nth, part)| (number, nth * height, part))
            })
            .collect();
        bands.into_par_iter().for_each(|(number, top, part)| {
            part.fill(T::zero());
            let rows = top..(top + height).min(self.in_height);
            // Window r has the rows from r * stride - padding on.
            let first = (rows.start + self.padding + 1)
                .saturating_sub(self.kernel)
                .div_ceil(self.stride);
            let last = ((rows.end - 1 + self.padding) / self.stride + 1).min(self.out_height);
            let pixels = first * self.out_width..last.max(first) * self.out_width;
            band(number, rows, pixels, part);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All small geometries, gaps between windows among them.
    fn geometries() -> impl Iterator<Item = Windows> {
        let sizes = [(1, 1), (2, 5), (7, 4), (33, 3)].into_iter();
        sizes.flat_map(|(in_height, in_width)| {
            (1..5usize).flat_map(move |kernel| {
                (1..5).flat_map(move |stride| {
                    (0..=kernel / 2).filter_map(move |padding| {
                        let out = |size: usize| {
                            let room = (size + 2 * padding).checked_sub(kernel)?;
                            Some(room / stride + 1)
                        };
                        Some(Windows {
                            channels: 3,
                            in_height,
                            in_width,
                            out_height: out(in_height)?,
                            out_width: out(in_width)?,
                            kernel,
                            stride,
                            padding,
                        })
                    })
                })
            })
        })
    }

    fn numbers(count: usize) -> Vec<f64> {
        (0..count).map(|i| ((i * 7919) % 13) as f64).collect()
    }

    /// The input elements under each output element, in order.
    fn sources(w: &Windows, at: usize) -> Vec<usize> {
        let (image, rest) = (at / w.out_image(), at % w.out_image());
        let (pixel, channel) = (rest / w.channels, rest % w.channels);
        let (rows, cols) = w.window(pixel);
        let start = image * w.in_image() + channel;
        let pixels = rows.flat_map(|y| cols.clone().map(move |x| y * w.in_width + x));
        pixels.map(|p| start + p * w.channels).collect()
    }

    #[test]
    fn rows_and_bands_give_what_the_definition_says() {
        for (w, batch) in geometries().flat_map(|w| [(w, 1), (w, 2), (w, 17)]) {
            let (inputs, outputs) = (batch * w.in_image(), batch * w.out_image());
            let (images, gradient) = (numbers(inputs), numbers(outputs));
            let [mut max, mut mean, mut taps, mut plain] =
                [(); 4].map(|()| vec![f64::NAN; outputs]);
            let [mut max_sum, mut mean_sum] = [(); 2].map(|()| vec![f64::NAN; inputs]);
            max_forward(&w, &images, &mut max, &mut taps);
            max_forward(&w, &images, &mut plain, &mut []);
            assert_eq!(max, plain, "{w:?}");
            mean_forward(&w, Divisor::Inside, &images, &mut mean);
            max_backward(&w, &gradient, &taps, &mut max_sum);
            mean_backward(&w, Divisor::Inside, &gradient, &mut mean_sum);
            let [mut max_expected, mut mean_expected] = [(); 2].map(|()| vec![0.0; inputs]);
            for at in 0..outputs {
                let sources = sources(&w, at);
                let values = sources.iter().map(|&s| images[s]);
                let largest = values.clone().fold(f64::MIN, f64::max);
                assert_eq!(max[at], largest, "{w:?}");
                assert_eq!(
                    mean[at],
                    values.sum::<f64>() / sources.len() as f64,
                    "{w:?}"
                );
                let first = sources.iter().find(|&&s| images[s] == largest);
                first.iter().for_each(|&&s| max_expected[s] += gradient[at]);
                for &source in &sources {
                    mean_expected[source] += gradient[at] / sources.len() as f64;
                }
            }
            assert_eq!(max_sum, max_expected, "{w:?}");
            assert_eq!(mean_sum, mean_expected, "{w:?}");
        }
    }
}
