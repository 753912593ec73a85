//! The weight of a cosine head.

/// Norms below this count as this, as in PyTorch's `normalize`.
const SMALLEST_NORM: f64 = 1e-12;

/// The rows of a cosine head's weight at unit length times the scale.
pub(super) struct Directions {
    pub(super) scaled: Vec<f32>,
    norms: Vec<f64>,
    scale: f64,
}

impl Directions {
    pub(super) fn new(weight: &[f32], width: usize, scale: f64) -> Self {
        let norm = |row: &[f32]| {
            let square: f64 = row.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
            square.sqrt().max(SMALLEST_NORM)
        };
        let norms: Vec<f64> = weight.chunks_exact(width).map(norm).collect();
        let mut scaled = weight.to_vec();
        for (row, norm) in scaled.chunks_exact_mut(width).zip(&norms) {
            row.iter_mut()
                .for_each(|x| *x = (f64::from(*x) * (scale / norm)) as f32);
        }
        Self {
            scaled,
            norms,
            scale,
        }
    }

    /// From the gradient of the scaled rows to that of the weight: what points along the row has no effect.
    pub(super) fn gradient(&self, gradient: &mut [f32], width: usize) {
        let rows = gradient
            .chunks_exact_mut(width)
            .zip(self.scaled.chunks_exact(width));
        for ((gradient, row), norm) in rows.zip(&self.norms) {
            let pairs = gradient.iter().zip(row);
            let along: f64 = pairs.map(|(&g, &x)| f64::from(g) * f64::from(x)).sum();
            let along = along / (self.scale * self.scale);
            for (g, &x) in gradient.iter_mut().zip(row) {
                *g = ((f64::from(*g) - along * f64::from(x)) * (self.scale / norm)) as f32;
            }
        }
    }
}
