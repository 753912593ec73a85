//! The curvature of a regression where it starts, and the coordinates in which that is 1 in every direction.
//!
//! Features are correlated, so a loss of them is a long valley, which L-BFGS follows slowly: in these coordinates it needs
//! a fourth of the steps.

use rayon::prelude::*;

/// Columns of the factor that are found together: their rows stay near a core.
const COLUMNS: usize = 64;

/// The least curvature, of the mean one: what rounding of f32 hides.
const LEAST: f64 = 1e-5;

/// `L` of a symmetric positive matrix `L Lᵀ` (Cholesky).
pub(super) struct Curvature {
    width: usize,
    /// (width, width), row-major; zeros above the diagonal.
    factor: Vec<f64>,
}

impl Curvature {
    /// Of the lower half of `matrix`, (width, width), to whose diagonal as much is added as makes it positive; the unit
    /// matrix instead of one that isn't finite.
    pub(super) fn new(mut matrix: Vec<f64>, width: usize) -> Self {
        let diagonal = |matrix: &[f64]| matrix.iter().step_by(width + 1).sum::<f64>();
        let mut least = (LEAST * diagonal(&matrix) / width as f64).max(f64::MIN_POSITIVE);
        if matrix.iter().any(|element| !element.is_finite()) {
            matrix.fill(0.0);
            least = 1.0;
        }
        loop {
            (matrix.iter_mut().step_by(width + 1)).for_each(|element| *element += least);
            let mut factor = matrix.clone();
            if factorise(&mut factor, width) {
                return Self { width, factor };
            }
            least *= 10.0;
        }
    }

    /// From a gradient's rows to those of the gradient in the new coordinates: `L⁻¹` of each.
    pub(super) fn gradient(&self, rows: &mut [f64]) {
        let width = self.width;
        rows.par_chunks_mut(self.rows(rows.len())).for_each(|rows| {
            for (i, factor) in self.factor.chunks_exact(width).enumerate() {
                for row in rows.chunks_exact_mut(width) {
                    row[i] = (row[i] - dot(&factor[..i], &row[..i])) / factor[i];
                }
            }
        });
    }

    /// From rows of a weight in the new coordinates to the weight: `L⁻ᵀ` of each.
    pub(super) fn weight(&self, rows: &mut [f64]) {
        let width = self.width;
        rows.par_chunks_mut(self.rows(rows.len())).for_each(|rows| {
            for (i, factor) in self.factor.chunks_exact(width).enumerate().rev() {
                for row in rows.chunks_exact_mut(width) {
                    row[i] /= factor[i];
                    let found = row[i];
                    for (element, factor) in row[..i].iter_mut().zip(factor) {
                        *element -= found * factor;
                    }
                }
            }
        });
    }

    /// Numbers of a task: whole rows.
    fn rows(&self, numbers: usize) -> usize {
        let rows = numbers / self.width;
        rows.div_ceil(rayon::current_num_threads()).max(1) * self.width
    }
}

/// The factor in place of the lower half, zeros above it; false if the matrix isn't positive.
fn factorise(matrix: &mut [f64], width: usize) -> bool {
    for first in (0..width).step_by(COLUMNS) {
        let last = (first + COLUMNS).min(width);
        let (before, below) = matrix.split_at_mut(last * width);
        let block = &mut before[first * width..];
        // What the columns before them explain, then the block's own triangle.
        for i in first..last {
            let (above, row) = block.split_at_mut((i - first) * width);
            let row = &mut row[..width];
            for (j, other) in (first..i).zip(above.chunks_exact(width)) {
                row[j] = (row[j] - dot(&row[..j], &other[..j])) / other[j];
            }
            let rest = row[i] - dot(&row[..i], &row[..i]);
            if !(rest > 0.0 && rest.is_finite()) {
                return false;
            }
            row[i] = rest.sqrt();
            row[i + 1..].fill(0.0);
        }
        let block = &*block;
        below.par_chunks_exact_mut(width).for_each(|row| {
            for (j, other) in (first..last).zip(block.chunks_exact(width)) {
                row[j] = (row[j] - dot(&row[..j], &other[..j])) / other[j];
            }
        });
    }
    true
}

/// The product of two rows, in lanes that a compiler turns into vectors.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    const LANES: usize = 8;
    let (blocks, others) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = blocks.remainder().iter().zip(others.remainder());
    let rest: f64 = rest.map(|(a, b)| a * b).sum();
    let mut lanes = [0f64; LANES];
    for (a, b) in blocks.zip(others) {
        for ((sum, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    lanes.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use mr2_nn::rng;

    use super::*;

    /// Products of rows of random numbers, the last a copy of the first.
    fn matrix(width: usize) -> Vec<f64> {
        let at = |row: usize, column: usize| {
            let row = row % (width - 1);
            rng::normal(3, (row * 2 * width + column) as u64)
        };
        let product = |i: usize, j: usize| (0..2 * width).map(|c| at(i, c) * at(j, c)).sum();
        (0..width * width)
            .map(|place| product(place / width, place % width))
            .collect()
    }

    #[test]
    fn the_factor_times_its_transpose_is_the_matrix_and_both_changes_undo_it() {
        let width = 150;
        let matrix = matrix(width);
        let curvature = Curvature::new(matrix.clone(), width);
        let row = |i: usize| &curvature.factor[i * width..][..width];
        let added = LEAST * (0..width).map(|i| matrix[i * (width + 1)]).sum::<f64>() / width as f64;
        for i in 0..width {
            assert!(row(i)[i + 1..].iter().all(|&above| above == 0.0));
            for j in 0..=i {
                let expected = matrix[i * width + j] + if i == j { added } else { 0.0 };
                assert!((dot(row(i), row(j)) - expected).abs() < 1e-9, "{i} {j}");
            }
        }
        let x: Vec<f64> = (0..3 * width).map(|i| rng::normal(4, i as u64)).collect();
        let mut found = x.clone();
        curvature.gradient(&mut found);
        curvature.weight(&mut found);
        for (x, found) in x.chunks(width).zip(found.chunks(width)) {
            for i in 0..width {
                let mut product = added * found[i];
                product += dot(&matrix[i * width..][..width], found);
                assert!(
                    (product - x[i]).abs() < 1e-6,
                    "{i}: {product}, not {}",
                    x[i]
                );
            }
        }
    }

    #[test]
    fn a_matrix_that_is_not_positive_is_made_so() {
        let zeros = Curvature::new(vec![0.0; 9], 3);
        assert!(zeros.factor.iter().all(|element| element.is_finite()));
        let unknown = Curvature::new(vec![f64::NAN; 4], 2);
        assert_eq!(unknown.factor, [1.0, 0.0, 0.0, 1.0]);
        let saddle = Curvature::new(vec![1.0, 0.0, 0.0, -0.5], 2);
        assert!(saddle.factor.iter().all(|element| element.is_finite()));
        let mut row = [1.0, 1.0];
        saddle.gradient(&mut row);
        assert!(row.iter().all(|element| element.is_finite()));
    }
}
