//! Logistic regression by L-BFGS, with the objective of scikit-learn's `LogisticRegression`.

use mr2_nn::rows::{Rows, cross_entropy, sum};

use super::curvature::Curvature;
use super::features::Prepared;
use super::lbfgs::{self, At, Ended};
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

/// What all regressions on a set have in common.
pub(super) struct Regressions<'a> {
    set: &'a Prepared<'a>,
    rows: &'a Rows,
    standard: Standard,
    standardised: Vec<f32>,
    /// The mean products of two columns of the standardised features, (width, width).
    products: Vec<f64>,
}

impl<'a> Regressions<'a> {
    pub(super) fn new(set: &'a Prepared<'a>, rows: &'a Rows) -> Result<Self> {
        let width = set.width;
        let standard = Standard::new(&set.features, width);
        let standardised = standard.of(&set.features);
        let mut products = vec![0f64; width * width];
        for features in standardised.chunks(IMAGES * width) {
            add(
                &mut products,
                &rows.weight_gradient(features, features, width)?,
            );
        }
        let share = 1.0 / set.len() as f64;
        products.iter_mut().for_each(|product| *product *= share);
        Ok(Self {
            set,
            rows,
            standard,
            standardised,
            products,
        })
    }

    /// Minimises `½ ‖W‖² / (C n) + mean loss`, which is scikit-learn's objective divided by `C n`, and stops where
    /// scikit-learn does: when no element of the gradient of this quotient is above the tolerance.
    ///
    /// The search moves the head of standardised features in the coordinates of the [`Curvature`] at zero, with the penalty
    /// and the stop of the head of the features as they are: the same minimum, which badly scaled and correlated features
    /// would hide from f32 and from L-BFGS.
    ///
    /// With two classes the head has one weight vector, as in scikit-learn: the first class's is 0. That matters, since two
    /// vectors would be penalised half as much.
    pub(super) fn fit(&self, regression: Regression<'_>) -> Result<Fitted> {
        let (set, standard) = (self.set, &self.standard);
        let (classes, width) = (set.classes, set.width);
        let first = if classes == 2 { 1 } else { 0 };
        let free = classes - first;
        let share = 1.0 / set.len() as f64;
        let penalty = share / regression.c;
        let scales = regression.margins.iter();
        let scales: Vec<f32> = scales.map(|margin| (1.0 / margin) as f32).collect();
        let (of_bias, curvature) = self.curvature(penalty, &scales);
        let images = IMAGES.min(set.len());
        let mut logits = vec![0f32; images * classes];
        let place = |x: &[f64]| {
            let mut place = x.to_vec();
            let (weight, bias) = place.split_at_mut(free * width);
            curvature.weight(weight);
            bias.iter_mut().for_each(|bias| *bias /= of_bias);
            place
        };
        let objective = |x: &[f64], gradient: &mut [f64]| -> Result<At> {
            let x = place(x);
            let (weight, bias) = head(&x, first, classes, width);
            let mut loss = 0.0;
            gradient.fill(0.0);
            let (for_weight, for_bias) = gradient.split_at_mut(free * width);
            let blocks = self.standardised.chunks(images * width);
            for (features, labels) in blocks.zip(set.labels.chunks(images)) {
                let logits = &mut logits[..labels.len() * classes];
                (self.rows).linear(features, &weight, Some(&bias), width, logits)?;
                loss += cross_entropy(logits, labels, &scales, classes, 1.0)?[0];
                let found = self.rows.weight_gradient(logits, features, width)?;
                add(for_weight, &found[first * width..]);
                add(for_bias, &sum(logits, classes)?[first..]);
            }
            let means = for_weight.iter_mut().chain(for_bias.iter_mut());
            means.for_each(|gradient| *gradient *= share);
            let value = loss * share + standard.penalise(penalty, &x[..free * width], for_weight);
            let largest_gradient = standard.largest_gradient(for_weight, for_bias);
            curvature.gradient(for_weight);
            for_bias.iter_mut().for_each(|bias| *bias /= of_bias);
            Ok(At {
                value,
                largest_gradient,
            })
        };
        let start = vec![0f64; free * (width + 1)];
        let (tolerance, most) = (regression.tolerance, regression.max_iterations);
        let minimum = lbfgs::minimise(start, tolerance, most, objective)?;
        let end = match minimum.ended {
            Ended::Converged => FitEnd::Finished,
            Ended::Stalled | Ended::Iterations => FitEnd::NotConverged {
                iterations: minimum.iterations,
                largest_gradient: minimum.largest_gradient,
            },
        };
        let mut x = place(&minimum.x);
        let (weight, bias) = x.split_at_mut(free * width);
        standard.undo(weight, bias);
        let (weight, bias) = head(&x, first, classes, width);
        Ok(Fitted { weight, bias, end })
    }

    /// Of the objective at zero, where every class has the same probability: the root of that of a bias, and that of a
    /// class's weight.
    fn curvature(&self, penalty: f64, scales: &[f32]) -> (f64, Curvature) {
        let (labels, classes) = (&self.set.labels, self.set.classes as f64);
        let square = |&label: &u32| f64::from(scales[label as usize]).powi(2);
        let of_logit = labels.iter().map(square).sum::<f64>() / labels.len() as f64
            * (1.0 / classes)
            * (1.0 - 1.0 / classes);
        let mut matrix: Vec<f64> = self.products.iter().map(|it| of_logit * it).collect();
        self.standard.add_penalty(penalty, &mut matrix);
        (of_logit.sqrt(), Curvature::new(matrix, self.set.width))
    }
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
