//! Minimising a smooth function by L-BFGS (Nocedal 1980), as scikit-learn's solver `lbfgs` is set.

use std::collections::VecDeque;

use super::curvature::dot;
use super::line_search;

/// Pairs of steps and changes of the gradient that are kept (SciPy's `maxcor`).
const MEMORY: usize = 10;

/// What rounding of f32 logits adds to a value, of its size: smaller differences say nothing.
const NOISE: f64 = 1e-7;

/// So many steps without a decrease beyond the noise end the search.
const PATIENCE: usize = 20;

/// Why the search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The gradient is small enough.
    Converged,
    /// Rounding hides further progress.
    Stalled,
    /// The number of iterations is used up.
    Iterations,
}

/// Where the search ended.
pub(super) struct Minimum {
    pub(super) x: Vec<f64>,
    pub(super) largest_gradient: f64,
    pub(super) iterations: usize,
    pub(super) ended: Ended,
}

/// What a function is at a point.
#[derive(Clone, Copy)]
pub(super) struct At {
    pub(super) value: f64,
    /// How large the gradient is, in the measure by which the search ends.
    pub(super) largest_gradient: f64,
}

/// Minimises `function`, which writes its gradient, from `x` on until the largest gradient is not above `tolerance`.
pub(super) fn minimise<E>(
    mut x: Vec<f64>,
    tolerance: f64,
    max_iterations: usize,
    mut function: impl FnMut(&[f64], &mut [f64]) -> Result<At, E>,
) -> Result<Minimum, E> {
    let mut gradient = vec![0f64; x.len()];
    let mut here = function(&x, &mut gradient)?;
    let mut pairs: VecDeque<Pair> = VecDeque::with_capacity(MEMORY);
    let (mut iterations, mut idle) = (0, 0);
    let ended = loop {
        if here.largest_gradient <= tolerance {
            break Ended::Converged;
        }
        if idle == PATIENCE || !here.value.is_finite() {
            break Ended::Stalled;
        }
        if iterations == max_iterations {
            break Ended::Iterations;
        }
        let direction = direction(&gradient, &pairs);
        let slope = dot(&direction, &gradient);
        let first = match pairs.is_empty() {
            true => (1.0 / dot(&gradient, &gradient).sqrt()).min(1.0),
            false => 1.0,
        };
        let noise = NOISE * here.value.abs();
        let (mut next, mut next_gradient) = (x.clone(), vec![0f64; x.len()]);
        let (mut there, mut failed) = (here, None);
        let step = line_search::step(here.value, slope, first, noise, |step| {
            for ((next, x), direction) in next.iter_mut().zip(&x).zip(&direction) {
                *next = x + step * direction;
            }
            match function(&next, &mut next_gradient) {
                Ok(found) => there = found,
                Err(error) => {
                    failed = Some(error);
                    there.value = f64::NAN;
                }
            }
            (there.value, dot(&next_gradient, &direction))
        });
        if let Some(error) = failed {
            return Err(error);
        }
        if step.is_none() {
            // Older curvature may have been noise: once more along the gradient, then no further.
            if pairs.is_empty() {
                break Ended::Stalled;
            }
            pairs.clear();
            continue;
        }
        remember(&mut pairs, &x, &next, &gradient, &next_gradient);
        let size = here.value.abs().max(there.value.abs()).max(1.0);
        let gain = (here.value - there.value) / size;
        idle = if gain <= NOISE * 1e-5 { idle + 1 } else { 0 };
        (x, gradient, here) = (next, next_gradient, there);
        iterations += 1;
    };
    Ok(Minimum {
        largest_gradient: here.largest_gradient,
        x,
        iterations,
        ended,
    })
}

/// A step, the change of the gradient over it, and one over their product.
struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
    inverse: f64,
}

/// Keeps the newest pair, if the function bends upwards along it.
fn remember(
    pairs: &mut VecDeque<Pair>,
    x: &[f64],
    next: &[f64],
    gradient: &[f64],
    next_gradient: &[f64],
) {
    let difference =
        |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a - b).collect() };
    let (step, change) = (difference(next, x), difference(next_gradient, gradient));
    let product = dot(&step, &change);
    if product <= f64::EPSILON * dot(&change, &change) {
        return;
    }
    if pairs.len() == MEMORY {
        pairs.pop_front();
    }
    pairs.push_back(Pair {
        step,
        change,
        inverse: 1.0 / product,
    });
}

/// The negative gradient times the inverse of the curvature that the pairs have seen: the two-loop recursion.
fn direction(gradient: &[f64], pairs: &VecDeque<Pair>) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut factors = Vec::with_capacity(pairs.len());
    for pair in pairs.iter().rev() {
        let factor = pair.inverse * dot(&pair.step, &direction);
        add(&mut direction, -factor, &pair.change);
        factors.push(factor);
    }
    if let Some(newest) = pairs.back() {
        let scale = 1.0 / (newest.inverse * dot(&newest.change, &newest.change));
        direction.iter_mut().for_each(|d| *d *= scale);
    }
    for (pair, factor) in pairs.iter().zip(factors.into_iter().rev()) {
        let other = pair.inverse * dot(&pair.change, &direction);
        add(&mut direction, factor - other, &pair.step);
    }
    direction
}

fn add(to: &mut [f64], factor: f64, values: &[f64]) {
    for (to, value) in to.iter_mut().zip(values) {
        *to += factor * value;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(value: f64, gradient: &[f64]) -> At {
        At {
            value,
            largest_gradient: gradient.iter().fold(0.0, |most, g| g.abs().max(most)),
        }
    }

    #[test]
    fn the_valley_of_rosenbrock_is_followed_to_its_end() {
        let valley = |x: &[f64], gradient: &mut [f64]| {
            let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
            gradient.copy_from_slice(&[-2.0 * a - 400.0 * x[0] * b, 200.0 * b]);
            Ok::<At, ()>(at(a * a + 100.0 * b * b, gradient))
        };
        let minimum = minimise(vec![-1.2, 1.0], 1e-8, 1000, valley).unwrap();
        assert_eq!(minimum.ended, Ended::Converged);
        assert!(minimum.iterations < 60, "{}", minimum.iterations);
        assert!(minimum.x.iter().all(|x| (x - 1.0).abs() < 1e-7));
        let stopped = minimise(vec![-1.2, 1.0], 1e-8, 3, valley).unwrap();
        assert_eq!((stopped.ended, stopped.iterations), (Ended::Iterations, 3));
    }

    #[test]
    fn a_badly_scaled_bowl_is_no_trouble_and_an_error_passes_through() {
        let bowl = |x: &[f64], gradient: &mut [f64]| {
            let mut value = 0.0;
            for (i, (x, gradient)) in x.iter().zip(&mut *gradient).enumerate() {
                let scale = 10f64.powi(i as i32 - 3);
                *gradient = scale * (x - 1.0);
                value += 0.5 * scale * (x - 1.0).powi(2);
            }
            Ok::<At, ()>(at(value, gradient))
        };
        let minimum = minimise(vec![0.0; 7], 1e-7, 1000, bowl).unwrap();
        assert!(
            minimum.x.iter().all(|x| (x - 1.0).abs() < 1e-3),
            "{:?}",
            minimum.x
        );
        let broken = |_: &[f64], _: &mut [f64]| Err::<At, &str>("broken");
        assert_eq!(minimise(vec![0.0], 1e-7, 10, broken).err(), Some("broken"));
    }
}
