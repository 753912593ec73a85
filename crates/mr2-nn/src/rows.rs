//! Products and losses on plain rows of f32, without a graph: for heads on features that don't change.
//!
//! Whoever trains many linear heads on the same features can stack their weights and has one product for all of
//! them. These are the products of [`crate::layers::Linear`], on all threads of rayon's current pool, with the same
//! bits on any number of them.
//!
//! ```
//! use mr2_nn::rows::{Rows, cross_entropy};
//! let rows = Rows::new();
//! let (features, weight) = ([1f32, 2., 3., 4.], [1f32, 0., 0., 1.]); // two images, two classes
//! let mut logits = [0f32; 4];
//! rows.linear(&features, &weight, Some(&[0., 1.]), 2, &mut logits)?;
//! assert_eq!(logits, [1., 3., 3., 5.]);
//! let losses = cross_entropy(&mut logits, &[0, 1], &[1., 1.], 2, 0.5)?;
//! assert!((losses[0] - 2.253_856).abs() < 1e-5); // one head
//! let gradient = rows.weight_gradient(&logits, &features, 2)?;
//! assert_eq!(gradient.len(), weight.len());
//! # Ok::<(), candle_core::Error>(())
//! ```

use std::sync::Arc;

use candle_core::{Result, bail};

use crate::kernels::heads::{self, Targets};
use crate::kernels::linear::{After, Weight, column_sums};
use crate::kernels::pool::Pool;

/// Scratch of the products, used again by the next.
#[derive(Default)]
pub struct Rows {
    pool: Arc<Pool>,
}

impl Rows {
    /// Without scratch yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// `out = x · weightᵀ + bias`.
    ///
    /// # Shapes
    /// `x` (rows, width), `weight` (outputs, width), `bias` (outputs), `out` (rows, outputs), row-major.
    ///
    /// # Errors
    /// Lengths that don't fit each other.
    pub fn linear(
        &self,
        x: &[f32],
        weight: &[f32],
        bias: Option<&[f32]>,
        width: usize,
        out: &mut [f32],
    ) -> Result<()> {
        let (rows, outputs) = (count("x", x, width)?, count("weight", weight, width)?);
        if out.len() != rows * outputs || bias.is_some_and(|bias| bias.len() != outputs) {
            bail!("rows: {rows} rows and {outputs} outputs don't fit the output or the bias")
        }
        let after = After {
            bias,
            residual: None,
            activation: None,
            before: None,
        };
        Weight::new(weight, outputs, width, &self.pool).forward(x, after, out, &self.pool);
        Ok(())
    }

    /// `gradientᵀ · x`: the gradient of [`Rows::linear`]'s weight, given that of its output.
    ///
    /// # Shapes
    /// `gradient` (rows, outputs), `x` (rows, width); returns (outputs, width).
    ///
    /// # Errors
    /// Lengths that don't fit each other.
    pub fn weight_gradient(&self, gradient: &[f32], x: &[f32], width: usize) -> Result<Vec<f32>> {
        let rows = count("x", x, width)?;
        if rows == 0 || gradient.is_empty() || !gradient.len().is_multiple_of(rows) {
            bail!("rows: {} gradients for {rows} rows", gradient.len())
        }
        Ok(crate::kernels::linear::weight_gradient(
            x,
            gradient,
            gradient.len() / rows,
            width,
            &self.pool,
        ))
    }
}

/// The sum of all rows, in f64 inside: the gradient of [`Rows::linear`]'s bias.
///
/// # Errors
/// Rows of another length than `width`.
pub fn sum(rows: &[f32], width: usize) -> Result<Vec<f32>> {
    count("rows", rows, width)?;
    Ok(column_sums(rows, width))
}

/// Cross-entropy of the logits of several heads, those of a row multiplied by the scale of its label: one loss summed
/// over the rows for each head. `logits` become the gradient of `factor` times it.
///
/// # Shapes
/// `logits` (rows, heads, classes), `scales` (heads, classes), `labels` (rows).
///
/// # Errors
/// Lengths that don't fit each other, a label that is no class.
pub fn cross_entropy(
    logits: &mut [f32],
    labels: &[u32],
    scales: &[f32],
    classes: usize,
    factor: f32,
) -> Result<Vec<f64>> {
    count("scales", scales, classes)?;
    if logits.len() != labels.len() * scales.len() {
        bail!(
            "cross_entropy: {} logits for {} rows of {}",
            logits.len(),
            labels.len(),
            scales.len()
        )
    }
    if let Some(row) = labels.iter().position(|&label| label as usize >= classes) {
        bail!(
            "cross_entropy: label {} in row {row} is none of {classes} classes",
            labels[row]
        )
    }
    let targets = Targets {
        labels,
        scales,
        classes,
        factor,
    };
    Ok(heads::cross_entropy(logits, targets))
}

fn count(name: &str, values: &[f32], width: usize) -> Result<usize> {
    if width == 0 || !values.len().is_multiple_of(width) {
        bail!(
            "rows: {} elements of {name} in rows of {width}",
            values.len()
        )
    }
    Ok(values.len() / width)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::rng;

    #[test]
    fn the_gradients_are_those_of_the_loss_and_small_losses_keep_their_digits() {
        let (rows, classes) = (5, 19);
        let labels = [0u32, 18, 3, 7, 7];
        let scales: Vec<f32> = (0..2 * classes).map(|i| 0.5 + 0.05 * i as f32).collect();
        let logits: Vec<f32> = (0..rows * 2 * classes)
            .map(|i| 3.0 * rng::normal(5, i as u64) as f32)
            .collect();
        let mut gradient = logits.clone();
        let losses = cross_entropy(&mut gradient, &labels, &scales, classes, 0.25).unwrap();
        for (head, found) in losses.iter().enumerate() {
            let mut expected = 0.0;
            for (row, &label) in labels.iter().enumerate() {
                let at = (row * 2 + head) * classes;
                let scale = f64::from(scales[head * classes + label as usize]);
                let z: Vec<f64> = (0..classes)
                    .map(|k| scale * f64::from(logits[at + k]))
                    .collect();
                let sum: f64 = z.iter().map(|z| z.exp()).sum();
                expected += sum.ln() - z[label as usize];
                for k in 0..classes {
                    let share = z[k].exp() / sum - f64::from(u8::from(k == label as usize));
                    let difference = f64::from(gradient[at + k]) - 0.25 * scale * share;
                    assert!(difference.abs() < 5e-7, "{head} {row} {k}: {difference}");
                }
            }
            assert!((found / expected - 1.0).abs() < 1e-6);
        }
        let mut sure = [20f32, 0.0];
        let loss = cross_entropy(&mut sure, &[0], &[1.0, 1.0], 2, 1.0).unwrap()[0];
        assert!((loss / (-20f64).exp().ln_1p() - 1.0).abs() < 1e-6);
        assert!((f64::from(sure[0]) / -(-20f64).exp() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_head_that_is_not_finite_leaves_the_others_alone() {
        let mut logits = [f32::NAN, 1.0, 0.5, 1.0, f32::INFINITY, 1.0, 0.0, 2.0];
        let losses = cross_entropy(&mut logits, &[0, 1], &[1.0; 4], 2, 1.0).unwrap();
        assert!(!losses[0].is_finite() && losses[1].is_finite());
        assert!([2, 3, 6, 7].iter().all(|&i: &usize| logits[i].is_finite()));
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        let rows = Rows::new();
        let mut out = [0f32; 4];
        assert!(
            rows.linear(&[1.0; 5], &[1.0; 4], None, 2, &mut out)
                .is_err()
        );
        assert!(
            rows.linear(&[1.0; 4], &[1.0; 4], Some(&[1.0]), 2, &mut out)
                .is_err()
        );
        assert!(rows.weight_gradient(&[1.0; 3], &[1.0; 4], 2).is_err());
        assert!(cross_entropy(&mut out, &[0, 2], &[1.0, 1.0], 2, 1.0).is_err());
        assert!(cross_entropy(&mut out, &[0], &[1.0, 1.0], 2, 1.0).is_err());
    }
}
