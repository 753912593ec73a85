//! Batch norm without scale and shift before the head, and how it vanishes into the head afterwards.

use rayon::prelude::*;

/// Rows of a task; partial sums are added in order.
const ROWS: usize = 256;

/// `torch.nn.BatchNorm1d(width, affine=False)`.
pub(super) struct BatchNorm {
    eps: f64,
    momentum: f64,
    mean: Vec<f64>,
    variance: Vec<f64>,
}

impl BatchNorm {
    pub(super) fn new(width: usize, eps: f64, momentum: f64) -> Self {
        Self {
            eps,
            momentum,
            mean: vec![0.0; width],
            variance: vec![1.0; width],
        }
    }

    /// Normalises a batch by its own statistics, and moves the averages.
    pub(super) fn train(&mut self, batch: &mut [f32]) {
        let width = self.mean.len();
        let images = (batch.len() / width) as f64;
        let mean = column_means(batch, width, |value, _| value, &[]);
        let square = |value: f64, mean: f64| (value - mean) * (value - mean);
        let variance = column_means(batch, width, square, &mean);
        for column in 0..width {
            let unbiased = variance[column] * images / (images - 1.0).max(1.0);
            self.mean[column] += self.momentum * (mean[column] - self.mean[column]);
            self.variance[column] += self.momentum * (unbiased - self.variance[column]);
        }
        let scale = self.scales(&variance);
        batch.par_chunks_mut(ROWS * width).for_each(|rows| {
            for row in rows.chunks_exact_mut(width) {
                for ((x, mean), scale) in row.iter_mut().zip(&mean).zip(&scale) {
                    *x = ((f64::from(*x) - mean) * scale) as f32;
                }
            }
        });
    }

    /// The head that does on features what `weight` and `bias` do on normalised ones.
    pub(super) fn fold(&self, weight: &mut [f32], bias: &mut [f32]) {
        let scale = self.scales(&self.variance);
        for (row, bias) in weight.chunks_exact_mut(scale.len()).zip(bias) {
            let mut shift = 0.0;
            for ((weight, mean), scale) in row.iter_mut().zip(&self.mean).zip(&scale) {
                let scaled = f64::from(*weight) * scale;
                shift += scaled * mean;
                *weight = scaled as f32;
            }
            *bias = (f64::from(*bias) - shift) as f32;
        }
    }

    fn scales(&self, variance: &[f64]) -> Vec<f64> {
        let scale = |variance: &f64| 1.0 / (variance + self.eps).sqrt();
        variance.iter().map(scale).collect()
    }
}

/// The mean over rows of a function of each element and its column's number in `of`, or 0.
pub(super) fn column_means(
    rows: &[f32],
    width: usize,
    function: impl Fn(f64, f64) -> f64 + Sync,
    of: &[f64],
) -> Vec<f64> {
    let nothing = vec![0f64; width];
    let of = if of.is_empty() { &nothing[..] } else { of };
    let parts: Vec<Vec<f64>> = rows
        .par_chunks(ROWS * width)
        .map(|rows| {
            let mut sums = vec![0f64; width];
            for row in rows.chunks_exact(width) {
                for ((sum, x), of) in sums.iter_mut().zip(row).zip(of) {
                    *sum += function(f64::from(*x), *of);
                }
            }
            sums
        })
        .collect();
    let images = (rows.len() / width) as f64;
    let total = |column: usize| parts.iter().map(|part| part[column]).sum::<f64>() / images;
    (0..width).map(total).collect()
}
