//! Logistic regression by L-BFGS, with the objective of scikit-learn's `LogisticRegression`.

use mr2_nn::rows::{Rows, cross_entropy, sum};

use super::features::Prepared;
use super::lbfgs::{self, Ended};
use super::probed::{FitEnd, Fitted};
use super::standard::Standard;
use crate::error::Result;

/// Images whose logits exist at a time: products of f32 within, sums of f64 across.
const IMAGES: usize = 8192;

/// What is fitted, and how long.
#[derive(Clone, Copy)]
pub(super) struct Regression<'a> {
    pub(super) c: f64,
    /// `γ` of each class.
    pub(super) margins: &'a [f64],
    pub(super) tolerance: f64,
    pub(super) max_iterations: usize,
}

/// Minimises `½ ‖W‖² / (C n) + mean loss`, which is scikit-learn's objective divided by `C n`, and stops where
/// scikit-learn does: when no element of the gradient of this quotient is above the tolerance.
///
/// The search moves the head of standardised features, with the penalty and the stop of the head of the features as they
/// are: the same minimum, which badly scaled features would hide from f32 and from L-BFGS.
///
/// With two classes the head has one weight vector, as in scikit-learn: the first class's is 0. That matters, since two
/// vectors would be penalised half as much.
pub(super) fn fit(set: &Prepared<'_>, regression: Regression<'_>, rows: &Rows) -> Result<Fitted> {
    let (classes, width) = (set.classes, set.width);
    let first = if classes == 2 { 1 } else { 0 };
    let free = classes - first;
    let penalty = 1.0 / (regression.c * set.len() as f64);
    let standard = Standard::new(&set.features, width);
    let scales = regression.margins.iter();
    let scales: Vec<f32> = scales.map(|margin| (1.0 / margin) as f32).collect();
    let images = IMAGES.min(set.len());
    let mut logits = vec![0f32; images * classes];
    let standardised = standard.of(&set.features);
    let objective = |x: &[f64], gradient: &mut [f64]| -> Result<f64> {
        let (weight, bias) = head(x, first, classes, width);
        let mut loss = 0.0;
        gradient.fill(0.0);
        let (of_weight, of_bias) = gradient.split_at_mut(free * width);
        let blocks = standardised.chunks(images * width);
        for (features, labels) in blocks.zip(set.labels.chunks(images)) {
            let logits = &mut logits[..labels.len() * classes];
            rows.linear(features, &weight, Some(&bias), width, logits)?;
            loss += cross_entropy(logits, labels, &scales, classes, 1.0)?[0];
            let found = rows.weight_gradient(logits, features, width)?;
            add(of_weight, &found[first * width..]);
            add(of_bias, &sum(logits, classes)?[first..]);
        }
        let share = 1.0 / set.len() as f64;
        gradient.iter_mut().for_each(|g| *g *= share);
        Ok(loss * share + standard.penalise(penalty, &x[..free * width], gradient))
    };
    let size = |gradient: &[f64]| {
        let (of_weight, of_bias) = gradient.split_at(free * width);
        standard.largest_gradient(of_weight, of_bias)
    };
    let start = vec![0f64; free * (width + 1)];
    let (tolerance, most) = (regression.tolerance, regression.max_iterations);
    let mut minimum = lbfgs::minimise(start, tolerance, most, size, objective)?;
    let end = match minimum.ended {
        Ended::Converged => FitEnd::Finished,
        Ended::Stalled | Ended::Iterations => FitEnd::NotConverged {
            iterations: minimum.iterations,
            largest_gradient: minimum.largest_gradient,
        },
    };
    let (of_weight, of_bias) = minimum.x.split_at_mut(free * width);
    standard.undo(of_weight, of_bias);
    let (weight, bias) = head(&minimum.x, first, classes, width);
    Ok(Fitted { weight, bias, end })
}

/// Weight and bias in f32, with zeros for the classes that have no parameters.
fn head(x: &[f64], first: usize, classes: usize, width: usize) -> (Vec<f32>, Vec<f32>) {
    let (mut weight, mut bias) = (vec![0f32; classes * width], vec![0f32; classes]);
    let (of_weight, of_bias) = x.split_at((classes - first) * width);
    let pairs = weight[first * width..].iter_mut().zip(of_weight);
    pairs.for_each(|(to, from)| *to = *from as f32);
    let pairs = bias[first..].iter_mut().zip(of_bias);
    pairs.for_each(|(to, from)| *to = *from as f32);
    (weight, bias)
}

fn add(to: &mut [f64], values: &[f32]) {
    for (to, value) in to.iter_mut().zip(values) {
        *to += f64::from(*value);
    }
}
