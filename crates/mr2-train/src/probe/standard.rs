//! Features moved and scaled to mean 0 and deviation 1, and what that does to a head, its penalty and its gradient.

use rayon::prelude::*;

use super::input_norm::column_means;

/// Rows of a task.
const ROWS: usize = 256;

/// Mean and scale of each column: numbers of f32, so that a head can be carried back exactly.
pub(super) struct Standard {
    mean: Vec<f32>,
    /// One over the deviation; 1 for a column of equal numbers.
    scale: Vec<f32>,
}

impl Standard {
    pub(super) fn new(features: &[f32], width: usize) -> Self {
        let mean = column_means(features, width, |value, _| value, &[]);
        let square = |value: f64, mean: f64| (value - mean) * (value - mean);
        let variance = column_means(features, width, square, &mean);
        let scale = |(variance, mean): (&f64, &f64)| {
            let scale = (1.0 / variance.sqrt()) as f32;
            match *variance > (1e-7 * mean).powi(2) && scale.is_finite() {
                true => scale,
                false => 1.0,
            }
        };
        Self {
            scale: variance.iter().zip(&mean).map(scale).collect(),
            mean: mean.iter().map(|&mean| mean as f32).collect(),
        }
    }

    /// Rows of features, standardised.
    pub(super) fn of(&self, features: &[f32]) -> Vec<f32> {
        let width = self.mean.len();
        let mut standardised = vec![0f32; features.len()];
        standardised
            .par_chunks_mut(ROWS * width)
            .zip(features.par_chunks(ROWS * width))
            .for_each(|(to, from)| {
                for (to, from) in to.chunks_exact_mut(width).zip(from.chunks_exact(width)) {
                    for (column, (to, from)) in to.iter_mut().zip(from).enumerate() {
                        *to = (from - self.mean[column]) * self.scale[column];
                    }
                }
            });
        standardised
    }

    /// Half the square of the weight on unchanged features, times `penalty`; its gradient is added.
    pub(super) fn penalise(&self, penalty: f64, weight: &[f64], gradient: &mut [f64]) -> f64 {
        let mut square = 0.0;
        let rows = weight.chunks_exact(self.scale.len());
        for (weight, gradient) in rows.zip(gradient.chunks_mut(self.scale.len())) {
            for ((weight, gradient), &scale) in weight.iter().zip(gradient).zip(&self.scale) {
                let scale = f64::from(scale) * f64::from(scale);
                square += scale * weight * weight;
                *gradient += penalty * scale * weight;
            }
        }
        0.5 * penalty * square
    }

    /// Adds the curvature of [`Standard::penalise`] to that of a row of the weight, (width, width).
    pub(super) fn add_penalty(&self, penalty: f64, curvature: &mut [f64]) {
        let diagonal = curvature.iter_mut().step_by(self.scale.len() + 1);
        for (element, &scale) in diagonal.zip(&self.scale) {
            *element += penalty * f64::from(scale) * f64::from(scale);
        }
    }

    /// The largest element of the gradient with respect to the head on unchanged features.
    pub(super) fn largest_gradient(&self, of_weight: &[f64], of_bias: &[f64]) -> f64 {
        let mut largest = 0f64;
        let rows = of_weight.chunks_exact(self.scale.len()).zip(of_bias);
        for (of_weight, of_bias) in rows {
            largest = largest.max(of_bias.abs());
            for ((g, &scale), &mean) in of_weight.iter().zip(&self.scale).zip(&self.mean) {
                let g = g / f64::from(scale) + f64::from(mean) * of_bias;
                largest = largest.max(g.abs());
            }
        }
        largest
    }

    /// From the head on standardised features to the one that does the same on unchanged ones.
    pub(super) fn undo(&self, weight: &mut [f64], bias: &mut [f64]) {
        for (row, bias) in weight.chunks_exact_mut(self.scale.len()).zip(bias) {
            for ((weight, &scale), &mean) in row.iter_mut().zip(&self.scale).zip(&self.mean) {
                *weight *= f64::from(scale);
                *bias -= *weight * f64::from(mean);
            }
        }
    }
}
